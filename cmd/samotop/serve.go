package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/samotop/samotop/internal/activation"
	"github.com/samotop/samotop/internal/config"
	"github.com/samotop/samotop/internal/house"
	"github.com/samotop/samotop/internal/notify"
)

type serveCmd struct {
	Rooms    []string `arg:"" optional:"" name:"room" help:"Rooms to serve (default: all)."`
	LogLevel string   `help:"What to log: debug, info, warn, error." enum:"debug,info,warn,error" default:"info"`
	LogJSON  bool     `help:"Log as JSON lines." name:"log-json"`
}

func (serveCmd) Help() string {
	return `Runs all rooms until SIGTERM, which lets running sessions finish, takes no new ones, and leaves with all that was
accepted on disk. When everything listens it prints the line "ready" to standard error and tells systemd.

With names of rooms only those run in this process: accounts, guard, mailbox, mta, msa, qm, management. The others
are reached by their sockets in DIR/run, or where [links] in samotop.toml says. A room whose neighbour is away answers
451 or queues, and goes on when it is back. Verbs go to the management room.

Example:
  samotop serve --dir /var/lib/samotop
  samotop serve --dir /var/lib/samotop mta guard`
}

func (c *serveCmd) Run(e *env) error {
	rooms, err := house.ParseRooms(c.Rooms)
	if err != nil {
		return err
	}
	dir, err := e.house()
	if err != nil {
		return err
	}
	conf, err := config.Load(dir)
	if err != nil {
		return err
	}
	sockets, err := activation.Take(e.getenv, os.Getpid())
	if err != nil {
		return err
	}
	out := newLogWriter(e.stderr)
	defer out.Close()
	return e.serve(conf, rooms, sockets, c.logger(out), func() { fmt.Fprintln(e.stderr, "ready") })
}

func (c *serveCmd) logger(w io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.LogLevel)) // one of the enum
	o := &slog.HandlerOptions{Level: level}
	if c.LogJSON {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// serve runs a house until it is told to stop.
func (e *env) serve(conf *config.Config, rooms house.Rooms, sockets *activation.Held, log *slog.Logger, ready func()) (err error) {
	tuneRuntime(e.getenv)
	h, err := e.open(house.Options{Config: conf, Rooms: rooms, Linked: rooms != house.All, Sockets: sockets, Version: buildVersion(), Log: log}, func() bool {
		a := e.askServer(conf, "")
		if a != nil && rooms != house.All {
			_ = a.close() // that of another room
			return false
		}
		if a != nil {
			_ = a.close() // it was only asked whether it is there
		}
		return a != nil
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	manager := notify.FromEnv(e.getenv, os.Getpid())
	alive, end := context.WithCancel(context.Background())
	defer end()
	go manager.Watchdog(alive, h.Healthy)
	stopped := context.AfterFunc(e.ctx, func() { _ = manager.Stopping("finishing sessions") }) // it sees us go anyway
	defer stopped()
	return h.Serve(e.ctx, func() {
		ready()
		if err := manager.Ready("serving mail as " + conf.Hostname); err != nil {
			log.Warn("the service manager was not told", "err", err)
		}
	})
}
