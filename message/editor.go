package message

import (
	"errors"
	"io"
	"math"
	"slices"

	"github.com/samotop/samotop/mail"
)

// ErrHeaderTooLong: a header is longer than a HeaderEditor may hold.
var ErrHeaderTooLong = errors.New("message header is too long")

// HeaderEditor changes the header of a message that streams through it to another writer: it leaves out fields and
// puts others in front. It holds the header, up to a limit, and nothing of the body. Everything else passes octet for
// octet.
type HeaderEditor struct {
	w    io.Writer
	o    EditOptions
	head []byte
	line int // where its last line starts
	body bool
	err  error
}

// EditOptions say what a HeaderEditor does.
type EditOptions struct {
	Remove      []string                     // names of fields to leave out, any case, wherever they stand
	Add         func(h *Header) []mail.Field // fields to put in front, in order, given the header as it came; nil: none
	HeaderBytes int                          // longest header, octets; default 256 KiB
}

// NewHeaderEditor makes a HeaderEditor that writes to w.
func NewHeaderEditor(w io.Writer, o EditOptions) *HeaderEditor {
	setDefault(&o.HeaderBytes, Limits{}.withDefaults().HeaderBytes)
	return &HeaderEditor{w: w, o: o}
}

// Write takes the next octets of the message. A header over the limit gives ErrHeaderTooLong; other errors are those
// of the writer. After an error nothing is written any more.
func (e *HeaderEditor) Write(p []byte) (int, error) {
	if e.err != nil {
		return 0, e.err
	}
	if e.body {
		return e.w.Write(p)
	}
	end, found := e.headerEnd(p)
	if len(e.head)+end > e.o.HeaderBytes {
		e.err = ErrHeaderTooLong
		return 0, e.err
	}
	e.head = append(e.head, p[:end]...)
	if !found {
		return len(p), nil
	}
	e.flush()
	n := end
	if e.err == nil && end < len(p) {
		var m int
		m, e.err = e.w.Write(p[end:])
		n += m
	}
	return n, e.err
}

// Close ends the message; without a body the header is written only now. It does not close the writer.
func (e *HeaderEditor) Close() error {
	if e.err == nil && !e.body {
		e.flush()
	}
	return e.err
}

// headerEnd returns how much of p belongs to the header, and whether its empty line is in it.
func (e *HeaderEditor) headerEnd(p []byte) (end int, found bool) {
	before := len(e.head)
	at := func(i int) byte {
		if i < before {
			return e.head[i]
		}
		return p[i-before]
	}
	for i, c := range p {
		if c != '\n' {
			continue
		}
		n := before + i - e.line // octets of the line before the LF
		if n == 0 || n == 1 && at(e.line) == '\r' {
			return i + 1, true
		}
		e.line = before + i + 1
	}
	return len(p), false
}

// flush writes the header as it is to be.
func (e *HeaderEditor) flush() {
	e.body = true
	h := indexHeader(e.head, math.MaxInt) // every field: one that is not seen cannot be left out
	var out []byte
	if e.o.Add != nil {
		for _, f := range e.o.Add(&h) {
			out = f.Append(out)
		}
	}
	if !hasFields(&h) { // it is no header at all, or an empty one
		if len(out) > 0 && !startsWithEmptyLine(e.head) {
			out = append(out, '\r', '\n')
		}
		e.write(append(out, e.head...))
		return
	}
	from := 0
	if first := h.Field(0); len(first.Name) == 0 && isSpace(first.Raw[0]) && len(out) > 0 {
		// White space at the very beginning would continue our last field: let it come first.
		i := slices.IndexFunc(h.index, func(x fieldIndex) bool { return x.nameEnd > x.start })
		from = h.Field(i).Start
		out = append(e.head[:from:from], out...)
	}
	for f := range h.Fields() {
		if e.removed(f.Name) {
			out = append(out, e.head[from:f.Start]...)
			from = f.End
		}
	}
	e.write(append(out, e.head[from:]...))
}

func (e *HeaderEditor) write(b []byte) {
	e.head = nil
	if len(b) > 0 {
		_, e.err = e.w.Write(b)
	}
}

func (e *HeaderEditor) removed(name []byte) bool {
	for _, r := range e.o.Remove {
		if len(r) == len(name) && equalFold(name, r) {
			return true
		}
	}
	return false
}

func hasFields(h *Header) bool {
	for _, x := range h.index {
		if x.nameEnd > x.start {
			return true
		}
	}
	return false
}

func startsWithEmptyLine(b []byte) bool {
	return len(b) > 0 && b[0] == '\n' || len(b) > 1 && b[0] == '\r' && b[1] == '\n'
}
