package message

import (
	"bytes"
	"strings"

	"github.com/samotop/samotop/mail"
)

// AddressOrGroup is an address with its display name, or a group (RFC 5322 section 3.4).
type AddressOrGroup struct {
	Name    string           // display name of the mailbox or group, decoded to UTF-8
	RawName string           // the same with encoded words not decoded, as IMAP's ENVELOPE wants it
	Address mail.Address     // zero for a group; Domain is empty if a broken address has none
	Route   string           // obsolete source route "@a,@b" (RFC 5322 section 4.4), mostly empty
	Group   bool             // the Members are in a group of this Name
	Members []AddressOrGroup // mailboxes of a group
}

// MaxAddresses is the most addresses, groups and their members included, that ParseAddressList returns.
const MaxAddresses = 10000

// maxAddressWords is the most words that are kept of one mailbox.
const maxAddressWords = 1000

// ParseAddressList reads the value of From, To and the like (RFC 5322 sections 3.4 and 4.4). It never fails: what is
// broken is given as well as it can be. A comment is the display name of an address that has no other. Of words
// without an address one alone is a Local without a Domain, several are a Name without an Address.
func ParseAddressList(raw []byte) []AddressOrGroup {
	p := addressParser{scanner: scanner{b: Unfold(raw)}}
	p.words = p.few[:0]
	for p.i < len(p.b) && p.count < MaxAddresses {
		p.next()
	}
	p.endMailbox()
	p.endGroup()
	return p.out
}

// addressParser reads a list of mailboxes and groups.
type addressParser struct {
	scanner
	out   []AddressOrGroup
	count int
	group *AddressOrGroup // the open one

	words   []addressWord   // of the mailbox being read, so far
	few     [12]addressWord // room for them
	comment []byte          // its last comment
	angle   *AddressOrGroup // the mailbox whose "<...>" was read
	spaced  bool            // white space or a comment came after the last word
}

// addressWord is an atom, a quoted-string, a domain-literal, or "@".
type addressWord struct {
	text   []byte
	quoted bool
	spaced bool // white space or a comment stands before it
}

func (w *addressWord) isAt() bool { return !w.quoted && len(w.text) == 1 && w.text[0] == '@' }

// next takes one token of the list.
func (p *addressParser) next() {
	switch c := p.b[p.i]; {
	case c == ',':
		p.i++
		p.endMailbox()
	case c == ';': // ends a group; some programs separate addresses with it
		p.i++
		p.endMailbox()
		p.endGroup()
	case c == ':' && p.group == nil && p.angle == nil && len(p.words) > 0 && p.at() < 0:
		p.i++
		p.beginGroup()
	case c == '<':
		p.i++
		p.angleAddress()
	case c == '>' && p.angle != nil: // "<<a@b>>"
		p.i++
	default:
		p.element("()<>,;:@\"")
	}
}

// element takes white space, a comment or a word. An atom ends at white space or one of the specials, but is at
// least one octet long, so that nothing stops the parser.
func (p *addressParser) element(specials string) {
	c := p.b[p.i]
	switch {
	case isSpace(c):
		p.i++
		p.spaced = true
	case c == '(':
		if text := unescape(p.scanner.comment()); len(text) > 0 {
			p.comment = text
		}
		p.spaced = true
	case c == '"':
		p.add(p.quoted(), true)
	case c == '[':
		p.add(p.literal(), false)
	default:
		start := p.i
		p.i++
		if n := p.encodedAtom(start); n > 0 {
			p.i = start + n
		}
		for c != '@' && p.i < len(p.b) && !isSpace(p.b[p.i]) && strings.IndexByte(specials, p.b[p.i]) < 0 {
			p.i++
		}
		p.add(p.b[start:p.i], false)
	}
}

func (p *addressParser) add(text []byte, quoted bool) {
	if len(p.words) < maxAddressWords {
		p.words = append(p.words, addressWord{text, quoted, p.spaced})
	}
	p.spaced = false
}

