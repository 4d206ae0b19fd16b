package imap

import (
	"context"
	"errors"
	"strings"
)

const idleLineOctets = 1000

// cmdIdle: RFC 2177. A second goroutine waits for news of the mailbox and wakes the one that waits for DONE.
func (c *conn) cmdIdle(ctx context.Context) error {
	c.say("+ idling")
	c.releaseCommand()
	if c.sel != nil {
		stop := make(chan struct{})
		over := make(chan struct{})
		go c.watch(c.sel.box.Notify(), stop, over)
		defer func() {
			close(stop)
			<-over
			c.unpoke()
		}()
	}
	for !c.buffered() {
		if c.sel != nil {
			if err := c.sync(ctx, true); err != nil {
				return err
			}
		}
		if err := c.flush(); err != nil {
			return err
		}
		c.release()
		err := c.fill(c.limits.IdleTimeout, true)
		switch {
		case errors.Is(err, errPoked) && c.srv.isDraining():
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

// watch pokes the connection at each notice until stop is closed.
func (c *conn) watch(news <-chan struct{}, stop, over chan struct{}) {
	defer close(over)
	for {
		select {
		case _, ok := <-news:
			if !ok {
				return
			}
			c.poke()
		case <-stop:
			return
		}
	}
}

// unpoke forgets a poke that came too late, unless the server is stopping.
func (c *conn) unpoke() {
	if c.srv.isDraining() {
		return
	}
	c.mu.Lock()
	c.poked = false
	c.mu.Unlock()
}
