package imap

import (
	"strconv"
	"strings"

	"github.com/samotop/samotop/message"
)

// emptyBody stands where the grammar wants a body and the message has none.
const emptyBody = `("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0`

// AppendBodyStructure appends BODY, or with extended BODYSTRUCTURE, of a parsed message as it goes on the wire
// (RFC 3501 section 7.4.2) to dst.
func AppendBodyStructure(dst []byte, p *message.Part, extended bool) []byte {
	dst = append(dst, '(')
	if p.Type == "multipart" {
		for _, c := range p.Children {
			dst = AppendBodyStructure(dst, c, extended)
		}
		if len(p.Children) == 0 { // body-type-mpart wants one at least
			dst = append(dst, emptyBody...)
			if extended {
				dst = append(dst, " NIL NIL NIL NIL"...)
			}
			dst = append(dst, ')')
		}
		dst = append(dst, ' ')
		dst = appendString(dst, p.Subtype)
		if extended {
			dst = append(dst, ' ')
			dst = appendParams(dst, p.RawParams(), false)
			dst = appendExtension(dst, p)
		}
		return append(dst, ')')
	}
	dst = appendSinglePart(dst, p, extended)
	if extended {
		dst = append(dst, ' ')
		dst = appendNString(dst, p.MD5)
		dst = appendExtension(dst, p)
	}
	return append(dst, ')')
}

// appendSinglePart appends body-type-basic, -text or -msg without the parenthesis that begins it.
func appendSinglePart(dst []byte, p *message.Part, extended bool) []byte {
	dst = appendString(dst, p.Type)
	dst = append(dst, ' ')
	dst = appendString(dst, p.Subtype)
	dst = append(dst, ' ')
	dst = appendParams(dst, p.RawParams(), p.Type == "text")
	dst = append(dst, ' ')
	dst = appendNString(dst, p.ID)
	dst = append(dst, ' ')
	dst = appendNString(dst, p.Description)
	dst = append(dst, ' ')
	enc := p.Encoding
	if enc == "" {
		enc = "7bit"
	}
	dst = appendString(dst, enc)
	dst = append(dst, ' ')
	dst = strconv.AppendInt(dst, p.End-p.BodyStart, 10)
	switch {
	case p.Message != nil:
		dst = append(dst, ' ')
		dst = AppendEnvelope(dst, p.Message.Header)
		dst = append(dst, ' ')
		dst = AppendBodyStructure(dst, p.Message, extended)
	case p.Type == "message" && p.Subtype == "rfc822":
		// The grammar wants an envelope and a body here, and this message could not be opened.
		dst = append(dst, " (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) "+emptyBody...)
		if extended {
			dst = append(dst, " NIL NIL NIL NIL"...)
		}
		dst = append(dst, ')')
	case p.Type != "text":
		return dst
	}
	dst = append(dst, ' ')
	return strconv.AppendInt(dst, p.Lines, 10)
}

// appendParams appends a body parameter list. A text part without a charset gets the default of RFC 2045 section 5.2.
func appendParams(dst []byte, params []message.Param, text bool) []byte {
	charset := false
	if len(params) == 0 && !text {
		return append(dst, "NIL"...)
	}
	dst = append(dst, '(')
	for i, p := range params {
		if i > 0 {
			dst = append(dst, ' ')
		}
		charset = charset || p.Name == "charset"
		dst = appendString(dst, p.Name)
		dst = append(dst, ' ')
		dst = appendString(dst, p.Value)
	}
	if text && !charset {
		if len(params) > 0 {
			dst = append(dst, ' ')
		}
		dst = append(dst, `"charset" "us-ascii"`...)
	}
	return append(dst, ')')
}

// appendExtension appends disposition, language and location.
func appendExtension(dst []byte, p *message.Part) []byte {
	dst = append(dst, ' ')
	if p.Disposition == "" {
		dst = append(dst, "NIL"...)
	} else {
		dst = append(dst, '(')
		dst = appendString(dst, p.Disposition)
		dst = append(dst, ' ')
		dst = appendParams(dst, p.RawDispositionParams(), false)
		dst = append(dst, ')')
	}
	dst = append(dst, ' ')
	if len(p.Language) == 0 {
		dst = append(dst, "NIL"...)
	} else {
		sep := byte('(')
		for _, l := range p.Language {
			dst = appendString(append(dst, sep), l)
			sep = ' '
		}
		dst = append(dst, ')')
	}
	dst = append(dst, ' ')
	return appendNString(dst, p.Location)
}

// PartOf turns a parsed message into the byte ranges that a backend keeps for Message.Parts.
func PartOf(p *message.Part) *Part {
	out := partOf(p)
	return &out
}

func partOf(p *message.Part) Part {
	out := Part{
		HeaderStart: p.HeaderStart, BodyStart: p.BodyStart, End: p.End, Lines: p.Lines,
		Type: p.Type, Subtype: p.Subtype, Charset: p.Charset(), Encoding: strings.ToLower(p.Encoding),
		Name: p.FileName(),
	}
	if p.Message != nil {
		m := partOf(p.Message)
		out.Message = &m
	}
	for _, c := range p.Children {
		out.Children = append(out.Children, partOf(c))
	}
	return out
}
