package message

import (
	"bytes"
	"strconv"
	"strings"
)

// maxParams is the most parameters of one field that are read; maxSections the most sections of one parameter (RFC
// 2231 section 3).
const (
	maxParams   = 256
	maxSections = 1000
)

// MediaType is a Content-Type (RFC 2045 section 5.1).
type MediaType struct {
	Type, Subtype string  // lower case; both empty if it cannot be read
	Params        []Param // decoded (RFC 2231), in order
}

// Param returns the value of the first parameter of that name (lower case), or "".
func (m MediaType) Param(name string) string { return param(m.Params, name) }

// ParseMediaType reads the value of Content-Type.
func ParseMediaType(raw []byte) MediaType {
	var m MediaType
	value, params := ParseParams(raw)
	slash := strings.IndexByte(value, '/')
	if slash <= 0 || slash == len(value)-1 {
		if value != "multipart" { // seen without a subtype; anything else without one is no type
			return MediaType{Params: params}
		}
		return MediaType{"multipart", "mixed", params}
	}
	m.Type, m.Subtype, m.Params = value[:slash], value[slash+1:], params
	return m
}

// ParseParams reads the value of a field like Content-Disposition: a token in lower case, and its parameters. Their
// sections are joined and their charsets decoded (RFC 2231); encoded words in them, which the standard forbids and
// the world writes, are decoded too, but not in a boundary.
func ParseParams(raw []byte) (value string, params []Param) {
	value, params = ParseRawParams(raw)
	extended := false
	for i := range params {
		if p := &params[i]; strings.IndexByte(p.Name, '*') >= 0 {
			extended = true
		} else if p.Name != "boundary" {
			p.Value = decodeIfNeeded(p.Value)
		}
	}
	if extended {
		params = joinSections(params)
	}
	return value, params
}

func decodeIfNeeded(s string) string {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 || s[i] == '=' && i+1 < len(s) && s[i+1] == '?' {
			return DecodeText([]byte(s))
		}
	}
	return s
}

// ParseRawParams is ParseParams with the parameters as they were written: unquoted, but not decoded.
func ParseRawParams(raw []byte) (value string, params []Param) {
	s := scanner{b: Unfold(raw)}
	s.skip()
	value = s.mediaValue()
	for len(params) < maxParams {
		if s.skip(); s.i >= len(s.b) {
			break
		}
		if s.b[s.i] == ';' {
			s.i++
			continue
		}
		name, v, ok := s.param()
		if ok {
			if params == nil {
				params = make([]Param, 0, 2)
			}
			params = append(params, Param{name, v})
		}
	}
	return value, params
}

// mediaValue reads a token, with a slash and another token if there are, in lower case. White space and comments
// around the slash are dropped.
func (s *scanner) mediaValue() string {
	if s.i < len(s.b) && s.b[s.i] == '"' {
		return lowerString(trimSpace(s.quoted()))
	}
	start := s.i
	s.token()
	first := s.b[start:s.i]
	at := s.i
	s.skip()
	if s.i >= len(s.b) || s.b[s.i] != '/' {
		s.i = at
		return lowerString(first)
	}
	s.i++
	s.skip()
	second := s.i
	s.token()
	if at == second-1 {
		return lowerString(s.b[start:s.i])
	}
	return lowerString(bytes.Join([][]byte{first, s.b[second:s.i]}, []byte{'/'}))
}

// param reads name "=" value. What is not of that form is passed over up to the next semicolon.
func (s *scanner) param() (name, value string, ok bool) {
	start := s.i
	for s.i < len(s.b) && s.b[s.i] != '=' && s.b[s.i] != ';' && s.b[s.i] != '(' && !isSpace(s.b[s.i]) {
		s.i++
	}
	raw := s.b[start:s.i]
	s.skip()
	if s.i >= len(s.b) || s.b[s.i] != '=' || len(raw) == 0 {
		if s.i == start || s.i < len(s.b) && s.b[s.i] == '=' {
			s.i++
		}
		return "", "", false
	}
	s.i++
	s.skip()
	name = lowerString(raw)
	if s.i < len(s.b) && s.b[s.i] == '"' {
		return name, internString(s.quoted()), true
	}
	return name, internString(s.looseValue()), true
}

