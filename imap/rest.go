package imap

import (
	"context"
	"errors"
	"io"
	"runtime/debug"
	"time"
)

// goOn serves the connection until it ends, in a new goroutine after each rest: one that has run commands has a stack of
// 16 KiB, which it would keep while it waits.
func (c *conn) goOn() {
	if c.stint() {
		go c.goOn()
	}
}

// stint serves the connection until it ends or rests: then it is to be called again, which waits for the next command.
func (c *conn) stint() (rests bool) {
	defer func() {
		r := recover() // one hostile session must not take the house down
		if r != nil {
			c.srv.log().Error("imap: session failed", "session", c.sess.ID, "panic", r, "stack", string(debug.Stack()))
		}
		if !rests || r != nil {
			rests = false
			c.close()
		}
	}()
	if c.state == 0 {
		if err := c.open(); err != nil {
			c.srv.log().Debug("imap: TLS handshake failed", "session", c.sess.ID, "err", err)
			return false
		}
	}
	for c.state != stateLogout {
		err := c.step(c.ctx)
		if errors.Is(err, errRest) {
			return true
		}
		if err != nil {
			c.farewell(err)
			if !errors.Is(err, io.EOF) {
				c.srv.log().Debug("imap: session ended", "session", c.sess.ID, "err", err)
			}
			break
		}
	}
	_ = c.flush()
	_ = c.nc.Close() // under TLS, with its own good-bye
	return false
}

// await sends what is to be sent, gives the buffers back and waits for the next command. In IDLE and after NOTIFY it
// tells meanwhile what happens. It returns errRest where the wait is to go on in another goroutine.
func (c *conn) await(ctx context.Context) error {
	if c.unwatch == nil && (c.idling || c.notify != nil) {
		c.unwatch = c.watching()
	}
	for {
		if c.unwatch != nil && !c.rested {
			if err := c.notified(ctx, c.idling); err != nil {
				return c.awake(err)
			}
		}
		if err := c.flush(); err != nil {
			return c.awake(err)
		}
		c.release()
		err := c.rest()
		switch {
		case errors.Is(err, errRest):
			return err
		case !errors.Is(err, errPoked):
			return c.awake(err)
		case c.srv.gate.Draining():
			return c.awake(errDrain)
		case c.unwatch == nil:
			return c.awake(nil)
		}
	}
}

// restAfter is how long a goroutine that has run commands waits for another one. Those who work with their mail are
// not delayed by a new goroutine each time.
const restAfter = time.Second

// errRest: the connection waits, its goroutine may end.
var errRest = errors.New("imap: resting")

// rest waits for input. It returns errRest after restAfter, once; called again it waits for as long as the client may.
func (c *conn) rest() error {
	wait := c.limits.IdleTimeout
	if c.state == stateNot {
		wait = max(time.Until(c.sess.Start.Add(c.limits.LoginTimeout)), time.Millisecond)
	} else if c.rested {
		wait -= restAfter
	}
	rests := !c.rested && wait > restAfter
	if rests {
		wait = restAfter
	}
	err := c.fill(wait, true)
	c.rested = rests && isTimeout(err)
	if c.rested {
		return errRest
	}
	return err
}

// awake ends what await has begun.
func (c *conn) awake(err error) error {
	c.endWatching()
	return err
}

func (c *conn) endWatching() {
	if c.unwatch != nil {
		c.unwatch()
		c.unwatch = nil
	}
}
