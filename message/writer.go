package message

import (
	"bufio"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// Writer writes one message, or one part of it: first the fields, then the method that writes the body. Lines end in
// CRLF. The first error is kept: the other methods do nothing then, and Close returns it.
type Writer struct {
	out  *output
	o    WriterOptions
	part bool // of a multipart
	done bool // the header has ended
}

// WriterOptions say what the way of the message can carry.
type WriterOptions struct {
	UTF8     bool      // the header may hold UTF-8 (RFC 6532); else it is encoded
	EightBit bool      // bodies may hold 8-bit text (RFC 6152); else they are encoded
	Rand     io.Reader // where boundaries come from; nil: crypto/rand
}

// output is what all parts of a message share.
type output struct {
	w   *bufio.Writer
	err error
}

func (o *output) string(s string) {
	if o.err == nil {
		_, o.err = o.w.WriteString(s)
	}
}

func (o *output) copy(r io.Reader) {
	if o.err == nil {
		_, o.err = io.Copy(o.w, r)
	}
}

func (o *output) fail(err error) {
	if o.err == nil {
		o.err = err
	}
}

var errHeaderDone = errors.New("message: a field or a second body after the header has ended")

// NewWriter makes a Writer of a message.
func NewWriter(w io.Writer, o WriterOptions) *Writer {
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	return &Writer{out: &output{w: bufio.NewWriter(w)}, o: o}
}

// Field writes an unstructured field, such as Subject, encoded where needed and folded.
func (w *Writer) Field(name, value string) {
	if w.o.UTF8 {
		w.RawField(name, cleanText(value))
		return
	}
	w.RawField(name, EncodeText(value))
}

// RawField writes a field whose value is in its wire form already. It is folded at white space; a CR or LF in it is
// white space.
func (w *Writer) RawField(name, value string) {
	if w.done {
		w.out.fail(errHeaderDone)
		return
	}
	w.out.string(FoldField(name, value))
}

// Addresses writes an address field.
func (w *Writer) Addresses(name string, list []AddressOrGroup) {
	w.RawField(name, FormatAddressList(list, w.o.UTF8))
}

// Date writes a date field.
func (w *Writer) Date(name string, t time.Time) { w.RawField(name, FormatDate(t)) }

// MediaType writes Content-Type; parameters are quoted, or encoded as RFC 2231 says, where they must be.
func (w *Writer) MediaType(typ, subtype string, params ...Param) {
	w.RawField("Content-Type", FormatParams(typ+"/"+subtype, params, w.o.UTF8))
}

// Text ends the header with the fields of a text part and writes its body. Lines may end in LF or CRLF. The transfer
// encoding is the plainest that carries the text.
func (w *Writer) Text(subtype, text string) { w.TextAs("text", subtype, text) }

// TextAs is Text for a media type whose content is text although its type is another, such as
// message/global-headers; only text has a charset parameter.
func (w *Writer) TextAs(typ, subtype, text string) {
	text = toCRLF(strings.ToValidUTF8(text, "\uFFFD"))
	charset := "us-ascii"
	if !isASCII(text) {
		charset = "utf-8"
	}
	w.mime()
	if typ == "text" {
		w.MediaType(typ, subtype, Param{"charset", charset})
	} else {
		w.MediaType(typ, subtype)
	}
	encoding := chooseEncoding(text, w.o.EightBit)
	w.encoding(encoding)
	switch encoding {
	case "quoted-printable":
		w.out.string(encodeQP(text))
	case "base64":
		w.base64(strings.NewReader(text))
	default:
		w.out.string(text)
	}
}

// Attachment ends the header with the fields of an attachment and writes it in base64.
func (w *Writer) Attachment(typ, subtype, filename string, r io.Reader) {
	w.mime()
	w.MediaType(typ, subtype)
	w.RawField("Content-Disposition", FormatParams("attachment", []Param{{"filename", filename}}, w.o.UTF8))
	w.encoding("base64")
	w.base64(r)
}

// Message ends the header as a message/rfc822 part, or message/global (RFC 6532) if utf8, and streams a message into
// it as it is. With eightBit it holds octets above 127; the whole message must travel as 8BITMIME then.
func (w *Writer) Message(r io.Reader, utf8, eightBit bool) {
	w.mime()
	if utf8 {
		w.MediaType("message", "global")
	} else {
		w.MediaType("message", "rfc822")
	}
	encoding := "7bit"
	if utf8 || eightBit {
		encoding = "8bit"
	}
	w.encoding(encoding)
	w.out.copy(r)
}

// Body ends the header and writes the body as it is; its fields, but MIME-Version, must have been written.
func (w *Writer) Body(r io.Reader) {
	w.mime()
	w.endHeader()
	w.out.copy(r)
}

// Multipart ends the header as a multipart and returns the writer of its parts.
func (w *Writer) Multipart(subtype string, params ...Param) *Multipart {
	m := &Multipart{w: w, boundary: w.boundary()}
	w.mime()
	w.MediaType("multipart", subtype, append(params[:len(params):len(params)], Param{"boundary", m.boundary})...)
	w.endHeader()
	return m
}

// Close ends the message and returns the first error. It does not close the writer below.
func (w *Writer) Close() error {
	if !w.done {
		w.endHeader()
	}
	if w.out.err == nil {
		w.out.err = w.out.w.Flush()
	}
	return w.out.err
}

func (w *Writer) mime() {
	if !w.part {
		w.RawField("MIME-Version", "1.0")
	}
}

func (w *Writer) encoding(name string) {
	if name != "7bit" { // the default, RFC 2045 section 6.1
		w.RawField("Content-Transfer-Encoding", name)
	}
	w.endHeader()
}

func (w *Writer) endHeader() {
	if w.done {
		w.out.fail(errHeaderDone)
	}
	w.done = true
	w.out.string("\r\n")
}

// base64 writes r in lines of 76.
func (w *Writer) base64(r io.Reader) {
	e := base64.NewEncoder(base64.StdEncoding, &lineBreaker{out: w.out})
	if _, err := io.Copy(e, r); err != nil {
		w.out.fail(err)
	}
	if err := e.Close(); err != nil {
		w.out.fail(err)
	}
	w.out.string("\r\n")
}

// lineBreaker breaks base64 into lines (RFC 2045 section 6.8).
type lineBreaker struct {
	out *output
	n   int
}

func (l *lineBreaker) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 {
		if l.n == 76 {
			l.out.string("\r\n")
			l.n = 0
		}
		n := min(76-l.n, len(p))
		if l.out.err == nil {
			_, l.out.err = l.out.w.Write(p[:n])
		}
		l.n += n
		p = p[n:]
	}
	return total, l.out.err
}

// boundary makes a boundary that nothing can hold by chance: 120 random bits, and "=_", which neither base64 nor
// quoted-printable has.
func (w *Writer) boundary() string {
	var b [15]byte
	if _, err := io.ReadFull(w.o.Rand, b[:]); err != nil {
		w.out.fail(fmt.Errorf("message: make a boundary: %w", err))
	}
	return "=_" + base64.URLEncoding.EncodeToString(b[:])
}

// Multipart writes the parts of a multipart.
type Multipart struct {
	w        *Writer
	boundary string
	last     *Writer
}

// Part ends the part before and begins the next. Its Writer needs no Close.
func (m *Multipart) Part() *Writer {
	m.delimiter("\r\n")
	m.last = &Writer{out: m.w.out, o: m.w.o, part: true}
	return m.last
}

// Close writes the closing delimiter.
func (m *Multipart) Close() { m.delimiter("--\r\n") }

func (m *Multipart) delimiter(end string) {
	if m.last != nil {
		if !m.last.done {
			m.last.endHeader()
		}
		m.w.out.string("\r\n")
	}
	m.w.out.string("--" + m.boundary + end)
}
