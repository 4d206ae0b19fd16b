package report

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	"github.com/samotop/samotop/message"
)

// maxReports is how many reports are read of one message.
const maxReports = 20

// Read reads all reports of a message: *Aggregate, *Feedback and *TLS. It fails if there is none, with the reason for
// which the last that might have been one is none.
func Read(r io.Reader) ([]any, error) {
	raw, err := io.ReadAll(io.LimitReader(r, MaxMessageOctets+1))
	if err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	if len(raw) > MaxMessageOctets {
		return nil, ErrTooLarge
	}
	root, err := message.Parse(bytes.NewReader(raw), message.Limits{})
	if err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	w := &walker{raw: raw, err: ErrNoReport}
	w.walk(root, 0)
	if len(w.found) == 0 {
		return nil, w.err
	}
	return w.found, nil
}

type walker struct {
	raw      []byte
	found    []any
	feedback *Feedback // the message of which comes in a later part
	err      error
}

func (w *walker) walk(p *message.Part, depth int) {
	if depth > MaxDepth || len(w.found) >= maxReports {
		return
	}
	for _, c := range p.Children {
		w.walk(c, depth+1)
	}
	if len(p.Children) > 0 {
		return
	}
	kind := p.Type + "/" + p.Subtype
	if kind == "message/rfc822" || kind == "message/global" || kind == "text/rfc822-headers" {
		if w.feedback != nil && w.feedback.Message == nil && w.feedback.Headers == nil {
			if b, err := w.body(p); err == nil {
				w.feedback.attach(p.Type == "text", b)
			}
		}
		return
	}
	if kind == "text/plain" || kind == "text/html" || p.Type == "image" {
		return
	}
	b, err := w.body(p)
	if err != nil {
		w.err = err
		return
	}
	if kind == "message/feedback-report" {
		f, err := ParseFeedback(b)
		if err != nil {
			w.err = err
			return
		}
		w.feedback = f
		w.found = append(w.found, f)
		return
	}
	x, err := Unpack(b)
	if err != nil {
		w.err = err
		return
	}
	w.found = append(w.found, x)
}

// body is the decoded body of a part.
func (w *walker) body(p *message.Part) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(message.DecodeBody(bytes.NewReader(w.raw[p.BodyStart:p.End]), p.Encoding), MaxPackedOctets+1))
	if err == nil && len(b) > MaxPackedOctets {
		err = ErrTooLarge
	}
	return b, err
}

// Unpack reads an aggregate or TLS report that may be packed by gzip or zip; what it is is told by its content, because
// the types that senders give are often wrong.
func Unpack(b []byte) (any, error) {
	if len(b) > MaxPackedOctets {
		return nil, ErrTooLarge
	}
	switch {
	case bytes.HasPrefix(b, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrSyntax, err)
		}
		return parse(z)
	case bytes.HasPrefix(b, []byte("PK")):
		return unzip(b)
	}
	return parse(bytes.NewReader(b))
}

// unzip reads the first file of an archive that is a report.
func unzip(b []byte) (any, error) {
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSyntax, err)
	}
	last := ErrNoReport
	for _, f := range z.File[:min(len(z.File), 3)] {
		if f.UncompressedSize64 > MaxOctets {
			return nil, ErrTooLarge
		}
		r, err := f.Open()
		if err != nil {
			last = fmt.Errorf("%w: %w", ErrSyntax, err)
			continue
		}
		x, err := parse(r)
		r.Close()
		if err == nil {
			return x, nil
		}
		last = err
		if errors.Is(err, ErrTooLarge) {
			break
		}
	}
	return nil, last
}

// parse tells XML from JSON by the first octet that is not white space.
func parse(r io.Reader) (any, error) {
	head := make([]byte, 64)
	n, err := io.ReadFull(r, head)
	if err != nil && n == 0 {
		return nil, ErrNoReport
	}
	head = head[:n]
	whole := io.MultiReader(bytes.NewReader(head), r)
	text := bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")), " \t\r\n")
	if bytes.HasPrefix(head, []byte("\xef\xbb\xbf")) {
		whole = io.MultiReader(bytes.NewReader(head[3:]), r)
	}
	switch {
	case bytes.HasPrefix(text, []byte("<")):
		a, err := ParseAggregate(whole)
		if err != nil {
			return nil, err
		}
		return a, nil
	case bytes.HasPrefix(text, []byte("{")):
		t, err := ParseTLS(whole)
		if err != nil {
			return nil, err
		}
		return t, nil
	}
	return nil, ErrNoReport
}
