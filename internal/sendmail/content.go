package sendmail

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
)

// Limits of a message that a program hands over.
const (
	MaxHeaderOctets  = 1 << 20
	MaxContentOctets = 1 << 30 // the house has a limit of its own, below
	memoryOctets     = 1 << 20 // kept in memory; what is longer in a temporary file
)

// content is a message as it was read: with CRLF lines, its header apart.
type content struct {
	header   []byte // without the empty line
	eightBit bool   // some octet is not ASCII
	size     int64  // of the body, with the empty line

	memory []byte
	file   *os.File
}

var errTooLong = errors.New("the message is too long")

// read takes a message from a program: it ends its lines in CRLF, ends the header where something stands that is no field, passes
// over the envelope line of an mbox, and stops at a line with a dot alone if dot is set.
func read(r io.Reader, dot bool) (_ *content, err error) {
	c := &content{}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	l := lines{r: bufio.NewReaderSize(r, 64<<10)}
	inHeader, first := true, true
	for {
		line, begins, err := l.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read the message: %w", err)
		}
		if begins && dot && l.whole && string(line) == ".\r\n" {
			break
		}
		if begins && first && bytes.HasPrefix(line, []byte("From ")) {
			first = false
			l.skip = true
			continue
		}
		if !begins && l.skip {
			continue
		}
		l.skip = false
		if begins && inHeader && !isField(line, len(c.header) > 0) {
			inHeader = false
			if string(line) != "\r\n" { // the empty line is missing
				if err := c.write([]byte("\r\n")); err != nil {
					return nil, err
				}
			}
		}
		first = false
		if err := c.put(line, inHeader); err != nil {
			return nil, err
		}
	}
	if inHeader {
		return c, c.write([]byte("\r\n"))
	}
	return c, nil
}

func (c *content) put(line []byte, header bool) error {
	for _, b := range line {
		if b >= 0x80 {
			c.eightBit = true
			break
		}
	}
	if !header {
		return c.write(line)
	}
	if len(c.header)+len(line) > MaxHeaderOctets {
		return fmt.Errorf("%w: its header has more than %d octets", errTooLong, MaxHeaderOctets)
	}
	c.header = append(c.header, line...)
	return nil
}

// lines gives lines with CRLF, long ones in pieces.
type lines struct {
	r     *bufio.Reader
	mid   bool // the last piece did not end its line
	cr    bool // the last piece ended in CR
	whole bool // the piece is a whole line
	skip  bool // the rest of this line is not wanted
	out   []byte
}

func (l *lines) next() (line []byte, begins bool, err error) {
	piece, err := l.r.ReadSlice('\n')
	if len(piece) == 0 && err != nil && !errors.Is(err, bufio.ErrBufferFull) {
		if errors.Is(err, io.EOF) && (l.mid || l.cr) {
			l.mid, l.cr = false, false
			return []byte("\r\n"), false, nil // the last line had no end
		}
		return nil, false, err
	}
	begins = !l.mid
	l.out = l.out[:0]
	ends := bytes.HasSuffix(piece, []byte("\n"))
	if ends {
		piece = piece[:len(piece)-1]
	}
	if l.cr && (len(piece) > 0 || !ends) {
		l.out = append(l.out, ' ') // a CR alone ended the piece before
	}
	l.cr = bytes.HasSuffix(piece, []byte("\r"))
	if l.cr {
		piece = piece[:len(piece)-1]
	}
	for _, b := range piece {
		if b == '\r' { // it must not become the end of a line, which whoever filled in a form may have meant it to be
			b = ' '
		}
		l.out = append(l.out, b)
	}
	if ends {
		l.cr = false
		l.out = append(l.out, "\r\n"...)
	}
	l.whole = begins && ends
	l.mid = !ends
	return l.out, begins, nil
}

// isField tells whether a line belongs to a header (RFC 5322 section 2.2).
func isField(line []byte, continued bool) bool {
	if len(line) == 0 {
		return false
	}
	if line[0] == ' ' || line[0] == '\t' {
		return continued
	}
	name, _, ok := bytes.Cut(line, []byte(":"))
	name = bytes.TrimRight(name, " \t")
	if !ok || len(name) == 0 {
		return false
	}
	for _, b := range name {
		if b <= ' ' || b >= 0x7f {
			return false
		}
	}
	return true
}

func (c *content) write(p []byte) error {
	c.size += int64(len(p))
	if c.size > MaxContentOctets {
		return fmt.Errorf("%w: more than %d octets", errTooLong, MaxContentOctets)
	}
	if c.file == nil && len(c.memory)+len(p) <= memoryOctets {
		c.memory = append(c.memory, p...)
		return nil
	}
	if c.file == nil {
		f, err := os.CreateTemp("", "samotop-sendmail-*")
		if err != nil {
			return err
		}
		if err := os.Remove(f.Name()); err != nil { // it goes with us
			return errors.Join(err, f.Close())
		}
		c.file = f
	}
	_, err := c.file.Write(p)
	return err
}

// open reads the message from its beginning: fields in front, the header, the body.
func (c *content) open(fields []byte) (io.Reader, error) {
	parts := []io.Reader{bytes.NewReader(fields), bytes.NewReader(c.header), bytes.NewReader(c.memory)}
	if c.file != nil {
		if _, err := c.file.Seek(0, io.SeekStart); err != nil {
			return nil, err
		}
		parts = append(parts, c.file)
	}
	return io.MultiReader(parts...), nil
}

func (c *content) close() {
	if c.file != nil {
		_ = c.file.Close() // read only, and gone from its directory
	}
}
