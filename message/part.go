package message

import (
	"iter"
	"strings"
)

// Part is one part of a message; the root is the message itself. Its header is [HeaderStart, BodyStart), with the
// empty line that ends it, its body [BodyStart, End), both counted in octets from the beginning of the outermost
// message. The line end before a boundary belongs to the boundary (RFC 2046 section 5.1.1).
type Part struct {
	HeaderStart, BodyStart, End int64

	Lines  int64  // lines ended or begun in the body
	Header Header // kept up to Limits

	Type, Subtype     string  // lower case; the default of RFC 2045 section 5.2 or RFC 2046 section 5.1.5 if not given or not readable
	Params            []Param // of Content-Type, decoded (RFC 2231), in order
	Encoding          string  // Content-Transfer-Encoding, lower case; "7bit" if not given
	Disposition       string  // Content-Disposition, lower case; "" if not given
	DispositionParams []Param
	ID                string // Content-ID as written, brackets included; "" if not given
	Description       string // Content-Description as written, unfolded
	MD5               string // Content-MD5
	Location          string // Content-Location
	Language          []string

	Children []*Part // of a multipart, in order
	Message  *Part   // of a message/rfc822 or message/global part that is not itself encoded: the message inside

	Facts
	Content Facts // of Facts those of the body and everything inside, without the part's own header
}

// Facts are what the parser saw on its way, header, body and everything inside together.
type Facts struct {
	Has8Bit   bool // an octet above 127
	HasNUL    bool
	HasBareLF bool // a LF that does not follow a CR
	HasBareCR bool // a CR that is not followed by a LF
	// LongestLine is the length of the longest line in octets, without its line end.
	LongestLine int64
	// Limited: something was passed over because of Limits: parts, levels, or header octets.
	Limited bool
}

// Param is a parameter of a structured field. Names are lower case.
type Param struct{ Name, Value string }

// Param returns the value of the first Content-Type parameter of that name (lower case), or "".
func (p *Part) Param(name string) string { return param(p.Params, name) }

func param(ps []Param, name string) string {
	for i := range ps {
		if ps[i].Name == name {
			return ps[i].Value
		}
	}
	return ""
}

// Charset returns the charset of a text part in lower case: "us-ascii" where the standard has that default, "" for
// parts that are not text and name none.
func (p *Part) Charset() string {
	if c := p.Param("charset"); c != "" {
		return strings.ToLower(c)
	}
	if p.Type == "text" {
		return "us-ascii"
	}
	return ""
}

// FileName returns the name of an attachment, decoded: the filename of Content-Disposition, or the name of
// Content-Type; "" if there is none.
func (p *Part) FileName() string {
	if n := param(p.DispositionParams, "filename"); n != "" {
		return n
	}
	return p.Param("name")
}

// RawParams returns the parameters of Content-Type as they were written: unquoted and unfolded, but RFC 2231
// sections and charsets not decoded. IMAP shows these.
func (p *Part) RawParams() []Param {
	_, ps := ParseRawParams(p.Header.Get("Content-Type"))
	return ps
}

// RawDispositionParams is RawParams of Content-Disposition.
func (p *Part) RawDispositionParams() []Param {
	_, ps := ParseRawParams(p.Header.Get("Content-Disposition"))
	return ps
}

// All yields p and everything inside it, in the order of the message.
func (p *Part) All() iter.Seq[*Part] {
	return func(yield func(*Part) bool) { p.walk(yield) }
}

// walk recurses at most Limits.Depth levels.
func (p *Part) walk(yield func(*Part) bool) bool {
	if !yield(p) {
		return false
	}
	for _, c := range p.Children {
		if !c.walk(yield) {
			return false
		}
	}
	return p.Message == nil || p.Message.walk(yield)
}
