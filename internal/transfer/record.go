package transfer

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// Head tells about the message whose content follows.
type Head struct {
	ID       string    `json:"id,omitempty"` // import: where it comes from
	UID      uint32    `json:"uid,omitempty"`
	Validity uint32    `json:"uidvalidity,omitempty"`
	Flags    []string  `json:"flags,omitempty"` // \Seen and so on, and keywords
	Date     time.Time `json:"date,omitzero"`   // INTERNALDATE
	Size     int64     `json:"size,omitempty"`  // octets, if known
	End      bool      `json:"end,omitempty"`   // no message: there are no more
	Error    string    `json:"error,omitempty"` // no message: it broke off
}

const (
	maxHeadOctets  = 1 << 20
	maxPieceOctets = 64 << 10
)

// writeRecord writes a head and, unless it ends the records, the content in pieces: a decimal length, LF, so many octets;
// the length 0 ends it.
func writeRecord(w io.Writer, h Head, content func(io.Writer) error) error {
	b, err := json.Marshal(h)
	if err == nil {
		_, err = w.Write(append(b, '\n'))
	}
	if err != nil || h.End || h.Error != "" {
		return err
	}
	if err := content(pieces{w}); err != nil {
		return err
	}
	_, err = io.WriteString(w, "0\n")
	return err
}

type pieces struct{ w io.Writer }

func (p pieces) Write(b []byte) (n int, err error) {
	for len(b) > 0 {
		k := min(len(b), maxPieceOctets)
		if _, err := io.WriteString(p.w, strconv.Itoa(k)+"\n"); err != nil {
			return n, err
		}
		if _, err := p.w.Write(b[:k]); err != nil {
			return n, err
		}
		n, b = n+k, b[k:]
	}
	return n, nil
}

var errRecord = errors.New("malformed record")

// readHead reads a head. The end of the input before one is io.ErrUnexpectedEOF.
func readHead(r *bufio.Reader) (h Head, err error) {
	line, err := readLine(r, maxHeadOctets)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err == nil && json.Unmarshal(line, &h) != nil {
		err = errRecord
	}
	return h, err
}

func readLine(r *bufio.Reader, most int) ([]byte, error) {
	var text []byte
	for {
		part, err := r.ReadSlice('\n')
		text = append(text, part...)
		switch {
		case len(text) > most:
			return nil, errRecord
		case err == nil:
			return text[:len(text)-1], nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}

// readContent copies the content of a record.
func readContent(w io.Writer, r *bufio.Reader) error {
	for {
		line, err := readLine(r, 16)
		if err != nil {
			return unexpected(err)
		}
		n, err := strconv.Atoi(string(line))
		if err != nil || n < 0 || n > maxPieceOctets || strings.HasPrefix(string(line), "+") {
			return fmt.Errorf("%w: length %.16q", errRecord, line)
		}
		if n == 0 {
			return nil
		}
		if _, err := io.CopyN(w, r, int64(n)); err != nil {
			return unexpected(err)
		}
	}
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
