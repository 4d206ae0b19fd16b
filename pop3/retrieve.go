package pop3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
)

// retrieve answers RETR and TOP. The content is read while it is sent.
func (c *conn) retrieve(ctx context.Context, a action) error {
	begun := false
	err := c.drop.Read(ctx, a.num, func(m Content) error {
		s := &stuffer{top: a.lines >= 0, left: a.lines}
		off, header, err := c.surrogate(ctx, m)
		if err != nil {
			return err
		}
		begun = true
		if a.lines < 0 {
			c.line("+OK " + strconv.FormatInt(m.Size(), 10) + " octets")
		} else {
			c.line("+OK top of message follows")
		}
		c.out = s.append(c.out, header)
		if err := c.stream(ctx, m, off, s); err != nil {
			return err
		}
		c.out = s.end(c.out)
		return nil
	})
	switch {
	case err == nil:
		return c.spill()
	case begun: // the client must not take what it has for the message
		c.out = c.out[:0]
		return fmt.Errorf("pop3: message broke off: %v", err) //nolint:errorlint // nothing may be answered any more
	case c.err != nil:
		return c.err
	}
	c.failed(ctx, err, "message cannot be read now, please try again later")
	return nil
}

// stream sends content from an offset on.
func (c *conn) stream(ctx context.Context, m Content, off int64, s *stuffer) error {
	piece := c.piece()
	defer c.givePiece(piece)
	for size := m.Size(); off < size && !s.ended; {
		b, err := m.Append(ctx, (*piece)[:0], off, min(copyOctets, size-off))
		*piece = b
		switch {
		case err != nil:
			return err
		case len(b) == 0:
			return errShort
		}
		off += int64(len(b))
		c.out = s.append(c.out, b)
		if err := c.spill(); err != nil {
			return err
		}
	}
	return nil
}

var errShort = errors.New("pop3: message is shorter than it was said to be")

func (c *conn) piece() *[]byte {
	if b, ok := c.srv.bufs.Get().(*[]byte); ok && cap(*b) >= copyOctets {
		return b
	}
	b := make([]byte, 0, copyOctets)
	return &b
}

func (c *conn) givePiece(b *[]byte) {
	if cap(*b) <= keepOctets {
		c.srv.bufs.Put(b)
	}
}

// surrogate returns, for a client that has not said UTF8, a header in ASCII in place of one in UTF-8, and where what
// follows it begins (RFC 6856 section 5). Anything else goes as it is: 0 and no header.
func (c *conn) surrogate(ctx context.Context, m Content) (int64, []byte, error) {
	if c.st.utf8 {
		return 0, nil, nil
	}
	var b []byte
	for limit := min(m.Size(), int64(c.limits.HeaderOctets)); ; {
		n := len(b)
		var err error
		if b, err = m.Append(ctx, b, int64(n), min(8<<10, limit-int64(n))); err != nil {
			return 0, nil, err
		}
		if end := headerEnd(b, max(0, n-3)); end >= 0 {
			b = b[:end]
			break
		}
		if len(b) == n || int64(len(b)) >= limit {
			break
		}
	}
	if !international(b) {
		return 0, nil, nil
	}
	return int64(len(b)), downgrade(b), nil
}

// headerEnd returns where the body begins, looking from an offset on; -1 if that was not found.
func headerEnd(b []byte, from int) int {
	if from == 0 && bytes.HasPrefix(b, []byte("\r\n")) {
		return 2
	}
	for {
		i := bytes.IndexByte(b[from:], '\n')
		if i < 0 {
			return -1
		}
		from += i + 1
		switch rest := b[from:]; {
		case bytes.HasPrefix(rest, []byte("\n")):
			return from + 1
		case bytes.HasPrefix(rest, []byte("\r\n")):
			return from + 2
		}
	}
}
