package imap

import "time"

// progressEvery is how often a client is told that its command still runs (RFC 9585 section 4: at least each 15 s).
const progressEvery = 10 * time.Second

// slowly runs work of the backend that may take long, and tells the client meanwhile that it goes on. While work
// runs nobody else writes to the connection.
func (c *conn) slowly(work func() error) error {
	if !c.offers("INPROGRESS") {
		return work()
	}
	over := make(chan struct{})
	told := make(chan struct{}, 1)
	timer := time.AfterFunc(progressEvery, func() {
		defer func() { told <- struct{}{} }()
		c.tellProgress(over)
	})
	err := work()
	if close(over); !timer.Stop() {
		<-told
	}
	return err
}

// tellProgress runs beside the work until over is closed.
func (c *conn) tellProgress(over <-chan struct{}) {
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	for {
		select {
		case <-over: // it may just have ended
			return
		default:
		}
		c.begin()
		c.out = append(c.out, "* OK [INPROGRESS ("...)
		c.out = appendString(c.out, c.tag)
		c.say(" NIL NIL)] still working")
		if c.flush() != nil {
			return
		}
		select {
		case <-over:
			return
		case <-tick.C:
		}
	}
}
