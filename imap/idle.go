package imap

import (
	"context"
	"errors"
	"strings"
)

const idleLineOctets = 1000

// cmdIdle: RFC 2177. What follows is a wait like any other, in which news of the mailbox is told; endIdle ends it.
func (c *conn) cmdIdle() error {
	c.say("+ idling")
	c.idling = true
	return nil
}

// endIdle reads the DONE that has come, unless IDLE failed, and answers IDLE.
func (c *conn) endIdle(ctx context.Context, err error) error {
	c.idling = false
	switch {
	case errors.Is(err, errDrain) || isIO(err):
		return err
	case err == nil:
		err = c.done()
	}
	return c.complete(ctx, "IDLE", err)
}

func (c *conn) done() error {
	line, err := c.line(nil, idleLineOctets)
	switch {
	case err != nil && !errors.Is(err, errLineTooLong):
		return err
	case !strings.EqualFold(string(line), "DONE"):
		return bad("IDLE ends with DONE")
	}
	return nil
}

// watching wakes the connection whenever there is news, until what it returns is called.
func (c *conn) watching() (end func()) {
	var box, account <-chan struct{}
	if c.sel != nil && c.selectedEvents().messages {
		box = c.sel.box.Notify()
	}
	if c.notify != nil && c.notify.watch != nil {
		account = c.notify.watch.Notify()
	}
	if w, ok := boxWaker(c.sel); ok && box != nil {
		w.Wake(c.poke)
		rest := c.watchingChannels(nil, account)
		return func() {
			w.Wake(nil)
			rest()
			c.unpoke()
		}
	}
	return c.watchingChannels(box, account)
}

func boxWaker(v *selected) (w Waker, ok bool) {
	if v != nil {
		w, ok = v.box.(Waker)
	}
	return w, ok
}

// watchingChannels is watching by a goroutine.
func (c *conn) watchingChannels(box, account <-chan struct{}) (end func()) {
	if box == nil && account == nil {
		return func() {}
	}
	stop, over := make(chan struct{}), make(chan struct{})
	go c.watch(box, account, stop, over)
	return func() {
		close(stop)
		<-over
		c.unpoke()
	}
}

// watch pokes the connection at each notice until stop is closed.
func (c *conn) watch(box, account <-chan struct{}, stop, over chan struct{}) {
	defer close(over)
	for {
		select {
		case _, ok := <-box:
			if !ok {
				box = nil
				continue
			}
			c.poke()
		case _, ok := <-account:
			if !ok {
				account = nil
				continue
			}
			c.poke()
		case <-stop:
			return
		}
	}
}

// unpoke forgets a poke that came too late, unless the server is stopping.
func (c *conn) unpoke() {
	if c.srv.gate.Draining() {
		return
	}
	c.mu.Lock()
	c.poked = false
	c.mu.Unlock()
}
