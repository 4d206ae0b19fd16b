package transfer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
)

// Source is where mail comes from.
type Source interface {
	// Folders lists what there is.
	Folders(ctx context.Context) ([]Folder, error)
	// Messages yields the messages of a folder, but those that are known already, whose number it adds to skipped.
	Messages(ctx context.Context, f Folder, known func(id string) bool, skipped func(n int)) iter.Seq2[Item, error]
	Close() error
}

// Folder is a folder with its name as the house writes it: levels parted by "/", INBOX in capitals.
type Folder struct {
	Name     string
	Use      string // special use (RFC 6154) such as \Sent, "" if none is known
	Messages int    // about
	path     string
}

// Item is one message of a Source.
type Item struct {
	Head
	Write func(w io.Writer) error // the content
}

// crlfWriter makes the line ends of a file those of mail. Content whose first line ends in CRLF is taken octet for octet:
// that is how it is written out if its line ends are not all the same.
type crlfWriter struct {
	w     io.Writer
	first []byte // until the end of the first line is seen
	seen  bool
	raw   bool
	cr    bool
	buf   []byte
}

const maxFirstLine = 64 << 10

func (c *crlfWriter) Write(p []byte) (int, error) {
	n := len(p)
	if !c.seen {
		c.first = append(c.first, p...)
		if bytes.IndexByte(p, '\n') < 0 && len(c.first) < maxFirstLine {
			return n, nil
		}
		if err := c.decide(); err != nil {
			return 0, err
		}
		return n, nil
	}
	return n, c.put(p)
}

func (c *crlfWriter) decide() error {
	c.seen = true
	i := bytes.IndexByte(c.first, '\n')
	c.raw = i > 0 && c.first[i-1] == '\r' && (i == 1 || c.first[i-2] != '\r') // CR CR LF: the first CR is content, the line ends in LF
	p := c.first
	c.first = nil
	return c.put(p)
}

func (c *crlfWriter) put(p []byte) error {
	if c.raw {
		_, err := c.w.Write(p)
		return err
	}
	c.buf = c.buf[:0]
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			c.buf = append(c.buf, p...)
			c.cr = p[len(p)-1] == '\r'
			break
		}
		c.buf = append(c.buf, p[:i]...)
		if !(i > 0 && p[i-1] == '\r' || i == 0 && c.cr) {
			c.buf = append(c.buf, '\r')
		}
		c.buf = append(c.buf, '\n')
		c.cr, p = false, p[i+1:]
	}
	_, err := c.w.Write(c.buf)
	return err
}

// Close gives out what is held back.
func (c *crlfWriter) Close() error {
	if c.seen {
		return nil
	}
	return c.decide()
}

// copyMail copies a file with its line ends made those of mail.
func copyMail(w io.Writer, r io.Reader) error {
	c := &crlfWriter{w: w}
	_, err := io.Copy(c, r)
	return errors.Join(err, c.Close())
}
