package samotop

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/samotop/samotop/internal/config"
	"github.com/samotop/samotop/internal/house"
)

// Setup says what house to make; see "samotop quickstart".
type Setup struct {
	Dir      string // where; it must not hold a house yet
	Address  string // the first account, an admin; its domain becomes the house's first
	Password string // "": one is made
	Hostname string // "": mx. and the domain
	Listen   string // address of this machine to listen on; "": all
	PortBase int    // every standard port P listens on PortBase+P
}

// Create makes the house: samotop.toml, a self-signed certificate, the databases, the domain and the account. It
// returns the password of the account. A directory that holds a house is refused and not touched.
func (s Setup) Create(ctx context.Context) (password string, err error) {
	done, err := house.Create(ctx, house.CreateOptions{Dir: s.Dir, Listen: s.Listen, PortBase: s.PortBase,
		Hostname: s.Hostname, Address: s.Address, Password: s.Password})
	if err != nil {
		return "", err
	}
	if done.Password != "" {
		return done.Password, nil
	}
	return s.Password, nil
}

// Server is a whole house in a Go program. Several may run in one process, each with a directory of its own.
type Server struct {
	Dir       string        // holds samotop.toml and the databases
	Log       *slog.Logger  // nil: none
	DrainTime time.Duration // for sessions to finish when it stops; 0: 20 s

	// Listen makes the TCP listeners; nil: the net package does. Network and address are those of net.Listen.
	Listen func(ctx context.Context, network, address string) (net.Listener, error)
	// Dial makes connections to other servers; nil: the net package does.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Ready is called once everything listens.
	Ready func()
}

// Run serves until ctx ends, then lets running sessions finish and returns nil. It returns early with an error if
// the configuration is wrong, if another process has the directory, or if a database stops: then nothing is accepted
// any more that could not be kept.
func (s *Server) Run(ctx context.Context) (err error) {
	c, err := config.Load(s.Dir)
	if err != nil {
		return err
	}
	h, err := house.Open(ctx, house.Options{Config: c, Log: s.Log, DrainTime: s.DrainTime, Listen: s.Listen, Dial: s.Dial})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	ready := s.Ready
	if ready == nil {
		ready = func() {}
	}
	return h.Serve(ctx, ready)
}
