package imap

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"os"

	"github.com/samotop/samotop/message"
)

// spoolOctets of a message in a literal8 are kept in memory, the rest in a file without a name.
const spoolOctets = 256 << 10

// spool keeps a message that has to be read again.
type spool struct {
	dir  string
	buf  []byte
	file *os.File
	size int64
}

func (s *spool) Write(p []byte) (n int, err error) {
	defer func() { s.size += int64(n) }()
	if s.file == nil && len(s.buf)+len(p) <= spoolOctets {
		s.buf = append(s.buf, p...)
		return len(p), nil
	}
	if s.file == nil {
		f, err := os.CreateTemp(s.dir, "samotop-append-*")
		if err != nil {
			return 0, err
		}
		s.file = f
		if err := os.Remove(f.Name()); err != nil {
			return 0, err
		}
	}
	return s.file.Write(p)
}

// content reads all of it.
func (s *spool) content() (io.Reader, error) {
	if s.file == nil {
		return bytes.NewReader(s.buf), nil
	}
	_, err := s.file.Seek(0, io.SeekStart)
	return io.MultiReader(bytes.NewReader(s.buf), s.file), err
}

func (s *spool) close() {
	if s.file != nil {
		_ = s.file.Close() // it has no name any more, and nothing of it is wanted
	}
}

// takeBinary moves a message in a literal8 to the backend. BODY[] and BODYSTRUCTURE cannot show NUL (RFC 3516 section 6),
// so that parts which hold it become BASE64; nothing else is changed (section 4.4).
func (c *conn) takeBinary(ctx context.Context, to Appender, opts AppendOptions) error {
	s := &spool{dir: c.srv.SpoolDir}
	defer s.close()
	parser := message.NewParser(message.Limits{})
	if err := c.takeLiteral(io.MultiWriter(s, parser)); err != nil {
		return err
	}
	root := parser.Close()
	if c.lit.nonSyn, c.lit.size = true, 0; root.HasNUL { // the octets are read
		opts.Size = -1
	}
	opts.Binary = true
	w, err := to.Next(ctx, opts)
	if err != nil {
		return c.refused(err)
	}
	r, err := s.content()
	if err == nil {
		if root.HasNUL {
			err = (message.Recoding{EightBit: true, LineOctets: math.MaxInt}).Copy(w, r, root)
		} else {
			_, err = io.Copy(w, r)
		}
	}
	if errors.Is(err, message.ErrSigned) || errors.Is(err, message.ErrNoRecoding) {
		err = no("UNKNOWN-CTE", "a part with NUL cannot be encoded")
	}
	if err != nil {
		return c.refused(err)
	}
	return nil
}

// withoutNUL refuses NUL in parts that are put together.
type withoutNUL struct{ w io.Writer }

func (n withoutNUL) Write(p []byte) (int, error) {
	if bytes.IndexByte(p, 0) >= 0 {
		return 0, no("UNKNOWN-CTE", "TEXT with NUL cannot be put together")
	}
	return n.w.Write(p)
}
