package imap

import (
	"context"
	"errors"
	"strings"
)

const idleLineOctets = 1000

// cmdIdle: RFC 2177. News of the mailbox wakes the goroutine that waits for DONE.
func (c *conn) cmdIdle(ctx context.Context) error {
	c.say("+ idling")
	c.releaseCommand()
	defer c.watching()()
	for !c.buffered() {
		if err := c.notified(ctx, true); err != nil {
			return err
		}
		if err := c.flush(); err != nil {
			return err
		}
		c.release()
		err := c.fill(c.limits.IdleTimeout, true)
		switch {
		case errors.Is(err, errPoked) && c.srv.gate.Draining():
			return bye("[UNAVAILABLE] server is stopping, please come back")
		case errors.Is(err, errPoked):
		case err != nil:
			return err
		}
	}
	line, err := c.line(nil, idleLineOctets)
	if err != nil && !errors.Is(err, errLineTooLong) {
		return err
	}
	if !strings.EqualFold(string(line), "DONE") {
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
