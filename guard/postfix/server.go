// Package postfix lets Postfix ask the guard and the accounts by protocols of its own: policy delegation
// (SMTPD_POLICY_README) for the verdict on each recipient, and socketmap (socketmap_table(5)) for domains, mailboxes and
// aliases.
//
//	policy := &postfix.Policy{Door: guard, Ours: ours}
//	go policy.Serve(ctx, listener)    // smtpd_recipient_restrictions = ... check_policy_service unix:/var/lib/samotop/run/policy.sock
//	maps := &postfix.Maps{Lookup: lookup}
//	go maps.Serve(ctx, other)         // virtual_alias_maps = socketmap:unix:/var/lib/samotop/run/socketmap.sock:virtual_alias_maps
//
// Promises. Lines, attributes, keys and answers are bounded, and so are connections and the time that one may be silent.
// What breaks the protocol ends the connection. Where the guard or the accounts cannot be asked the answer is for now. A server
// is safe for concurrent use.
package postfix

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"
)

// Limits of a server when it says nothing.
const (
	DefaultMaxConnections = 200
	DefaultIdleTime       = 6 * time.Minute // Postfix lets go after 5
)

// server is what both protocols have in common.
type server struct {
	max  int
	idle time.Duration
	log  *slog.Logger
	talk func(ctx context.Context, c net.Conn) error
}

// serve takes connections until ctx ends.
func (s *server) serve(ctx context.Context, l net.Listener) error {
	if s.max <= 0 {
		s.max = DefaultMaxConnections
	}
	if s.idle <= 0 {
		s.idle = DefaultIdleTime
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	defer context.AfterFunc(ctx, func() { l.Close() })()
	slots := make(chan struct{}, s.max)
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		c, err := l.Accept()
		if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			if err == nil {
				c.Close()
			}
			return nil
		}
		if err != nil {
			return err
		}
		select {
		case slots <- struct{}{}:
		default: // Postfix tries again, and defers mail meanwhile
			c.Close()
			continue
		}
		wg.Go(func() {
			defer func() { <-slots }()
			defer c.Close()
			defer context.AfterFunc(ctx, func() { c.Close() })()
			if err := s.talk(ctx, timed{c, s.idle}); err != nil && ctx.Err() == nil {
				s.log.Info("a connection of Postfix ended", "err", err)
			}
		})
	}
}

// timed is a connection that may be silent for so long.
type timed struct {
	net.Conn
	idle time.Duration
}

func (t timed) Read(p []byte) (int, error) {
	if err := t.SetDeadline(time.Now().Add(t.idle)); err != nil {
		return 0, err
	}
	return t.Conn.Read(p)
}
