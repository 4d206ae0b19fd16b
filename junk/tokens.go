package junk

// Token is one piece of a message.
type Token struct {
	Hash uint64
	at   uint32 // of its text in Tokens.text
	n    uint16
}

// Tokens are the distinct pieces of one message, in the order in which they were met.
type Tokens struct {
	List []Token
	text []byte
}

// Text says what a token is: a plain word, "two words", or of another kind with a prefix: "subject:", "from:", "host:", "file:",
// "type:", "is:" for how the message is built.
func (t *Tokens) Text(i int) string {
	x := t.List[i]
	return string(t.text[x.at : x.at+uint32(x.n)])
}

// maxTokenOctets is the longest text of a token.
const maxTokenOctets = 80

// sink collects tokens up to a limit.
type sink struct {
	key  Key
	max  int
	seen map[uint64]struct{}
	out  Tokens
	buf  [maxTokenOctets]byte
}

func newSink(key Key, most int) *sink {
	return &sink{key: key, max: most, seen: make(map[uint64]struct{}, 512)}
}

// full reports whether nothing more is taken.
func (s *sink) full() bool { return len(s.out.List) >= s.max }

// add takes a token whose text is the pieces one after the other.
func (s *sink) add(pieces ...string) {
	b := s.buf[:0]
	for _, p := range pieces {
		b = append(b, p[:min(len(p), maxTokenOctets-len(b))]...)
	}
	s.addBytes(b)
}

func (s *sink) addBytes(b []byte) {
	if len(b) == 0 || s.full() {
		return
	}
	h := s.key.Sum(b)
	if _, ok := s.seen[h]; ok {
		return
	}
	s.seen[h] = struct{}{}
	s.out.List = append(s.out.List, Token{Hash: h, at: uint32(len(s.out.text)), n: uint16(len(b))})
	s.out.text = append(s.out.text, b...)
}
