package smtp

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/samotop/samotop/mail"
)

// writeError tells an error of the connection from one of the content.
type writeError struct{ error }

func (e writeError) Unwrap() error { return e.error }

func isWriteError(err error) bool {
	var w writeError
	return errors.As(err, &w)
}

// blockWriter gathers content into large writes, each within BlockTimeout.
type blockWriter struct {
	c   *Client
	buf *[largeOctets]byte
	n   int
}

func newBlockWriter(c *Client) *blockWriter {
	return &blockWriter{c: c, buf: largeBuffers.Get().(*[largeOctets]byte)}
}

func (b *blockWriter) free() {
	largeBuffers.Put(b.buf)
	b.buf = nil
}

func (b *blockWriter) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 {
		if b.n == 0 && len(p) >= largeOctets {
			return total, b.send(p)
		}
		n := copy(b.buf[b.n:], p)
		b.n += n
		p = p[n:]
		if b.n == largeOctets {
			if err := b.flush(); err != nil {
				return 0, err
			}
		}
	}
	return total, nil
}

func (b *blockWriter) flush() error {
	n := b.n
	b.n = 0
	if n == 0 {
		return nil
	}
	return b.send(b.buf[:n])
}

func (b *blockWriter) send(p []byte) error {
	b.c.w.writeTimeout = or(b.c.d.BlockTimeout, 3*time.Minute)
	if err := b.c.w.flush(); err != nil {
		return writeError{err}
	}
	if err := b.c.w.write(p); err != nil {
		return writeError{err}
	}
	return nil
}

// maxChunksOut is how many chunks may be under way without an answer.
const maxChunksOut = 8

// bdat sends the content by BDAT: in one chunk if its size is known, else in chunks of a buffer.
func (s *sending) bdat() error {
	if s.m.Size > 0 {
		return s.wholeChunk()
	}
	buf := largeBuffers.Get().(*[largeOctets]byte)
	defer largeBuffers.Put(buf)
	out := newBlockWriter(s.c)
	defer out.free()
	chunks := &chunkReader{prefix: s.prefix, r: s.m.Body, check: s.m.Sender.Body != mail.BodyBinary}
	for waiting, last := 0, false; !last; {
		n, err := chunks.read(buf[:])
		last = err == io.EOF //nolint:errorlint // our own reader
		if err != nil && !last {
			return s.cut(err)
		}
		s.res.Uncertain = last
		if err := s.sendChunk(out, buf[:n], last); err != nil {
			return s.cut(err)
		}
		for waiting++; waiting > 1 && (last || waiting > maxChunksOut); waiting-- {
			if ok, err := s.chunkAnswer(); err != nil || !ok {
				return err
			}
		}
	}
	return s.final()
}

func (s *sending) sendChunk(out *blockWriter, p []byte, last bool) error {
	line := "BDAT " + strconv.Itoa(len(p))
	if last {
		line += " LAST"
	}
	s.c.put(line)
	if len(p) == 0 {
		return nil
	}
	if _, err := out.Write(p); err != nil {
		return err
	}
	return out.flush()
}

// chunkAnswer reads the reply to a chunk that is not the last. If it refuses, the message is refused; the answers to
// chunks that are still under way are not waited for.
func (s *sending) chunkAnswer() (bool, error) {
	r, err := s.c.read(or(s.c.d.EndTimeout, 10*time.Minute))
	if err != nil {
		return false, err
	}
	if r.Positive() {
		return true, nil
	}
	s.res.Data, s.res.Uncertain = *refusing(r), false
	s.all("DATA", &s.res.Data)
	s.c.broken = &ReplyError{"BDAT", &s.res.Data}
	return false, nil
}

// wholeChunk sends one chunk whose size was given. A body of another size ends the connection before the server could
// take it for complete.
func (s *sending) wholeChunk() error {
	c := s.c
	total := s.m.Size + int64(len(s.prefix))
	c.put("BDAT " + strconv.FormatInt(total, 10) + " LAST")
	out := newBlockWriter(c)
	defer out.free()
	body := &chunkReader{prefix: s.prefix, r: s.m.Body, check: s.m.Sender.Body != mail.BodyBinary}
	buf := largeBuffers.Get().(*[largeOctets]byte)
	defer largeBuffers.Put(buf)
	for sent := int64(0); ; {
		n, err := body.read(buf[:])
		if err != nil && err != io.EOF { //nolint:errorlint // our own reader
			return s.cut(err)
		}
		sent += int64(n)
		if sent == total && err == nil { // before the last octet goes out, be sure that it is the last
			var one [1]byte
			var more int
			more, err = body.read(one[:])
			sent += int64(more)
		}
		if sent > total || err == io.EOF && sent < total { //nolint:errorlint // our own reader
			return s.cut(fmt.Errorf("content is not of the %d octets that were announced", s.m.Size))
		}
		s.res.Uncertain = sent == total
		if _, werr := out.Write(buf[:n]); werr != nil {
			return s.cut(werr)
		}
		if err != nil {
			break
		}
	}
	if err := out.flush(); err != nil {
		return s.cut(err)
	}
	return s.final()
}

// chunkReader reads prefix and content as one, in full buffers, and refuses a bare CR or LF.
type chunkReader struct {
	prefix []byte
	r      io.Reader
	check  bool
	lines  lineChecker
}

// read fills p; io.EOF comes with the last octets.
func (k *chunkReader) read(p []byte) (int, error) {
	n := copy(p, k.prefix)
	k.prefix = k.prefix[n:]
	var err error
	for n < len(p) && err == nil {
		var m int
		m, err = k.r.Read(p[n:])
		n += m
	}
	if k.check {
		if lerr := k.lines.check(p[:n]); lerr != nil {
			return n, lerr
		}
		if err == io.EOF && k.lines.end() != nil { //nolint:errorlint // io.Reader's contract
			return n, errSmuggle
		}
	}
	return n, err
}
