package authproto

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/samotop/samotop/mail"
)

// conn is one connection. The reader gives each response to the goroutine of its request.
type conn struct {
	s       *Server
	nc      net.Conn
	stop    context.CancelFunc
	running sync.WaitGroup

	writing sync.Mutex

	mu       sync.Mutex
	requests map[string]*request
}

// request is one exchange on its way.
type request struct {
	line      authLine
	responses chan []byte // has room for one; nil: not base64
	cancel    context.CancelFunc
}

func (c *conn) greet() error {
	hello, err := c.s.greeting()
	if err != nil {
		return err
	}
	return c.write(hello)
}

func (c *conn) write(s string) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.nc.SetWriteDeadline(time.Now().Add(orDefault(c.s.WriteTimeout, 30*time.Second)))
	_, err := io.WriteString(c.nc, s)
	if err != nil {
		c.stop()
	}
	return err
}

// read takes lines until the client goes away, which is no error.
func (c *conn) read(ctx context.Context) error {
	r := bufio.NewReaderSize(c.nc, orDefault(c.s.MaxLineOctets, 16384))
	for versioned := false; ; {
		raw, err := r.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			return errLine
		case errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed):
			return nil
		case err != nil:
			return err
		}
		words, err := splitLine(strings.TrimSuffix(string(raw), "\n"))
		if err != nil {
			return err
		}
		if !versioned && words[0] != "VERSION" {
			return errLine
		}
		if words[0] == "VERSION" {
			if versioned || len(words) < 3 || words[1] != "1" {
				return errLine
			}
			versioned = true
			continue
		}
		if err := c.command(ctx, words); err != nil {
			return err
		}
	}
}

func (c *conn) command(ctx context.Context, words []string) error {
	switch words[0] {
	case "AUTH":
		return c.auth(ctx, words)
	case "CONT":
		if len(words) < 3 {
			return errLine
		}
		response := decode(words[2])
		if r := c.request(words[1]); r != nil {
			select {
			case r.responses <- response:
			default:
				return errLine // two answers to one challenge
			}
		}
	case "CANCEL":
		if len(words) < 2 {
			return errLine
		}
		if r := c.request(words[1]); r != nil {
			r.cancel()
		}
	}
	return nil // CPID, and what later versions may add
}

func (c *conn) request(id string) *request {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.requests[id]
}

// auth begins an exchange, which runs beside the others.
func (c *conn) auth(ctx context.Context, words []string) error {
	line, err := parseAuth(words)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	r := &request{line: line, responses: make(chan []byte, 1), cancel: cancel}
	c.mu.Lock()
	_, twice := c.requests[line.id]
	full := len(c.requests) >= orDefault(c.s.MaxRequests, 256)
	if !twice && !full {
		c.requests[line.id] = r
	}
	c.mu.Unlock()
	switch {
	case twice:
		cancel()
		return errLine
	case full:
		cancel()
		return c.write("FAIL\t" + line.id + "\ttemp\treason=Too many requests at once\n")
	}
	c.running.Go(func() {
		defer cancel()
		answer := c.run(ctx, r)
		cancelled := ctx.Err() != nil
		c.mu.Lock()
		delete(c.requests, line.id)
		c.mu.Unlock()
		if !cancelled { // CANCEL has no answer
			c.write(answer)
		}
	})
	return nil
}

// run goes through an exchange and returns the line that ends it.
func (c *conn) run(ctx context.Context, r *request) string {
	x, err := c.s.Auth.Start(ctx, &r.line.session, r.line.mechanism)
	if err == nil && r.line.malformed {
		err = mail.ErrExchange
	}
	if err != nil {
		return fail(r.line.id, err)
	}
	for response := r.line.initial; ; {
		challenge, done, err := x.Next(ctx, response)
		if err != nil {
			return fail(r.line.id, err)
		}
		ok := "OK\t" + r.line.id + "\tuser=" + escape(x.Identity().Account)
		encoded := base64.StdEncoding.EncodeToString(challenge)
		switch {
		case done && challenge == nil:
			return ok + "\n"
		case done && r.line.finalInOK:
			return ok + "\tresp=" + encoded + "\n"
		}
		if c.write("CONT\t"+r.line.id+"\t"+encoded+"\n") != nil {
			return ""
		}
		if response, err = c.wait(ctx, r); err != nil {
			return fail(r.line.id, err)
		}
		if done { // the empty response to the last challenge
			return ok + "\n"
		}
	}
}

func (c *conn) wait(ctx context.Context, r *request) ([]byte, error) {
	timer := time.NewTimer(orDefault(c.s.RequestTimeout, 150*time.Second))
	defer timer.Stop()
	select {
	case response := <-r.responses:
		if response == nil {
			return nil, mail.ErrExchange
		}
		return response, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-timer.C:
		c.s.log().LogAttrs(ctx, slog.LevelInfo, "exchange given up", slog.String("service", r.line.session.Service))
		return nil, mail.ErrExchange
	}
}

// fail writes the end of an exchange that did not succeed. What went wrong on our side stays with us.
func fail(id string, err error) string {
	s := "FAIL\t" + id
	switch reply := (*mail.Reply)(nil); {
	case errors.Is(err, mail.ErrCredentials):
	case errors.Is(err, mail.ErrMechanism), errors.Is(err, mail.ErrExchange):
		s += "\treason=" + escape(text(err))
	case errors.As(err, &reply):
		if reply.Temporary() {
			s += "\ttemp"
		}
		s += "\treason=" + escape(reply.Text)
	default:
		s += "\ttemp"
	}
	return s + "\n"
}

func text(err error) string {
	if errors.Is(err, mail.ErrMechanism) {
		return mail.ErrMechanism.Error()
	}
	return mail.ErrExchange.Error()
}
