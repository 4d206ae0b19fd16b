package imap

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"time"
)

// Sizes of the buffers of a connection, in octets. An idle one holds only the small one, which is part of wire.
const (
	smallOctets = 128
	inOctets    = 4 << 10
	outOctets   = 4 << 10
	flushOctets = 32 << 10 // output beyond this goes to the peer before more is made
	keepOctets  = 64 << 10 // larger buffers are not kept for reuse
	copyOctets  = 32 << 10 // content is moved in pieces of this size
)

// buffers are shared by the connections of a server.
type buffers struct{ in, out, line, deflate sync.Pool }

func (b *buffers) get(p *sync.Pool, size int) []byte {
	if v, ok := p.Get().(*[]byte); ok {
		return (*v)[:0]
	}
	return make([]byte, 0, size)
}

func (b *buffers) put(p *sync.Pool, buf []byte) {
	if cap(buf) > 0 && cap(buf) <= keepOctets {
		p.Put(&buf)
	}
}

// errLineTooLong: a line went over its limit; it was read to its end.
var errLineTooLong = errors.New("imap: command line too long")

// wire reads lines and literals from a connection and collects what is to be written.
type wire struct {
	nc   net.Conn  // for deadlines
	rd   io.Reader // nc, or the decompressor on it
	wr   io.Writer // nc, or the compressor on it
	pool *buffers

	in    []byte // what was read: small[:] or a buffer of the pool
	r, w  int    // in[r:w] is not used yet
	small [smallOctets]byte

	out []byte
	err error // of writing; the first one stays

	readTimeout, writeTimeout time.Duration
	before                    time.Time // until then everything must have been read, however it drips in; zero: no such time
	skipOctets                int64     // of a line that is too long, read in search of its end

	mu    sync.Mutex
	poked bool
}

// errPoked: the wait for a command was ended by poke.
var errPoked = errors.New("imap: poked")

// buffered reports whether input is waiting that was read already.
func (w *wire) buffered() bool { return w.r < w.w }

// drop throws away what was read ahead: nothing said before TLS may count after it (RFC 9051 section 6.2.1).
func (w *wire) drop() { w.r, w.w = 0, 0 }

// fill sends what is to be sent, since the peer may be waiting for it, and reads more input. Idle says how long to
// wait for it.
func (w *wire) fill(idle time.Duration, pokable bool) error {
	if len(w.out) > 0 {
		if err := w.flush(); err != nil {
			return err
		}
	}
	w.room()
	return w.read(idle, pokable)
}

// room makes sure that more can be read.
func (w *wire) room() {
	if w.in == nil || w.r == w.w {
		w.r, w.w = 0, 0
		if w.in == nil {
			w.in = w.small[:]
		}
	}
	if w.w == len(w.in) {
		big := w.pool.get(&w.pool.in, inOctets) // those of fillMuch come back here and are larger: no harm
		big = big[:cap(big)]
		w.r, w.w = 0, copy(big, w.in[w.r:w.w])
		w.in = big
	}
}

// read waits for input. A poke ends the wait with errPoked where pokable; within a command it only renews it.
func (w *wire) read(wait time.Duration, pokable bool) error {
	for {
		w.mu.Lock()
		if w.poked && pokable {
			w.poked = false
			w.mu.Unlock()
			return errPoked
		}
		until := time.Now().Add(wait)
		if !w.before.IsZero() && w.before.Before(until) {
			until = w.before
		}
		err := w.nc.SetReadDeadline(until)
		w.mu.Unlock()
		if err != nil {
			return wireError(err)
		}
		n, err := w.rd.Read(w.in[w.w:])
		w.w += n
		switch {
		case n > 0:
			return nil
		case err == nil:
			return wireError(io.ErrNoProgress)
		case !isTimeout(err) || !time.Now().Before(until):
			return wireError(err)
		}
	}
}

// poke wakes whoever waits for a command. It may be called from any goroutine.
func (w *wire) poke() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.poked = true
	_ = w.nc.SetReadDeadline(time.Unix(1, 0))
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// release gives the buffers back before a wait.
func (w *wire) release() {
	if !w.buffered() && len(w.in) > smallOctets {
		w.pool.put(&w.pool.in, w.in)
		w.in = nil
	}
	if len(w.out) == 0 && w.out != nil {
		w.pool.put(&w.pool.out, w.out)
		w.out = nil
	}
}

// line appends the next line without its line end to dst. Max bounds the length of dst. A bare LF ends a line too. What
// is too long is read over to its end, where that comes soon.
func (w *wire) line(dst []byte, maxLen int) ([]byte, error) {
	long, start, over := false, len(dst), int64(0)
	for {
		for w.r < w.w {
			c := w.in[w.r:w.w]
			eol := bytes.IndexByte(c, '\n')
			take := len(c)
			if eol >= 0 {
				take = eol
			}
			if len(dst)+take > maxLen+1 {
				long = true
			}
			if !long {
				dst = append(dst, c[:take]...)
			}
			w.r += take
			if long {
				over += int64(take)
			}
			if eol < 0 {
				break
			}
			w.r++
			if n := len(dst); n > start && dst[n-1] == '\r' {
				dst = dst[:n-1]
			}
			if long || len(dst) > maxLen {
				return dst, errLineTooLong
			}
			return dst, nil
		}
		if over > w.skipOctets {
			return dst, bye("[TOOBIG] line is too long to be read over")
		}
		if err := w.fill(w.readTimeout, false); err != nil {
			return dst, err
		}
	}
}

// literal appends n octets to dst.
func (w *wire) literal(dst []byte, n int64) ([]byte, error) {
	err := w.octets(n, func(b []byte) error {
		dst = append(dst, b...)
		return nil
	})
	return dst, err
}

// octets gives the next n octets of input to f, in pieces. The first error of f stops the calls, not the reading.
func (w *wire) octets(n int64, f func([]byte) error) error {
	var failed error
	for n > 0 {
		if w.r == w.w {
			if err := w.fillMuch(n); err != nil {
				return err
			}
		}
		take := int(min(int64(w.w-w.r), n))
		if failed == nil {
			failed = f(w.in[w.r : w.r+take])
		}
		w.r += take
		n -= int64(take)
	}
	return failed
}

// fillMuch is fill with a large buffer where much is expected. All input is used up.
func (w *wire) fillMuch(n int64) error {
	if n > inOctets && cap(w.in) < copyOctets {
		if len(w.in) > smallOctets {
			w.pool.put(&w.pool.in, w.in)
		}
		w.in = make([]byte, copyOctets)
	}
	return w.fill(w.readTimeout, false)
}

// begin makes sure that there is an output buffer.
func (w *wire) begin() {
	if w.out == nil {
		w.out = w.pool.get(&w.pool.out, outOctets)
	}
}

// say appends a whole untagged or tagged line.
func (w *wire) say(parts ...string) {
	w.begin()
	for _, s := range parts {
		w.out = append(w.out, s...)
	}
	w.out = append(w.out, '\r', '\n')
}

func (w *wire) num(n uint64) { w.out = strconv.AppendUint(w.out, n, 10) }

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
		w.err = w.nc.SetWriteDeadline(time.Now().Add(w.writeTimeout))
		if w.err == nil {
			_, w.err = w.wr.Write(w.out)
		}
		w.err = wireError(w.err)
	}
	w.out = w.out[:0]
	return w.err
}
