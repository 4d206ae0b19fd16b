package junk

import (
	"io"
	"strings"
	"sync"

	"github.com/samotop/samotop/message"
)

// Version grows when a message gives other tokens than before: what was learned with another one cannot be unlearned.
const Version = 1

// Limits of what is looked at in one message. Zero: the default.
type Limits struct {
	Key        Key // of the house
	Tokens     int // most tokens; 2500
	PartOctets int // of each text part, encoded, that are looked at; 64 KiB
	TextOctets int // of all of them; 256 KiB
}

// Defaults of Limits.
const (
	DefaultTokens     = 2500
	DefaultPartOctets = 64 << 10
	DefaultTextOctets = 256 << 10
)

// headTokens of the most are kept for the header, attachments and shape, however long the text is.
const headTokens = 500

func (l Limits) withDefaults() Limits {
	for v, d := range map[*int]int{&l.Tokens: DefaultTokens, &l.PartOctets: DefaultPartOctets, &l.TextOctets: DefaultTextOctets} {
		if *v <= 0 {
			*v = d
		}
	}
	return l
}

// Tokenizer takes a message to pieces while it is written to it.
type Tokenizer struct {
	limits Limits
	sink   *sink
	parser *message.Parser
	part   *message.Part // whose body is in text
	*rooms
	room  int // octets of text that may still be looked at
	shape shape
}

// rooms are for the text of a part, one step after the other.
type rooms struct{ text, decoded, plain []byte }

// scratch are those of messages that have ended.
var scratch = sync.Pool{New: func() any { return &rooms{} }}

// NewTokenizer makes one for one message.
func NewTokenizer(l Limits) *Tokenizer {
	l = l.withDefaults()
	t := &Tokenizer{limits: l, rooms: scratch.Get().(*rooms), sink: newSink(l.Key, max(1, l.Tokens-headTokens)), room: l.TextOctets,
		parser: message.NewParser(message.Limits{HeaderBytes: 64 << 10, AllHeaderBytes: 128 << 10, HeaderFields: 512, Depth: 16, Parts: 100})}
	t.parser.OnBody(t.body)
	return t
}

// Read takes a whole message to pieces. An error is that of r, and the tokens those of what could be read.
func Read(r io.Reader, l Limits) (*Tokens, error) {
	t := NewTokenizer(l)
	_, err := io.Copy(t, r)
	return t.Close(), err
}

// Write takes the next octets. It never fails.
func (t *Tokenizer) Write(b []byte) (int, error) { return t.parser.Write(b) }

// Close ends the message.
func (t *Tokenizer) Close() *Tokens {
	root := t.parser.Close()
	t.endPart()
	t.sink.max = t.limits.Tokens
	t.header(&root.Header)
	for p := range root.All() {
		t.attachment(p)
	}
	t.shape.tell(t.sink, root)
	t.sink.end()
	scratch.Put(t.rooms)
	t.rooms = &rooms{} // what is written now is read by nobody
	return &t.sink.out
}

// body is told of the content of parts.
func (t *Tokenizer) body(p *message.Part, b []byte) {
	if p != t.part {
		t.endPart()
		t.part = p
	}
	if p.Type != "text" || p.Disposition == "attachment" && p.Subtype != "html" && p.Subtype != "plain" {
		return
	}
	n := min(len(b), t.limits.PartOctets-len(t.text), t.room)
	t.text = append(t.text, b[:n]...)
	t.room -= n
}

// endPart takes the text to pieces that was collected.
func (t *Tokenizer) endPart() {
	if t.part == nil || len(t.text) == 0 || t.sink.full() {
		t.text = t.text[:0]
		return
	}
	t.decoded = message.AppendDecoded(t.decoded[:0], t.text, t.part.Encoding)
	t.text = t.text[:0]
	s, _ := message.DecodeString(t.decoded[:min(len(t.decoded), t.limits.PartOctets)], t.part.Charset())
	t.shape.text(t.part, s)
	t.links(s)
	if t.part.Subtype == "html" {
		t.markup(s)
		t.plain = message.AppendHTMLText(t.plain[:0], []byte(s))
		s = string(t.plain)
	}
	w := words{s: t.sink, pairs: true}
	w.text(s)
	w.end()
	t.shape.words += w.count
	t.shape.caps += w.caps
}

// header takes those fields to pieces that the author or his program wrote, and no others.
func (t *Tokenizer) header(h *message.Header) {
	t.words("subject:", h.Text("Subject"))
	from, reply := message.ParseAddressList(h.Get("From")), message.ParseAddressList(h.Get("Reply-To"))
	t.author("from:", from)
	t.author("reply-to:", reply)
	for _, name := range []string{"X-Mailer", "User-Agent"} {
		t.words("mailer:", h.Text(name))
	}
	if id := h.Text("List-Id"); id != "" {
		t.sink.add("list:", strings.ToLower(id[strings.LastIndexByte(id, '<')+1:]))
	}
	t.shape.header(t.sink, h, from, reply)
}

// author tells the first address of a field.
func (t *Tokenizer) author(prefix string, list []message.AddressOrGroup) {
	if len(list) == 0 {
		return
	}
	a := list[0]
	t.words(prefix, a.Name)
	t.host(prefix, a.Address.Domain)
	t.sink.add(prefix, strings.ToLower(a.Address.Local), "@", strings.ToLower(a.Address.Domain))
}

// words takes a line of a header to pieces.
func (t *Tokenizer) words(prefix, s string) {
	w := words{s: t.sink, prefix: prefix}
	w.text(s[:min(len(s), 1<<10)])
	w.end()
}

// host tells a domain and those above it, but for the top.
func (t *Tokenizer) host(prefix, host string) {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	for range 4 {
		if len(host) == 0 || len(host) > 63 {
			return
		}
		t.sink.add(prefix, "@", host)
		_, up, more := strings.Cut(host, ".")
		if !more || !strings.Contains(up, ".") {
			t.sink.add(prefix, "@.", up)
			return
		}
		host = up
	}
}

// attachment tells the kind and the name of what is not text.
func (t *Tokenizer) attachment(p *message.Part) {
	if p.Type == "multipart" {
		return
	}
	if p.Type != "text" {
		t.sink.add("type:", p.Type, "/", p.Subtype)
	}
	name := p.FileName()
	if name == "" {
		return
	}
	if dot := strings.LastIndexByte(name, '.'); dot >= 0 {
		t.sink.add("file:.", strings.ToLower(name[dot+1:]))
		if before := strings.LastIndexByte(name[:dot], '.'); before >= 0 && dot-before <= 5 {
			t.sink.add("is:two-extensions")
		}
		name = name[:dot]
	}
	t.words("file:", name)
}
