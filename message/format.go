package message

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Lengths of lines, without the line end (RFC 5322 section 2.1.1).
const (
	foldOctets    = 78
	maxLineOctets = 998
)

// FoldField writes a field with its line end, folded at white space so that lines stay within 78 octets where that
// is possible (RFC 5322 section 2.2.3). A CR, LF or NUL in the value counts as white space, so no value ends the
// field.
func FoldField(name, value string) string {
	var s strings.Builder
	s.Grow(len(name) + len(value) + 16)
	s.WriteString(name)
	s.WriteByte(':')
	n := len(name) + 1
	first, space := true, " "
	for i := 0; ; {
		start := i
		for i < len(value) && !isFoldable(value[i]) {
			i++
		}
		if word := value[start:i]; word != "" {
			if n+len(space)+len(word) > foldOctets && !first {
				s.WriteString("\r\n")
				n = 0
			}
			s.WriteString(space)
			s.WriteString(word)
			n += len(space) + len(word)
			first, space = false, ""
		}
		if i >= len(value) {
			break
		}
		start = i
		for i < len(value) && isFoldable(value[i]) {
			i++
		}
		if !first {
			space = foldingSpace(value[start:i])
		}
	}
	s.WriteString("\r\n")
	return s.String()
}

func isFoldable(c byte) bool { return isSpace(c) || c == 0 }

// foldingSpace is the white space between two words without line ends; a line end with none beside it is a space.
func foldingSpace(s string) string {
	if !strings.ContainsAny(s, "\r\n\x00") {
		return s
	}
	if s = strings.NewReplacer("\r", "", "\n", "", "\x00", "").Replace(s); s == "" {
		return " "
	}
	return s
}

// FormatParams writes a value with parameters, as Content-Type and Content-Disposition have them: tokens where they
// can be, else quoted, else encoded (RFC 2231) in sections that fit lines. With utf8 nothing is encoded (RFC 6532).
func FormatParams(value string, params []Param, utf8 bool) string {
	var s strings.Builder
	s.WriteString(value)
	for _, p := range params {
		v := cleanText(p.Value)
		if isPlainWord(v) || utf8 && len(v) <= 900 {
			s.WriteString("; " + p.Name + "=" + quoteToken(v))
			continue
		}
		formatExtended(&s, p.Name, v)
	}
	return s.String()
}

// quoteToken quotes what is not a token.
func quoteToken(v string) string {
	token := v != ""
	for i := 0; i < len(v); i++ {
		token = token && isToken(v[i])
	}
	if token {
		return v
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(v) + `"`
}

// formatExtended writes name*="utf-8”...", or name*0*=, name*1*= and so on if it is long.
func formatExtended(s *strings.Builder, name, v string) {
	const room = 60 // octets of one section
	var sections []string
	cur := append(make([]byte, 0, room), "utf-8''"...)
	for len(v) > 0 {
		_, n := utf8.DecodeRuneInString(v)
		var enc [3 * utf8.UTFMax]byte
		k := 0
		for i := 0; i < n; i++ {
			if c := v[i]; isAlnum(c) || strings.IndexByte("-._~!$&+^`|{}#", c) >= 0 {
				enc[k] = c
				k++
			} else {
				enc[k], enc[k+1], enc[k+2] = '%', upperHex[c>>4], upperHex[c&15]
				k += 3
			}
		}
		if len(cur)+k > room {
			sections = append(sections, string(cur))
			cur = cur[:0]
		}
		cur = append(cur, enc[:k]...)
		v = v[n:]
	}
	if len(sections) == 0 {
		s.WriteString("; " + name + "*=" + string(cur))
		return
	}
	for i, sec := range append(sections, string(cur)) {
		s.WriteString("; " + name + "*" + strconv.Itoa(i) + "*=" + sec)
	}
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// toCRLF makes every line end CRLF, and ends the last line.
func toCRLF(s string) string {
	s = strings.NewReplacer("\r\n", "\r\n", "\r", "\r\n", "\n", "\r\n").Replace(s)
	if s != "" && !strings.HasSuffix(s, "\r\n") {
		s += "\r\n"
	}
	return s
}

// chooseEncoding returns the plainest transfer encoding that carries a text with CRLF line ends.
func chooseEncoding(text string, eightBit bool) string {
	high, control, longest, line := 0, false, 0, 0
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '\n':
			longest, line = max(longest, line-1), 0
			continue
		case c >= 0x80:
			high++
		case c < ' ' && c != '\r' && c != '\t', c == 127:
			control = true
		}
		line++
	}
	longest = max(longest, line)
	switch plain := longest <= maxLineOctets && !control; {
	case plain && high == 0:
		return "7bit"
	case plain && eightBit:
		return "8bit"
	case high > len(text)/6:
		return "base64"
	}
	return "quoted-printable"
}

// encodeQP encodes a text with CRLF line ends in quoted-printable (RFC 2045 section 6.7).
func encodeQP(text string) string {
	var s strings.Builder
	s.Grow(len(text) + len(text)/8)
	n := 0
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c == '\r' && i+1 < len(text) && text[i+1] == '\n' {
			s.WriteString("\r\n")
			n = 0
			i++
			continue
		}
		atEnd := i+1 == len(text) || text[i+1] == '\r'
		plain := c > ' ' && c < 127 && c != '=' || (c == ' ' || c == '\t') && !atEnd
		if plain && n == 0 && (c == '.' || c == 'F' && strings.HasPrefix(text[i:], "From ")) {
			plain = false // what mail programs on the way like to change
		}
		width := 1
		if !plain {
			width = 3
		}
		if n+width > 75 {
			s.WriteString("=\r\n")
			n = 0
		}
		if plain {
			s.WriteByte(c)
		} else {
			s.WriteByte('=')
			s.WriteByte(upperHex[c>>4])
			s.WriteByte(upperHex[c&15])
		}
		n += width
	}
	return s.String()
}
