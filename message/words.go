package message

import (
	"bytes"
	"encoding/base64"
	"strings"
	"unicode/utf8"
)

// DecodeText decodes an unstructured field or a phrase to UTF-8: unfolded, RFC 2047 encoded words decoded, other
// octets above 127 read as UTF-8 if they are all valid, else as windows-1252. Encoded words are also taken where the
// standard has none: within words and quotes, longer than 75 octets, with spaces in them, cut off at the end.
// Adjacent words of one charset are joined before they are decoded, as characters are split between them. A CR, LF
// or NUL that was encoded becomes a space.
func DecodeText(raw []byte) string {
	raw = unfoldText(raw)
	i := bytes.Index(raw, []byte("=?"))
	if i < 0 {
		return decodeFallback(raw)
	}
	var out strings.Builder
	out.Grow(len(raw))
	var open run
	for start := 0; ; {
		w, end, ok := encodedWord(raw, i)
		if ok {
			between := raw[start:i]
			if !open.is || len(trimSpace(between)) > 0 {
				open.end(&out)
				out.WriteString(decodeFallback(between))
			}
			open.add(&out, w)
			start = end
		} else {
			end = i + 2
		}
		next := bytes.Index(raw[end:], []byte("=?"))
		if next < 0 {
			open.end(&out)
			out.WriteString(decodeFallback(raw[start:]))
			return out.String()
		}
		i = end + next
	}
}

// unfoldText removes line ends; a tab that began a folded line is shown as a space.
func unfoldText(raw []byte) []byte {
	if bytes.IndexByte(raw, '\n') < 0 && bytes.IndexByte(raw, '\r') < 0 {
		return raw
	}
	out := make([]byte, 0, len(raw))
	for i, c := range raw {
		switch {
		case c == '\r' || c == '\n':
		case c == '\t' && i > 0 && raw[i-1] == '\n':
			out = append(out, ' ')
		default:
			out = append(out, c)
		}
	}
	return out
}

// word is an encoded word with its text decoded to octets of the charset.
type word struct {
	charset string
	text    []byte
}

// run collects adjacent encoded words of one charset.
type run struct {
	is bool
	word
}

func (r *run) add(out *strings.Builder, w word) {
	if r.is && strings.EqualFold(r.charset, w.charset) {
		r.text = append(r.text, w.text...)
		return
	}
	r.end(out)
	r.is, r.word = true, w
}

func (r *run) end(out *strings.Builder) {
	if !r.is {
		return
	}
	s, known := DecodeString(r.text, r.charset)
	if !known {
		s = decodeFallback(r.text)
	}
	if strings.ContainsAny(s, "\r\n\x00") {
		s = strings.Map(func(c rune) rune {
			if c == '\r' || c == '\n' || c == 0 {
				return ' '
			}
			return c
		}, s)
	}
	out.WriteString(s)
	*r = run{}
}

// encodedWord reads an encoded word at b[i:], which begins with "=?", and returns where it ends.
func encodedWord(b []byte, i int) (w word, end int, ok bool) {
	s := b[i+2:]
	q := bytes.IndexByte(s[:min(len(s), maxCharsetOctets+1)], '?')
	if q <= 0 || q+2 >= len(s) || s[q+2] != '?' {
		return w, 0, false
	}
	for _, c := range s[:q] {
		if c <= ' ' || c >= 127 {
			return w, 0, false
		}
	}
	encoding := lower(s[q+1])
	if encoding != 'b' && encoding != 'q' {
		return w, 0, false
	}
	charset, _, _ := strings.Cut(string(s[:q]), "*") // RFC 2231 section 5
	w.charset = charset
	text := s[q+3:]
	n := bytes.Index(text, []byte("?="))
	end = i + 2 + q + 3
	switch {
	case n >= 0:
		text = text[:n]
		end += n + 2
	default: // cut off: all that is left
		end += len(text)
		text = bytes.TrimRight(text, "?")
	}
	if encoding == 'b' {
		var d base64Decoder
		w.text = d.flush(d.decode(make([]byte, 0, len(text)*3/4+3), text))
	} else {
		w.text = decodeQ(text)
	}
	return w, end, true
}

