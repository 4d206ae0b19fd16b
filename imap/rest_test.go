package imap_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/imap/imapmem"
)

// pipes is a listener whose connections are made by dial.
type pipes struct {
	conns chan net.Conn
	ended context.Context
	end   context.CancelFunc
}

func newPipes() *pipes {
	p := &pipes{conns: make(chan net.Conn)}
	p.ended, p.end = context.WithCancel(context.Background())
	return p
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return local{c}, nil
	case <-p.ended.Done():
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.end(); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial() *peer {
	client, server := net.Pipe()
	p.conns <- server
	c := &peer{conn: client, lines: make(chan string, 1000)}
	go func() {
		defer close(c.lines)
		for s := bufio.NewScanner(client); s.Scan(); {
			c.lines <- s.Text()
		}
	}()
	return c
}

// peer is a client that always reads.
type peer struct {
	conn  net.Conn
	lines chan string
}

// ask sends a line and reads up to a line that begins so.
func (c *peer) ask(t *testing.T, line, until string) {
	t.Helper()
	if line != "" {
		fmt.Fprintf(c.conn, "%s\r\n", line)
	}
	var got []string
	for l := range c.lines {
		got = append(got, l)
		if strings.HasPrefix(l, until) {
			return
		}
	}
	t.Fatalf("%q: no %q in %q", line, until, got)
}

// TestRest: a session that waits goes over to another goroutine, once it has waited for a while; that changes nothing for its client, in
// IDLE, after NOTIFY and between commands: news come, commands are answered, and IdleTimeout is what it was.
func TestRest(t *testing.T) {
	const idle = 30 * time.Minute
	synctest.Test(t, func(t *testing.T) {
		srv := &imap.Server{Backend: imapmem.New(), Auth: imapmem.Passwords{"alice": "secret"}, PlaintextLoopback: true, Limits: imap.Limits{IdleTimeout: idle}}
		l, served := newPipes(), make(chan error, 1)
		go func() { served <- srv.Serve(t.Context(), l) }()
		login := func() *peer {
			c := l.dial()
			c.ask(t, "", "* OK")
			time.Sleep(5 * time.Second) // it rests before it has logged in, too
			c.ask(t, "l LOGIN alice secret", "l OK")
			c.ask(t, "s SELECT INBOX", "s OK")
			return c
		}
		other := login()
		count := 0
		deliver := func() {
			count++
			other.ask(t, "a APPEND INBOX {6+}\r\na: b\r\n", "a OK")
		}
		for _, first := range []struct{ line, until string }{{"i IDLE", "+"}, {"n NOTIFY SET (selected (MessageNew MessageExpunge))", "n OK"}} {
			c := login()
			c.ask(t, first.line, first.until)
			for n := range 5 {
				time.Sleep(time.Duration(n) * 500 * time.Millisecond)
				deliver()
				c.ask(t, "", fmt.Sprintf("* %d EXISTS", count))
				time.Sleep(10 * time.Minute)
				other.ask(t, "x NOOP", "x OK")
			}
			if first.line == "i IDLE" {
				c.ask(t, "DONE", "i OK")
			}
			c.ask(t, "x NOOP", "x OK")
			time.Sleep(idle - time.Nanosecond)
			c.ask(t, "x NOOP", "x OK")
			other.ask(t, "x NOOP", "x OK")
			time.Sleep(idle - time.Minute)
			other.ask(t, "x NOOP", "x OK")
			before := time.Now()
			c.ask(t, "", "* BYE idle for too long")
			if took := time.Since(before); took != time.Minute {
				t.Errorf("IdleTimeout is %v", idle-time.Minute+took)
			}
			for l := range c.lines {
				t.Errorf("after BYE: %q", l)
			}
		}
		c := login()
		c.ask(t, "i IDLE", "+")
		time.Sleep(time.Minute) // resting
		ended := make(chan error, 1)
		go func() { ended <- srv.Shutdown(t.Context()) }()
		for _, c := range []*peer{c, other} {
			c.ask(t, "", "* BYE [UNAVAILABLE]")
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := <-served; err != imap.ErrServerClosed {
			t.Error(err)
		}
	})
}
