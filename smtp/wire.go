package smtp

import (
	"bytes"
	"errors"
	"net"
	"sync"
	"time"
)

// Buffer sizes, in octets. A connection that waits holds a small buffer; a large one comes from a pool while
// content flows or a long line is read.
const (
	smallOctets = 1 << 10
	largeOctets = 64 << 10
	outOctets   = 512
	maxOut      = 32 << 10 // replies gathered before they are written in any case
)

// Limits of lines, in octets with CRLF. RFC 5321 section 4.5.3.1.4 asks for 512 and more where extensions need it.
const (
	MaxLineOctets        = 4096
	MaxAuthLineOctets    = 12288 // RFC 4954 section 4
	maxTrustedLineOctets = 32 << 10
)

var (
	errLineTooLong = errors.New("line too long")
	errBareEnd     = errors.New("bare CR or LF")
)

var largeBuffers = sync.Pool{New: func() any { return new([largeOctets]byte) }}

// wire is a connection with its buffers. Output is gathered until input is needed that has not arrived yet: that
// is how pipelined commands get their replies in one packet (RFC 2920 section 3.2).
type wire struct {
	conn  net.Conn
	buf   []byte // small or large
	large *[largeOctets]byte
	r, w  int // buf[r:w] has been read and not used
	out   []byte
	both  [2][]byte // what writeBehind sends

	readTimeout  time.Duration // for each Read; 0: none
	until        time.Time     // and for all that is being read; zero: none
	writeTimeout time.Duration
	armed        func() error // asked after a read deadline was set: an error means do not read
	writing      func() error // the same for writing

	small    [smallOctets]byte
	smallOut [outOctets]byte
}

func (w *wire) init(conn net.Conn) {
	w.conn = conn
	w.buf = w.small[:]
	w.out = w.smallOut[:0]
}

// release gives the large buffer back; the wire must not be used afterwards.
func (w *wire) release() {
	if w.large != nil {
		largeBuffers.Put(w.large)
		w.large, w.buf, w.r, w.w = nil, nil, 0, 0
	}
}

func (w *wire) buffered() int { return w.w - w.r }

// drop forgets what has been read and not used, as STARTTLS must (RFC 3207 section 4.2).
func (w *wire) drop() { w.r, w.w = 0, 0 }

func (w *wire) grow() {
	if w.large != nil {
		return
	}
	w.large = largeBuffers.Get().(*[largeOctets]byte)
	w.w = copy(w.large[:], w.buf[w.r:w.w])
	w.r, w.buf = 0, w.large[:]
}

// shrink goes back to the small buffer if what is unread fits.
func (w *wire) shrink() {
	if w.large == nil || w.buffered() > smallOctets/2 {
		return
	}
	w.w = copy(w.small[:], w.buf[w.r:w.w])
	w.r, w.buf = 0, w.small[:]
	largeBuffers.Put(w.large)
	w.large = nil
}

// fill writes the replies that wait and reads once. It returns without error only if there is something new.
func (w *wire) fill() error {
	if err := w.flush(); err != nil {
		return err
	}
	if w.r == w.w {
		w.r, w.w = 0, 0
	}
	if w.w == len(w.buf) {
		switch {
		case w.r > 0:
			w.w = copy(w.buf, w.buf[w.r:w.w])
			w.r = 0
		case w.large == nil:
			w.grow()
		default:
			return errLineTooLong
		}
	}
	if err := w.arm(); err != nil {
		return err
	}
	for range 100 { // a Read may return nothing without an error, but not for ever
		n, err := w.conn.Read(w.buf[w.w:])
		w.w += n
		if n > 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return errors.New("connection reads nothing")
}

func (w *wire) arm() error {
	var at time.Time
	if w.readTimeout > 0 {
		at = time.Now().Add(w.readTimeout)
	}
	if !w.until.IsZero() && (at.IsZero() || w.until.Before(at)) {
		at = w.until
	}
	if err := w.conn.SetReadDeadline(at); err != nil {
		return err
	}
	if w.armed != nil {
		return w.armed()
	}
	return nil
}

func (w *wire) flush() error {
	if len(w.out) == 0 {
		return nil
	}
	err := w.write(w.out)
	w.out = w.smallOut[:0]
	return err
}

func (w *wire) armWrite() error {
	if w.writeTimeout > 0 {
		if err := w.conn.SetWriteDeadline(time.Now().Add(w.writeTimeout)); err != nil {
			return err
		}
	}
	if w.writing != nil {
		return w.writing()
	}
	return nil
}

func (w *wire) write(p []byte) error {
	if err := w.armWrite(); err != nil {
		return err
	}
	_, err := w.conn.Write(p)
	return err
}

// writeBehind sends p right behind what is gathered, at once where the connection can, so that the peer is woken once for both.
// It does not keep p.
func (w *wire) writeBehind(p []byte) error {
	if len(w.out) == 0 {
		return w.write(p)
	}
	switch w.conn.(type) {
	case *net.UnixConn, *net.TCPConn:
	default: // TLS, a pipe: a short p is copied
		if len(p) <= maxOut {
			w.out = append(w.out, p...)
			return w.flush()
		}
		if err := w.flush(); err != nil {
			return err
		}
		return w.write(p)
	}
	if err := w.armWrite(); err != nil {
		return err
	}
	w.both = [2][]byte{w.out, p}
	v := net.Buffers(w.both[:])
	_, err := v.WriteTo(w.conn)
	w.both = [2][]byte{}
	w.out = w.smallOut[:0]
	return err
}

// line reads a line of at most max octets with its CRLF and returns it without; it is valid until the next call.
// A longer one is read to its end, thrown away, and errLineTooLong; one that has a CR or LF elsewhere, or ends in a
// bare LF, is errBareEnd. After these two errors the next line can be read.
func (w *wire) line(max int) ([]byte, error) {
	seen := 0
	for {
		if i := bytes.IndexByte(w.buf[w.r+seen:w.w], '\n'); i >= 0 {
			line := w.buf[w.r : w.r+seen+i+1]
			w.r += len(line)
			return cutLine(line, max)
		}
		seen = w.buffered()
		if seen >= max {
			return nil, w.dropLine()
		}
		if err := w.fill(); err != nil {
			return nil, err
		}
	}
}

func cutLine(line []byte, max int) ([]byte, error) {
	if len(line) > max {
		return nil, errLineTooLong
	}
	body := line[:len(line)-1]
	if i := bytes.IndexByte(body, '\r'); i < 0 || i != len(body)-1 {
		return nil, errBareEnd
	}
	return body[:len(body)-1], nil
}

// maxDroppedLine bounds how much of an overlong line is read in search of its end, in octets.
const maxDroppedLine = 1 << 20

func (w *wire) dropLine() error {
	for dropped := 0; dropped < maxDroppedLine; {
		if i := bytes.IndexByte(w.buf[w.r:w.w], '\n'); i >= 0 {
			w.r += i + 1
			return errLineTooLong
		}
		dropped += w.buffered()
		w.r = w.w
		if err := w.fill(); err != nil {
			return err
		}
	}
	return errors.New("line without an end")
}

// isTimeout reports whether err is a deadline that has passed.
func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}
