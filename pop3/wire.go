package pop3

import (
	"bufio"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// Sizes in octets.
const (
	inOctets    = 2 << 10
	outOctets   = 4 << 10
	copyOctets  = 32 << 10 // content is read in pieces of this size
	flushOctets = 32 << 10 // output beyond this goes to the peer before more is made
	keepOctets  = 96 << 10 // larger buffers are not kept for reuse
	skipOctets  = 1 << 20  // of a line that is too long, read in search of its end
)

var (
	errLineTooLong = errors.New("pop3: command line too long")
	errEndless     = errors.New("pop3: line without an end")
	errDrain       = errors.New("pop3: server is stopping")
)

// wire reads lines from a connection and collects what is to be written. The input is read through Read, which sends
// the output first: the peer may be waiting for it.
type wire struct {
	nc           net.Conn // what is read and written: the connection, or TLS on it
	in           *bufio.Reader
	long         []byte // a line that is longer than the buffer of in
	out          []byte
	err          error     // of writing; the first one stays
	before       time.Time // until then the command must have been read, however slowly it drips in
	writeTimeout time.Duration

	mu       sync.Mutex // for nc and what follows, which drain uses
	marked   bool       // the session has something to lose
	draining bool
	until    time.Time // of a draining session
	grace    time.Duration
}

// Read reads from the connection.
func (w *wire) Read(p []byte) (int, error) {
	if err := w.flush(); err != nil {
		return 0, err
	}
	w.mu.Lock()
	until := w.before
	if w.draining && until.After(w.until) {
		until = w.until
	}
	err := w.nc.SetReadDeadline(until)
	nc := w.nc
	w.mu.Unlock()
	if err != nil {
		return 0, err
	}
	n, err := nc.Read(p)
	if n == 0 && isTimeout(err) && w.isDraining() {
		err = errDrain
	}
	return n, err
}

func (w *wire) isDraining() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.draining
}

// drain ends the wait for a command. It may be called from any goroutine.
func (w *wire) drain() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.draining, w.until = true, time.Now()
	if w.marked && w.grace > 0 {
		w.until = w.until.Add(w.grace)
	}
	_ = w.nc.SetReadDeadline(w.until)
}

// setMarked says whether the session has something to lose.
func (w *wire) setMarked(on bool) {
	w.mu.Lock()
	w.marked = on
	w.mu.Unlock()
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// readLine returns the next line without its end, valid until the next call. Max counts its end. A longer one is read
// to its end, if that is within skipOctets, and gives errLineTooLong. A bare LF ends a line too.
func (w *wire) readLine(maxLen int) ([]byte, error) {
	w.long = w.long[:0]
	tooLong := false
	for over := 0; over <= skipOctets; { // RFC 1939 section 3: a command is at most 255 octets
		part, err := w.in.ReadSlice('\n')
		if len(w.long)+len(part) > maxLen {
			tooLong = true
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			if !tooLong {
				w.long = append(w.long, part...)
			}
			over += len(part)
			continue
		case err != nil:
			return nil, err
		case tooLong:
			return nil, errLineTooLong
		}
		if len(w.long) > 0 {
			w.long = append(w.long, part...)
			part = w.long
		}
		part = part[:len(part)-1]
		if n := len(part); n > 0 && part[n-1] == '\r' {
			part = part[:n-1]
		}
		return part, nil
	}
	return nil, errEndless
}

// line appends a whole line to the output.
func (w *wire) line(s string) {
	w.out = append(w.out, s...)
	w.out = append(w.out, '\r', '\n')
}

// spill writes the output if there is much of it.
func (w *wire) spill() error {
	if len(w.out) < flushOctets {
		return w.err
	}
	return w.flush()
}

// flush writes all output.
func (w *wire) flush() error {
	if len(w.out) > 0 && w.err == nil {
		if w.err = w.nc.SetWriteDeadline(time.Now().Add(w.writeTimeout)); w.err == nil {
			_, w.err = w.nc.Write(w.out)
		}
	}
	w.out = w.out[:0]
	return w.err
}

// quiet reports whether err is how sessions end every day.
func quiet(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, errDrain) || isTimeout(err)
}
