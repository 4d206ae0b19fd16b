package junk

import (
	"math/bits"
	"sync"
)

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
	seen *seen
	zero bool // the hash that is 0 was met
	out  Tokens
	buf  [maxTokenOctets]byte
}

// seen are hashes in open addressing, at most half full of the most tokens of a message; 0 is none.
type seen []uint64

// sets are those of messages that have ended: to make one costs more than to read a short message.
var sets = sync.Pool{New: func() any { s := make(seen, 2*tokenPlaces); return &s }}

// tokenPlaces are enough for DefaultTokens.
const tokenPlaces = 4096

// Room for the tokens of a message of usual length.
const (
	usualTokens     = 400
	usualTextOctets = 4 << 10
)

func newSink(key Key, most int) *sink {
	s := &sink{key: key, max: most, out: Tokens{List: make([]Token, 0, usualTokens), text: make([]byte, 0, usualTextOctets)}}
	if most+headTokens <= tokenPlaces {
		s.seen = sets.Get().(*seen)
		return s
	}
	own := make(seen, 2<<bits.Len(uint(most+headTokens)))
	s.seen = &own
	return s
}

// end lets go of what only collecting needs. Nothing can be added from then on.
func (s *sink) end() {
	if s.seen != nil && len(*s.seen) == 2*tokenPlaces {
		clear(*s.seen)
		sets.Put(s.seen)
	}
	s.seen, s.max = nil, 0
}

// first reports whether a hash was not met before.
func (s *sink) first(h uint64) bool {
	if h == 0 {
		was := s.zero
		s.zero = true
		return !was
	}
	t := *s.seen
	for i := h & uint64(len(t)-1); ; i = (i + 1) & uint64(len(t)-1) {
		switch t[i] {
		case h:
			return false
		case 0:
			t[i] = h
			return true
		}
	}
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
	if !s.first(h) {
		return
	}
	s.out.List = append(s.out.List, Token{Hash: h, at: uint32(len(s.out.text)), n: uint16(len(b))})
	s.out.text = append(s.out.text, b...)
}