// encodedAtom returns the length of an encoded word: those of broken programs hold commas, spaces and the like.
func (p *addressParser) encodedAtom(start int) int {
	const longest = 1024
	b := p.b[start:min(len(p.b), start+longest)]
	if len(b) < 8 || b[0] != '=' || b[1] != '?' {
		return 0
	}
	q := bytes.IndexByte(b[2:], '?') + 2
	if q < 3 || q+3 > len(b) || b[q+2] != '?' || bytes.IndexByte([]byte("qQbB"), b[q+1]) < 0 {
		return 0
	}
	n := bytes.Index(b[q+3:], []byte("?="))
	if n < 0 || bytes.ContainsAny(b[:q+3+n], "<>\"") {
		return 0
	}
	return q + 3 + n + 2
}

// literal reads a domain-literal; one that is not closed ends where the address does.
func (p *addressParser) literal() []byte {
	start := p.i
	for p.i++; p.i < len(p.b) && strings.IndexByte("]<>,;", p.b[p.i]) < 0; p.i++ {
	}
	if p.i < len(p.b) && p.b[p.i] == ']' {
		p.i++
	}
	return p.b[start:p.i]
}

// angleAddress reads what follows "<". Words before it are the display name; if there was an angle-addr already,
// a comma is missing between the two.
func (p *addressParser) angleAddress() {
	if p.angle != nil {
		words := append([]addressWord(nil), p.words...)
		p.words = p.words[:0]
		p.endMailbox()
		p.words = words
	}
	name := joinWords(p.words)
	p.words, p.spaced = p.words[:0], false
	a := &AddressOrGroup{RawName: name}
loop:
	for p.i < len(p.b) {
		switch c := p.b[p.i]; {
		case c == '>':
			p.i++
			break loop
		case c == '<': // "<<a@b>"
			p.i++
			p.words = p.words[:0]
		case c == ':' && len(p.words) > 0 && p.words[0].isAt() && a.Route == "": // obs-route
			p.i++
			a.Route = joinTight(p.words)
			p.words = p.words[:0]
		case c == ',' && len(p.words) > 0 && p.words[0].isAt():
			p.add([]byte{','}, false)
			p.i++
		case c == ',' || c == ';': // "<a@b, c@d": the bracket is missing
			break loop
		default:
			p.element("()<>,;:@\"")
		}
	}
	if at := p.at(); at >= 0 {
		a.Address = mail.Address{Local: joinTight(p.words[:at]), Domain: joinTight(p.words[at+1:])}
	} else {
		a.Address.Local = joinTight(p.words)
	}
	p.angle, p.words, p.spaced = a, p.words[:0], false
}

// at returns the index of the last "@" among the words, -1 if there is none.
func (p *addressParser) at() int {
	for i := len(p.words) - 1; i >= 0; i-- {
		if p.words[i].isAt() {
			return i
		}
	}
	return -1
}

// endMailbox ends a mailbox, if there is one.
func (p *addressParser) endMailbox() {
	a := p.angle
	switch {
	case a != nil:
		if a.RawName == "" {
			a.RawName = joinWords(p.words) // "<a@b> Name"
		}
	case len(p.words) > 0:
		a = p.bare()
	}
	comment := p.comment
	p.angle, p.words, p.comment, p.spaced = nil, p.words[:0], nil, false
	if a == nil || p.count >= MaxAddresses {
		return
	}
	if a.RawName == "" {
		a.RawName = string(comment)
	}
	if a.RawName == "" && a.Address.IsNull() && a.Route == "" {
		return
	}
	if a.RawName != "" {
		a.Name = DecodeText([]byte(a.RawName))
	}
	p.count++
	if p.group != nil {
		p.group.Members = append(p.group.Members, *a)
	} else {
		p.out = append(p.out, *a)
	}
}

// bare makes a mailbox of words without brackets: an addr-spec, perhaps with words around it.
func (p *addressParser) bare() *AddressOrGroup {
	a := &AddressOrGroup{}
	at := p.at()
	if at < 0 {
		if text := joinTight(p.words); len(p.words) == 1 || strings.IndexByte(text, '.') >= 0 && !p.apart() {
			a.Address.Local = text
		} else {
			a.RawName = joinWords(p.words)
		}
		return a
	}
	from, to := at, at+1
	for from > 0 && (from == at || joins(p.words[from-1], p.words[from])) {
		from--
	}
	for to < len(p.words) && (to == at+1 || joins(p.words[to-1], p.words[to])) {
		to++
	}
	a.Address = mail.Address{Local: joinTight(p.words[from:at]), Domain: joinTight(p.words[at+1 : to])}
	a.RawName = strings.TrimSpace(joinWords(p.words[:from]) + " " + joinWords(p.words[to:]))
	return a
}

