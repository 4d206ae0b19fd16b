package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"github.com/samotop/samotop/internal/config"
	"github.com/samotop/samotop/internal/house"
	"github.com/samotop/samotop/management"
)

// lockWait is how long a verb waits for another one, or for a server that starts or stops.
const lockWait = 10 * time.Second

// asking is a connection to the verbs: to the server if it runs, else to the rooms opened in this process.
type asking struct {
	management.Client
	close func() error
}

// ask finds the house. What the verb needs of it is opened if no server runs.
func (e *env) ask(need house.Rooms) (*asking, error) { return e.askFor(need, "") }

// askFor is ask for one verb, which where no management room runs is asked of the room that answers it.
func (e *env) askFor(need house.Rooms, verb string) (*asking, error) {
	dir, err := e.house()
	if err != nil {
		return nil, err
	}
	c, err := config.Load(dir)
	if err != nil {
		return nil, err
	}
	if a := e.askServer(c, verb); a != nil {
		return a, nil
	}
	var server *asking
	h, err := e.open(house.Options{Config: c, Rooms: need, Version: buildVersion(), Log: e.log(slog.LevelWarn)}, func() bool {
		server = e.askServer(c, verb)
		return server != nil
	})
	switch {
	case server != nil: // it has come up meanwhile
		return server, nil
	case err != nil:
		return nil, err
	}
	return &asking{management.Client{HTTP: management.Direct(h.Handler())}, h.Close}, nil
}

// open opens the rooms in this process. It waits for another verb that has the directory, and no longer when a server
// has it.
func (e *env) open(o house.Options, served func() bool) (*house.House, error) {
	for end := time.Now().Add(lockWait); ; {
		h, err := house.Open(e.ctx, o)
		var held *house.LockedError
		if err == nil || !errors.As(err, &held) || time.Now().After(end) || served() {
			return h, err
		}
		select {
		case <-e.ctx.Done():
			return nil, e.ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (e *env) askServer(c *config.Config, verb string) *asking {
	sockets := []string{config.Control}
	if room := house.RoomOf(verb); room != 0 {
		sockets = append(sockets, config.RoomControl(room.String()))
	}
	for _, socket := range sockets {
		dial := func(ctx context.Context) (net.Conn, error) { return house.DialUnix(ctx, c.RunPath(socket)) }
		conn, err := dial(e.ctx)
		if err != nil {
			continue
		}
		conn.Close()
		cl := management.Over(dial)
		return &asking{management.Client{HTTP: cl}, func() error { cl.CloseIdleConnections(); return nil }}
	}
	return nil
}

// call asks for one thing.
func (e *env) call(need house.Rooms, verb string, args, result any) (err error) {
	a, err := e.askFor(need, verb)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	return a.Call(e.ctx, verb, args, result)
}

// each asks for a list and shows every element as it comes.
func each[T any](e *env, need house.Rooms, verb string, args any, show func(T) error) (err error) {
	a, err := e.askFor(need, verb)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	_, err = a.Each(e.ctx, verb, args, func(raw json.RawMessage) error {
		var v T
		if err := json.Unmarshal(raw, &v); err != nil {
			return fmt.Errorf("read the answer: %w", err)
		}
		return show(v)
	})
	return err
}

// log writes to standard error.
func (e *env) log(level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(e.stderr, &slog.HandlerOptions{Level: level}))
}

// passwordFlag is taken by the verbs that set a password.
type passwordFlag struct {
	PasswordFile string `help:"Read the password from a file, or from standard input with \"-\"; one newline at its end is dropped. Without it a password is made and printed." placeholder:"FILE|-"`
}

const maxPasswordFileOctets = 64 << 10

// read returns the password, "" if none was given.
func (p passwordFlag) read(e *env) (string, error) {
	if p.PasswordFile == "" {
		return "", nil
	}
	in := e.stdin
	if p.PasswordFile != "-" {
		f, err := os.Open(p.PasswordFile)
		if err != nil {
			return "", fmt.Errorf("password file: %w", err)
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, maxPasswordFileOctets+1))
	if err != nil {
		return "", fmt.Errorf("password file: %w", err)
	}
	s := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	switch {
	case s == "":
		return "", &house.UsageError{Text: "password file: there is no password in it; leave --password-file out to have one made"}
	case len(b) > maxPasswordFileOctets, strings.ContainsAny(s, "\r\n"):
		return "", &house.UsageError{Text: "password file: more than one line; it should hold the password alone"}
	}
	return s, nil
}
