package message

import (
	"bytes"
	"html"
	"io"
	"strings"
)

// HTMLText extracts the text of an HTML document that is in UTF-8, for previews and searching: no markup, comments,
// title, scripts or styles, entities decoded, white space made single, a new line where a block begins. It is not meant for
// showing. Memory does not depend on the document. Errors are those of r.
func HTMLText(r io.Reader) io.Reader { return newBodyReader(r, &htmlText{newline: true}) }

// PartText gives the text of a text part as UTF-8, its body being read from r as it is in the message: transfer
// encoding, charset and, for text/html, markup are removed.
func PartText(p *Part, body io.Reader) io.Reader {
	r := DecodeCharset(DecodeBody(body, p.Encoding), p.Charset())
	if p.Type == "text" && p.Subtype == "html" {
		return HTMLText(r)
	}
	return r
}

type htmlState uint8

const (
	htmlInText    htmlState = iota
	htmlOpen                // after "<"
	htmlName                // in the name of a tag
	htmlTag                 // in a tag after its name
	htmlQuote               // in a quoted value
	htmlBang                // after "<!"
	htmlComment             // in a comment
	htmlInEntity            // after "&"
	htmlDiscarded           // in a script, style or title, up to its end tag
)

// Longest tag name and entity that mean anything, in octets.
const (
	htmlNameOctets   = 16
	htmlEntityOctets = 32
)

// htmlText is a scanner of HTML that knows just enough.
type htmlText struct {
	state   htmlState
	quote   byte
	name    []byte // of the tag, or the entity, or what may be the end tag of raw text
	closing bool
	dashes  int    // before here, in a comment
	discard string // element whose content is raw text and dropped
	blank   bool   // white space is due
	newline bool   // the output is at the beginning of a line
}

func (h *htmlText) decode(dst, src []byte) []byte {
	for _, c := range src {
		dst = h.octet(dst, c)
	}
	return dst
}

func (h *htmlText) flush(dst []byte) []byte {
	if h.state == htmlInEntity {
		dst = h.entity(dst)
	}
	return dst
}

func (h *htmlText) octet(dst []byte, c byte) []byte {
	switch h.state {
	case htmlInText:
		return h.text(dst, c)
	case htmlInEntity:
		if c != ';' && (isAlnum(c) || c == '#') && len(h.name) < htmlEntityOctets {
			h.name = append(h.name, c)
			return dst
		}
		if c == ';' {
			h.name = append(h.name, c)
			return h.entity(dst)
		}
		return h.text(h.entity(dst), c)
	case htmlOpen:
		return h.open(dst, c)
	case htmlName:
		return h.tagName(dst, c)
	case htmlTag:
		switch c {
		case '>':
			return h.endTag(dst)
		case '"', '\'':
			h.state, h.quote = htmlQuote, c
		}
	case htmlQuote:
		if c == h.quote {
			h.state = htmlTag
		}
	case htmlBang:
		h.bang(c)
	case htmlComment:
		switch {
		case c == '-':
			h.dashes++
		case c == '>' && h.dashes >= 2:
			h.state = htmlInText
		default:
			h.dashes = 0
		}
	case htmlDiscarded:
		return h.discarded(dst, c)
	}
	return dst
}

func (h *htmlText) text(dst []byte, c byte) []byte {
	switch {
	case c == '<':
		h.state, h.closing = htmlOpen, false
		h.name = h.name[:0]
	case c == '&':
		h.state = htmlInEntity
		h.name = append(h.name[:0], c)
	case isSpace(c) || c == '\f':
		h.blank = true
	default:
		dst = h.space(dst)
		dst = append(dst, c)
		h.newline = false
	}
	return dst
}

// space writes the white space that is due.
func (h *htmlText) space(dst []byte) []byte {
	if h.blank && !h.newline {
		dst = append(dst, ' ')
	}
	h.blank = false
	return dst
}

func (h *htmlText) entity(dst []byte) []byte {
	h.state = htmlInText
	s := html.UnescapeString(string(h.name))
	if s == "\u00a0" {
		h.blank = true
		return dst
	}
	dst = h.space(dst)
	h.newline = false
	return append(dst, s...)
}

// open takes the octet after "<".
func (h *htmlText) open(dst []byte, c byte) []byte {
	switch {
	case c == '/' && !h.closing:
		h.closing = true
	case c == '!' && !h.closing:
		h.state = htmlBang
	case c == '?' && !h.closing:
		h.state = htmlTag
	case isAlpha(c):
		h.state = htmlName
		h.name = append(h.name, lower(c))
	default: // a "<" that is text
		h.state = htmlInText
		dst = append(h.space(dst), '<')
		h.newline = false
		return h.text(dst, c)
	}
	return dst
}

func (h *htmlText) tagName(dst []byte, c byte) []byte {
	switch {
	case c == '>':
		return h.endTag(dst)
	case isSpace(c) || c == '/':
		h.state = htmlTag
	case len(h.name) < htmlNameOctets:
		h.name = append(h.name, lower(c))
	}
	return dst
}

// bang tells a comment from a declaration.
func (h *htmlText) bang(c byte) {
	h.name = append(h.name, c)
	switch {
	case string(h.name) == "--":
		h.state, h.dashes = htmlComment, 2 // "<!-->" is a comment
	case c == '>':
		h.state = htmlInText
	case len(h.name) >= 2 || c != '-':
		h.state = htmlTag
		h.name = h.name[:0]
	}
}

// endTag ends a tag and does what its element asks for.
func (h *htmlText) endTag(dst []byte) []byte {
	h.state = htmlInText
	switch name := string(h.name); name {
	case "script", "style", "title":
		if !h.closing {
			h.state, h.discard = htmlDiscarded, name
			h.name = h.name[:0]
		}
	case "td", "th":
		h.blank = true
	case "p", "div", "br", "tr", "li", "ul", "ol", "dl", "dt", "dd", "table", "h1", "h2", "h3", "h4", "h5", "h6",
		"hr", "pre", "blockquote", "textarea", "center", "body", "head", "section", "article", "header", "footer", "option":
		dst = h.breakLine(dst)
	}
	return dst
}

func (h *htmlText) breakLine(dst []byte) []byte {
	h.blank = false
	if h.newline {
		return dst
	}
	h.newline = true
	return append(dst, '\n')
}

// discarded looks for the end tag of raw text.
func (h *htmlText) discarded(dst []byte, c byte) []byte {
	switch {
	case c == '<':
		h.name = append(h.name[:0], c)
	case len(h.name) > 0 && len(h.name) < len(h.discard)+2:
		h.name = append(h.name, lower(c))
		if want := "</" + h.discard; !strings.HasPrefix(want, string(h.name)) {
			h.name = h.name[:0]
		}
	case len(h.name) > 0 && (c == '>' || isSpace(c) || c == '/'):
		h.closing, h.state = true, htmlTag
		h.name = append(h.name[:0], bytes.TrimPrefix(h.name, []byte("</"))...)
		if c == '>' {
			return h.endTag(dst)
		}
	default:
		h.name = h.name[:0]
	}
	return dst
}

func isAlpha(c byte) bool { return lower(c) >= 'a' && lower(c) <= 'z' }
func isAlnum(c byte) bool { return isAlpha(c) || isDigit(c) }