// decodeQ decodes the Q encoding (RFC 2047 section 4.2).
func decodeQ(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '_':
			out = append(out, ' ')
		case c == '=' && i+2 < len(text) && unhex(text[i+1]) >= 0 && unhex(text[i+2]) >= 0:
			out = append(out, byte(unhex(text[i+1])<<4|unhex(text[i+2])))
			i += 2
		default:
			out = append(out, c)
		}
	}
	return out
}

// maxWordOctets is the longest encoded word (RFC 2047 section 2).
const maxWordOctets = 75

// EncodeText encodes s for an unstructured field or a phrase. What needs no encoding is left as it is; else
// everything from the first word that needs it to the last becomes encoded words in UTF-8, none longer than 75
// octets, with a space between them. CR, LF and NUL become spaces.
func EncodeText(s string) string {
	s = cleanText(s)
	first, last := needsEncoding(s)
	if first < 0 {
		return s
	}
	var out strings.Builder
	out.WriteString(s[:first])
	encodeWords(&out, s[first:last])
	out.WriteString(s[last:])
	return out.String()
}

// cleanText makes s valid UTF-8 on one line.
func cleanText(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if !strings.ContainsAny(s, "\r\n\x00") {
		return s
	}
	return strings.NewReplacer("\r\n", " ", "\r", " ", "\n", " ", "\x00", " ").Replace(s)
}

// needsEncoding returns the bounds of the words that cannot stand as they are: -1 if there are none. Words end at
// spaces. A word too long for a line is encoded too, so that it can be folded.
func needsEncoding(s string) (first, last int) {
	first = -1
	for i := 0; i < len(s); {
		end := i + strings.IndexByte(s[i:], ' ')
		if end < i {
			end = len(s)
		}
		if w := s[i:end]; !isPlainWord(w) {
			if first < 0 {
				first = i
			}
			last = end
		}
		i = end + 1
	}
	return first, last
}

func isPlainWord(w string) bool {
	if strings.HasPrefix(w, "=?") || len(w) > 900 {
		return false
	}
	for i := 0; i < len(w); i++ {
		if w[i] < ' ' && w[i] != '\t' || w[i] >= 127 {
			return false
		}
	}
	return true
}

// encodeWords writes s as encoded words, in whichever encoding is shorter.
func encodeWords(out *strings.Builder, s string) {
	q := 0
	for i := 0; i < len(s); i++ {
		if q++; !isQ(s[i]) && s[i] != ' ' {
			q += 2
		}
	}
	b64 := q > (len(s)+2)/3*4
	for first := true; s != ""; first = false {
		if !first {
			out.WriteByte(' ')
		}
		n := wordFit(s, b64)
		if b64 {
			out.WriteString("=?utf-8?b?")
			out.WriteString(base64.StdEncoding.EncodeToString([]byte(s[:n])))
		} else {
			out.WriteString("=?utf-8?q?")
			writeQ(out, s[:n])
		}
		out.WriteString("?=")
		s = s[n:]
	}
}

// wordFit returns how many octets of s, in whole characters, go into one encoded word.
func wordFit(s string, b64 bool) int {
	const room = maxWordOctets - len("=?utf-8?q??=")
	n, used := 0, 0
	for n < len(s) {
		_, size := utf8.DecodeRuneInString(s[n:])
		if b64 {
			if (n+size+2)/3*4 > room {
				break
			}
		} else {
			cost := 0
			for i := n; i < n+size; i++ {
				if cost++; !isQ(s[i]) && s[i] != ' ' {
					cost += 2
				}
			}
			if used+cost > room {
				break
			}
			used += cost
		}
		n += size
	}
	return n
}

// isQ tells what may stand for itself in the Q encoding within a phrase (RFC 2047 section 5, rule 3).
func isQ(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("!*+-/", c) >= 0
}

const upperHex = "0123456789ABCDEF"

func writeQ(out *strings.Builder, s string) {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == ' ':
			out.WriteByte('_')
		case isQ(c):
			out.WriteByte(c)
		default:
			out.WriteByte('=')
			out.WriteByte(upperHex[c>>4])
			out.WriteByte(upperHex[c&15])
		}
	}
}
