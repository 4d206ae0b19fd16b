package mailbox

import (
	"bytes"
	"unicode"
	"unicode/utf8"

	"github.com/samotop/samotop/message"
)

const (
	previewHead  = 16 << 10 // octets of a message that are kept until its end, to make the preview of
	previewRunes = 200      // RFC 8970 section 3.3 allows 256
	previewText  = 4 << 10  // octets of text looked at
)

// appendPreview appends the beginning of the message's text with white space drawn together (RFC 8970): of the first
// part of plain text, else of HTML, as far as head, the message's beginning, has it.
func appendPreview(dst []byte, root *message.Part, head []byte) []byte {
	p := previewPart(root)
	if p == nil || p.BodyStart >= int64(len(head)) {
		return dst
	}
	raw := head[p.BodyStart:min(p.End, int64(len(head)))]
	if isPlain(p, raw[:min(len(raw), previewText)]) {
		return appendWords(dst, raw[:min(len(raw), previewText)])
	}
	r := message.PartText(p, bytes.NewReader(raw))
	text := make([]byte, 0, previewText)
	for len(text) < cap(text) {
		n, err := r.Read(text[len(text):cap(text)])
		text = text[:len(text)+n]
		if err != nil || n == 0 {
			break
		}
	}
	return appendWords(dst, text)
}

// isPlain tells whether text needs no decoding.
func isPlain(p *message.Part, text []byte) bool {
	if p.Subtype == "html" {
		return false
	}
	switch p.Encoding {
	case "7bit", "8bit", "binary":
	default:
		return false
	}
	switch p.Charset() {
	case "us-ascii", "utf-8", "iso-8859-1", "windows-1252":
	default:
		return false
	}
	for _, c := range text {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// appendWords appends up to previewRunes characters of text, runs of white space as one space.
func appendWords(dst, text []byte) []byte {
	space, n := false, 0
	for len(text) > 0 && n < previewRunes {
		r, size := utf8.DecodeRune(text)
		if r == utf8.RuneError && size == 1 && !utf8.FullRune(text) {
			break // cut within a character
		}
		text = text[size:]
		if unicode.IsSpace(r) || unicode.IsControl(r) || r == '\u200b' || r == '\ufeff' {
			space = n > 0
			continue
		}
		if space {
			if n+2 > previewRunes {
				break
			}
			dst = append(dst, ' ')
			space = false
			n++
		}
		dst = utf8.AppendRune(dst, r)
		n++
	}
	return dst
}

// previewPart is the part that a person reads first.
func previewPart(root *message.Part) *message.Part {
	var html *message.Part
	for p := range root.All() {
		if p.Type != "text" || p.Disposition == "attachment" || len(p.Children) > 0 {
			continue
		}
		if p.Subtype != "html" {
			return p
		}
		if html == nil {
			html = p
		}
	}
	return html
}
