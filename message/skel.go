package message

import (
	"io"
	"time"

	"github.com/samotop/samotop/mail"
)

// DecodeText decodes an unstructured field or a phrase to UTF-8: RFC 2047 encoded words, raw UTF-8, else
// windows-1252.
func DecodeText(raw []byte) string { return string(raw) }

// EncodeText encodes s for an unstructured field or phrase (RFC 2047) where it is not ASCII.
func EncodeText(s string) string { return s }

// AddressOrGroup is an address with its display name, or a group (RFC 5322 section 3.4).
type AddressOrGroup struct {
	Name    string           // display name of the mailbox or group, decoded to UTF-8
	RawName string           // the same with encoded words not decoded, as IMAP's ENVELOPE wants it
	Address mail.Address     // zero for a group; Domain is empty if a broken address has none
	Route   string           // obsolete source route "@a,@b" (RFC 5322 section 4.4), mostly empty
	Group   bool             // the Members are in a group of this Name
	Members []AddressOrGroup // mailboxes of a group
}

// MaxAddresses is the most addresses that ParseAddressList returns.
const MaxAddresses = 10000

// ParseAddressList reads the value of From, To and the like. It never fails: what cannot be an address is passed
// over or given as well as can be.
func ParseAddressList(raw []byte) []AddressOrGroup { return nil }

// FormatAddressList writes a list as the value of a field, not folded. With utf8 names are not encoded (RFC 6532).
func FormatAddressList(list []AddressOrGroup, utf8 bool) string { return "" }

// ParseDate reads a date of RFC 5322 section 3.3 with its obsolete and real-world forms.
func ParseDate(raw []byte) (time.Time, bool) { return time.Time{}, false }

// FormatDate writes t as a Date field has it.
func FormatDate(t time.Time) string { return t.Format("Mon, 2 Jan 2006 15:04:05 -0700") }

// DecodeBody decodes a content transfer encoding (RFC 2045 section 6), leniently: base64, quoted-printable,
// x-uuencode; anything else is the identity. Errors are those of r.
func DecodeBody(r io.Reader, encoding string) io.Reader { return r }

// DecodeCharset turns text of a charset into UTF-8. An unknown charset is read as UTF-8 where it is valid, else as
// windows-1252. Errors are those of r.
func DecodeCharset(r io.Reader, charset string) io.Reader { return r }

// DecodeString is DecodeCharset of a string in memory; known is false for an unknown charset (IMAP's BADCHARSET).
func DecodeString(b []byte, charset string) (s string, known bool) { return string(b), true }

// HTMLText extracts the text of an HTML document in UTF-8, for previews and searching.
func HTMLText(r io.Reader) io.Reader { return r }

// PartText gives the text of a text part as UTF-8, its body being read from r as it is in the message: transfer
// encoding, charset and, for text/html, markup are removed.
func PartText(p *Part, body io.Reader) io.Reader { return body }

// MessageIDs returns the message ids of a Message-ID, In-Reply-To or References field, without angle brackets.
func MessageIDs(raw []byte) []string { return nil }

// BaseSubject returns the base subject of a decoded subject (RFC 5256 section 2.1) and whether it was a reply or
// forward. The base is in the case as written.
func BaseSubject(subject string) (base string, reply bool) { return subject, false }

// Writer writes one message or part. The first error is kept and returned by Close; the other methods do nothing then.
type Writer struct {
	w   io.Writer
	o   WriterOptions
	err error
}

// WriterOptions say what the way of the message can carry.
type WriterOptions struct {
	UTF8     bool      // header may hold UTF-8 (RFC 6532); else it is encoded
	EightBit bool      // bodies may hold 8-bit text (RFC 6152); else they are encoded
	Rand     io.Reader // where boundaries come from; nil: crypto/rand
}

// NewWriter makes a Writer.
func NewWriter(w io.Writer, o WriterOptions) *Writer { return &Writer{w: w, o: o} }

// Field writes an unstructured field, such as Subject, encoded and folded.
func (w *Writer) Field(name, value string) {}

// RawField writes a field whose value is already in its wire form; it is folded at white space.
func (w *Writer) RawField(name, value string) {}

// Addresses writes an address field.
func (w *Writer) Addresses(name string, list []AddressOrGroup) {}

// Date writes a date field.
func (w *Writer) Date(name string, t time.Time) {}

// MediaType writes Content-Type, parameters encoded (RFC 2231) where needed.
func (w *Writer) MediaType(typ, subtype string, params ...Param) {}

// Text ends the header with the fields of a text part and writes its body, choosing the transfer encoding. Lines may
// end in LF or CRLF.
func (w *Writer) Text(subtype, text string) {}

// Attachment ends the header with the fields of an attachment and writes it in base64.
func (w *Writer) Attachment(typ, subtype, filename string, r io.Reader) {}

// Body ends the header and writes the body as it is; its fields must have been written.
func (w *Writer) Body(r io.Reader) {}

// Message ends the header as a message/rfc822 (message/global with UTF8) part and streams a message into it as it is.
func (w *Writer) Message(r io.Reader) {}

// Multipart ends the header as a multipart and returns the writer of its parts.
func (w *Writer) Multipart(subtype string, params ...Param) *Multipart { return &Multipart{w: w} }

// Close returns the first error.
func (w *Writer) Close() error { return w.err }

// Multipart writes the parts of a multipart.
type Multipart struct{ w *Writer }

// Part ends the part before and begins the next.
func (m *Multipart) Part() *Writer { return m.w }

// Close writes the closing boundary.
func (m *Multipart) Close() {}

// HeaderEditor changes the header of a message that streams through it, and holds no more than the header.
type HeaderEditor struct {
	w io.Writer
	o EditOptions
}

// EditOptions say what a HeaderEditor does.
type EditOptions struct {
	Remove      []string                     // names of fields to leave out, any case
	Add         func(h *Header) []mail.Field // fields to put in front, given the header as it came; nil: none
	HeaderBytes int                          // most octets of header; default 256 KiB
}

// NewHeaderEditor makes a HeaderEditor that writes to w.
func NewHeaderEditor(w io.Writer, o EditOptions) *HeaderEditor { return &HeaderEditor{w, o} }

// Write takes the next octets of the message. A header over the limit gives ErrHeaderTooLong, else errors are w's.
func (e *HeaderEditor) Write(p []byte) (int, error) { return e.w.Write(p) }

// Close ends the message: needed where there is no body.
func (e *HeaderEditor) Close() error { return nil }
