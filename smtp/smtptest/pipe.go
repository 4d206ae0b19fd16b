package smtptest

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// pipeOctets is how much one side may be ahead of the other.
const pipeOctets = 64 << 10

// Pipe returns the two ends of a connection in memory. Unlike net.Pipe it is buffered, as a socket is, so both sides
// may write at the same time; and unlike a socket it does not stop the clock of a testing/synctest bubble.
func Pipe() (client, server net.Conn) {
	a, b := newHalf(), newHalf()
	return &end{in: a, out: b, name: "client"}, &end{in: b, out: a, name: "server"}
}

// half is one direction.
type half struct {
	mu      sync.Mutex
	wake    chan struct{} // closed and replaced when anything changes
	buf     []byte
	eof     bool // the writer has closed
	gone    bool // the reader has closed
	limit   int
	readBy  time.Time
	writeBy time.Time
}

func newHalf() *half { return &half{wake: make(chan struct{}), limit: pipeOctets} }

// changed wakes whoever waits; mu is held.
func (h *half) changed() {
	close(h.wake)
	h.wake = make(chan struct{})
}

// wait waits for a change or for the time; mu is held before and after.
func (h *half) wait(by time.Time) error {
	wake := h.wake
	var timer <-chan time.Time
	if !by.IsZero() {
		d := time.Until(by)
		if d <= 0 {
			return os.ErrDeadlineExceeded
		}
		t := time.NewTimer(d)
		defer t.Stop()
		timer = t.C
	}
	h.mu.Unlock()
	select {
	case <-wake:
	case <-timer:
	}
	h.mu.Lock()
	return nil
}

func (h *half) read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.gone:
			return 0, net.ErrClosed
		case !h.readBy.IsZero() && !time.Now().Before(h.readBy):
			return 0, os.ErrDeadlineExceeded
		case len(h.buf) > 0:
			n := copy(p, h.buf)
			h.buf = h.buf[n:]
			if len(h.buf) == 0 {
				h.buf = nil
			}
			h.changed()
			return n, nil
		case h.eof:
			return 0, io.EOF
		case len(p) == 0:
			return 0, nil
		}
		if err := h.wait(h.readBy); err != nil {
			return 0, err
		}
	}
}

func (h *half) write(p []byte) (n int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(p) > 0 {
		switch {
		case h.eof:
			return n, net.ErrClosed
		case h.gone:
			return n, io.ErrClosedPipe
		case !h.writeBy.IsZero() && !time.Now().Before(h.writeBy):
			return n, os.ErrDeadlineExceeded
		}
		if room := h.limit - len(h.buf); room > 0 {
			m := min(room, len(p))
			h.buf = append(h.buf, p[:m]...)
			p, n = p[m:], n+m
			h.changed()
			continue
		}
		if err := h.wait(h.writeBy); err != nil {
			return n, err
		}
	}
	return n, nil
}

func (h *half) do(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
	h.changed()
}

// end is one end.
type end struct {
	in, out *half
	name    string
}

type addr string

func (addr) Network() string  { return "pipe" }
func (a addr) String() string { return string(a) }

func (e *end) Read(p []byte) (int, error)  { return e.in.read(p) }
func (e *end) Write(p []byte) (int, error) { return e.out.write(p) }
func (e *end) LocalAddr() net.Addr         { return addr(e.name) }
func (e *end) RemoteAddr() net.Addr        { return addr("peer of " + e.name) }

// CloseWrite tells the other end that nothing follows, and goes on reading.
func (e *end) CloseWrite() error {
	e.out.do(func() { e.out.eof = true })
	return nil
}

func (e *end) Close() error {
	e.out.do(func() { e.out.eof = true })
	e.in.do(func() { e.in.gone, e.in.buf = true, nil })
	return nil
}

func (e *end) SetReadDeadline(t time.Time) error {
	e.in.do(func() { e.in.readBy = t })
	return nil
}

func (e *end) SetWriteDeadline(t time.Time) error {
	e.out.do(func() { e.out.writeBy = t })
	return nil
}

func (e *end) SetDeadline(t time.Time) error {
	return firstErr(e.SetReadDeadline(t), e.SetWriteDeadline(t))
}

func firstErr(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