// apart reports whether the words do not make one dotted local part.
func (p *addressParser) apart() bool {
	for i := 1; i < len(p.words); i++ {
		if !joins(p.words[i-1], p.words[i]) {
			return true
		}
	}
	return false
}

// joins reports whether two words belong to one local part or domain: nothing stands between them, or there is a
// dot (obs-local-part, obs-domain: RFC 5322 section 4.4).
func joins(a, b addressWord) bool {
	return !b.spaced || bytes.HasSuffix(a.text, []byte{'.'}) && !a.quoted || bytes.HasPrefix(b.text, []byte{'.'}) && !b.quoted
}

func (p *addressParser) beginGroup() {
	name := joinWords(p.words)
	p.group = &AddressOrGroup{RawName: name, Name: DecodeText([]byte(name)), Group: true}
	p.words, p.comment, p.spaced = p.words[:0], nil, false
	p.count++
}

func (p *addressParser) endGroup() {
	if p.group != nil {
		p.out = append(p.out, *p.group)
		p.group = nil
	}
}

// joinWords gives a phrase: one space where there was white space.
func joinWords(words []addressWord) string {
	if len(words) == 1 {
		return string(words[0].text)
	}
	var s strings.Builder
	for i, w := range words {
		if i > 0 && w.spaced {
			s.WriteByte(' ')
		}
		s.Write(w.text)
	}
	return s.String()
}

// joinTight gives a local part or domain: no white space between words.
func joinTight(words []addressWord) string {
	if len(words) == 1 {
		return decodeFallback(words[0].text)
	}
	var b []byte
	for _, w := range words {
		b = append(b, w.text...)
	}
	return decodeFallback(b)
}

// unescape removes the backslashes of quoted-pairs from a comment.
func unescape(b []byte) []byte {
	if bytes.IndexByte(b, '\\') < 0 {
		return trimSpace(b)
	}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] == '\\' && i+1 < len(b) {
			i++
		}
		out = append(out, b[i])
	}
	return trimSpace(out)
}

// FormatAddressList writes a list as the value of a field, not folded: ", " stands between addresses. With utf8 names
// are written as they are (RFC 6532), else in encoded words. Addresses are always written as they are.
func FormatAddressList(list []AddressOrGroup, utf8 bool) string {
	var s strings.Builder
	formatList(&s, list, utf8, 0)
	return s.String()
}

func formatList(s *strings.Builder, list []AddressOrGroup, utf8 bool, depth int) {
	for i, a := range list {
		if i > 0 {
			s.WriteString(", ")
		}
		name := FormatPhrase(a.Name, utf8)
		switch {
		case a.Group && depth == 0:
			s.WriteString(name)
			s.WriteString(":")
			if len(a.Members) > 0 {
				s.WriteByte(' ')
				formatList(s, a.Members, utf8, 1)
			}
			s.WriteByte(';')
		case name == "":
			s.WriteString(a.Address.String())
		default:
			s.WriteString(name)
			s.WriteByte(' ')
			s.WriteString(a.Address.Path())
		}
	}
}

// FormatPhrase writes a display name (RFC 5322 section 3.2.5): atoms, a quoted-string, or encoded words.
func FormatPhrase(name string, utf8 bool) string {
	name = strings.TrimSpace(cleanText(name))
	atoms := true
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case c < ' ' || c == 127 || c >= 0x80 && !utf8:
			return encodePhrase(name)
		case c != ' ' && c < 0x80 && (!isToken(c) || c == '.' || c == '?' || c == '=') || c == ' ' && i > 0 && name[i-1] == ' ':
			atoms = false
		}
	}
	if strings.Contains(name, "=?") {
		return encodePhrase(name)
	}
	if atoms {
		return name
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`
}

// encodePhrase encodes all of a name: a part of it that stays plain would have to be quoted.
func encodePhrase(name string) string {
	var s strings.Builder
	encodeWords(&s, name)
	return s.String()
}