// looseValue reads an unquoted value. A token is what the standard allows; names with spaces and specials in them
// are read up to the semicolon, or up to where the next parameter starts if somebody forgot the semicolon.
func (s *scanner) looseValue() []byte {
	start := s.i
	for s.i < len(s.b) && s.b[s.i] != ';' {
		if s.b[s.i] == '(' && s.i > start && isSpace(s.b[s.i-1]) && s.i+1 < len(s.b) {
			break // a comment
		}
		if !isSpace(s.b[s.i]) {
			s.i++
			continue
		}
		if s.paramFollows() {
			break
		}
		for s.i < len(s.b) && isSpace(s.b[s.i]) {
			s.i++
		}
	}
	return trimSpace(s.b[start:s.i])
}

// paramFollows looks past white space for a token and an equals sign.
func (s *scanner) paramFollows() bool {
	i := s.i
	for i < len(s.b) && isSpace(s.b[i]) {
		i++
	}
	start := i
	for i < len(s.b) && isToken(s.b[i]) && i-start < 64 {
		i++
	}
	return i > start && i+1 < len(s.b) && s.b[i] == '=' && s.b[i+1] != '='
}

// section is one section of a parameter (RFC 2231 sections 3 and 4).
type section struct {
	name    string
	number  int // -1: not numbered
	encoded bool
}

// splitSection reads name ["*" number] ["*"].
func splitSection(name string) section {
	base, rest, star := strings.Cut(name, "*")
	if !star {
		return section{name: name, number: -1}
	}
	s := section{name: base, number: -1}
	if rest == "" {
		s.encoded = true
		return s
	}
	if s.encoded = strings.HasSuffix(rest, "*"); s.encoded {
		rest = rest[:len(rest)-1]
	}
	n, err := strconv.ParseUint(rest, 10, 31)
	if err != nil || n >= maxSections {
		return section{name: name, number: -1}
	}
	s.number = int(n)
	return s
}

// joinSections joins the sections of each parameter and decodes them. The result stands where the first section
// stood; it goes before a plain parameter of the same name, which is there for old readers (RFC 6266 section 4.3
// says so for HTTP, mail programs do the same).
func joinSections(params []Param) []Param {
	var out []Param
	done := make(map[string]int, len(params)) // name to index in out, of extended ones
	for _, p := range params {
		s := splitSection(p.Name)
		if s.number < 0 && !s.encoded {
			out = append(out, p)
			continue
		}
		if _, seen := done[s.name]; seen || s.name == "" {
			continue
		}
		done[s.name] = len(out)
		out = append(out, Param{s.name, joinOne(params, s.name)})
	}
	kept := out[:0]
	for i, p := range out {
		if at, ok := done[p.Name]; ok && at != i {
			continue // the plain form
		}
		kept = append(kept, p)
	}
	return kept
}

func joinOne(params []Param, name string) string {
	type piece struct {
		value   string
		encoded bool
		there   bool
	}
	pieces := make([]piece, 0, 4)
	for _, p := range params {
		s := splitSection(p.Name)
		if s.name != name || s.number < 0 && !s.encoded {
			continue
		}
		n := max(s.number, 0)
		for len(pieces) <= n {
			pieces = append(pieces, piece{})
		}
		if !pieces[n].there {
			pieces[n] = piece{p.Value, s.encoded, true}
		}
	}
	charset := ""
	var b []byte
	for i, p := range pieces {
		if !p.there && i > 0 {
			break // RFC 2231 section 3: numbers have no gaps; what comes after one cannot be placed
		}
		v := p.value
		if p.encoded && charset == "" {
			if cs, rest, ok := strings.Cut(v, "'"); ok {
				if _, text, ok := strings.Cut(rest, "'"); ok {
					charset, v = cs, text
				}
			}
		}
		if p.encoded {
			b = appendPercent(b, v)
		} else {
			b = append(b, v...)
		}
	}
	if charset == "" {
		return decodeIfNeeded(string(b))
	}
	s, _ := DecodeString(b, charset)
	return s
}

// appendPercent decodes percent signs; a broken one stands for itself.
func appendPercent(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) && unhex(s[i+1]) >= 0 && unhex(s[i+2]) >= 0 {
			b = append(b, byte(unhex(s[i+1])<<4|unhex(s[i+2])))
			i += 2
			continue
		}
		b = append(b, s[i])
	}
	return b
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
