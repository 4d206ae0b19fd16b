package imap

import (
	"context"
	"errors"
	"io"
	"time"
)

const (
	// progressEvery is how often a client is told that its command still runs (RFC 9585 section 4: at least each 15 s).
	progressEvery = 10 * time.Second
	// lookEvery is how often it is looked whether the client of a long command is still there, from the first time on.
	lookEvery = time.Second
)

// errAbandoned: the client has gone while its command ran.
var errAbandoned = errors.New("imap: client has gone")

// slowly runs work of the backend that may take long, tells the client meanwhile that it goes on, and gives it up (its
// context ends) when the client has gone. While work runs nobody else touches the connection.
func (c *conn) slowly(ctx context.Context, work func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	over := make(chan struct{})
	left := make(chan struct{})
	timer := time.AfterFunc(lookEvery, func() {
		defer close(left)
		c.attend(over, cancel)
	})
	err := work(ctx)
	if close(over); !timer.Stop() {
		<-left
	}
	if errors.Is(context.Cause(ctx), errAbandoned) {
		return wireError(errAbandoned)
	}
	return err
}

// attend runs beside the work until over is closed. A peer that has closed its side may still read: only when writing to
// it fails it has gone.
func (c *conn) attend(over <-chan struct{}, abandon context.CancelCauseFunc) {
	ear := c.listen()
	defer ear.end()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	next := time.Now().Add(progressEvery - lookEvery)
	closed, heard := false, ear.heard
	for {
		select {
		case <-over:
			return
		case err := <-heard:
			if heard = nil; err != nil && !errors.Is(err, io.EOF) {
				abandon(errAbandoned)
				return
			}
			closed = err != nil
		case <-tick.C:
		}
		if now := time.Now(); !closed && (now.Before(next) || !c.offers("INPROGRESS")) {
			continue
		} else if next = now.Add(progressEvery); c.tellProgress() != nil {
			abandon(errAbandoned)
			return
		}
	}
}

func (c *conn) tellProgress() error {
	c.begin()
	if c.offers("INPROGRESS") {
		c.out = append(c.out, "* OK [INPROGRESS ("...)
		c.out = appendString(c.out, c.tag)
		c.say(" NIL NIL)] still working")
	} else {
		c.say("* OK still working")
	}
	return c.flush()
}

// ear reads ahead from a connection whose command runs, in order to notice its end.
type ear struct {
	w     *wire
	heard chan error // gets one value when nothing more can be read: the error, or nil if there is no more room
	stop  chan struct{}
}

// listen begins to read ahead, into what room the input buffer has.
func (w *wire) listen() *ear {
	e := &ear{w: w, heard: make(chan error, 1), stop: make(chan struct{})}
	w.room()
	go e.run()
	return e
}

func (e *ear) run() {
	w := e.w
	var failed error
	for failed == nil && w.w < len(w.in) && e.again() {
		n, err := w.rd.Read(w.in[w.w:])
		if w.w += n; err != nil && !isTimeout(err) {
			failed = err
		}
	}
	e.heard <- failed
	close(e.heard)
}

// again sets the deadline of the next read; false: it is over.
func (e *ear) again() bool {
	e.w.mu.Lock()
	defer e.w.mu.Unlock()
	select {
	case <-e.stop:
		return false
	default:
	}
	return e.w.nc.SetReadDeadline(time.Now().Add(time.Minute)) == nil
}

// end stops reading ahead and waits until nobody does.
func (e *ear) end() {
	e.w.mu.Lock()
	close(e.stop)
	_ = e.w.nc.SetReadDeadline(time.Unix(1, 0))
	e.w.mu.Unlock()
	for range e.heard { // until it is closed
	}
}
