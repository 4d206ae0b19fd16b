package junk

import (
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Lengths of words, in runes. Shorter ones say nothing; longer ones are told by their length.
const (
	minWordRunes = 2
	maxWordRunes = 24
)

// words takes text to pieces.
type words struct {
	s      *sink
	prefix string // of what a token is, "" for the body
	pairs  bool   // neighbours are told too

	run   []byte // the word that is being read, in lower case
	runes int
	digit int // runes of it that are digits
	money bool
	caps  int
	last  []byte // the word before
	piece [2]rune
	dense int // runes of a text without spaces in a row
	count int // words met
	pair  [maxTokenOctets]byte
}

// text reads UTF-8. It may be called again for what follows; end closes the last word.
func (w *words) text(s string) {
	if !norm.NFKC.IsNormalString(s) { // full-width letters, ligatures, "mathematical" alphabets
		s = norm.NFKC.String(s)
	}
	for i := 0; i < len(s) && !w.s.full(); {
		if w.dense == 0 { // most of most texts
			j := i
			for j < len(s) && s[j]-'a' < 26 {
				j++
			}
			if j > i {
				w.run = append(w.run, s[i:i+min(j-i, max(0, maxWordRunes+1-w.runes))]...)
				w.runes += j - i
				i = j
				continue
			}
		}
		r, n := rune(s[i]), 1
		if r >= utf8.RuneSelf {
			r, n = utf8.DecodeRuneInString(s[i:])
		}
		i += n
		w.rune(r)
	}
}

func (w *words) rune(r rune) {
	switch {
	case r >= 'a' && r <= 'z':
		w.letter(r)
	case r >= 'A' && r <= 'Z':
		w.caps++
		w.letter(r + 'a' - 'A')
	case r >= '0' && r <= '9':
		w.digit++
		w.letter(r)
	case (r == '\'' || r == '-' || r == '.' || r == '_') && w.runes > 0: // inside a word; taken off at its end
		w.run = append(w.run, byte(r))
	case r == '$' || r == '%':
		w.money = true
		w.letter(r)
	case r < utf8.RuneSelf:
		w.end()
	default:
		w.wide(r)
	}
}

// wide takes what is not ASCII.
func (w *words) wide(r rune) {
	switch {
	case unspaced(r):
		if w.dense == 0 {
			w.end()
		}
		w.gram(r)
	case unicode.IsLetter(r):
		if unicode.IsUpper(r) {
			w.caps++
			r = unicode.ToLower(r)
		}
		w.letter(r)
	case unicode.IsDigit(r):
		w.digit++
		w.letter('0')
	case unicode.Is(unicode.Sc, r):
		w.money = true
		w.letter(r)
	case unicode.Is(unicode.Mn, r) && w.runes > 0:
		w.run = utf8.AppendRune(w.run, r)
	case r == 0xad, r >= 0x200b && r <= 0x200f, r == 0x2060, r == 0xfeff: // seen by nobody, put into words to hide them
		w.s.add("is:hidden-characters")
	default:
		w.end()
	}
}

func (w *words) letter(r rune) {
	if w.dense > 0 {
		w.end()
	}
	if w.runes <= maxWordRunes {
		w.run = utf8.AppendRune(w.run, r)
	}
	w.runes++
}

// unspaced reports whether the language of a rune does not part words by spaces.
func unspaced(r rune) bool {
	return r >= 0x0e00 && unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar, unicode.Hangul)
}

// gram takes a rune of such a text: each two neighbours are a token.
func (w *words) gram(r rune) {
	w.dense++
	w.count++
	if w.dense > 1 {
		b := append(w.pair[:0], w.prefix...)
		b = utf8.AppendRune(b, w.piece[0])
		w.s.addBytes(utf8.AppendRune(b, r))
	}
	w.piece[0] = r
}

// end closes a word.
func (w *words) end() {
	w.dense = 0
	if w.runes == 0 {
		w.run = w.run[:0]
		return
	}
	for n := len(w.run); n > 0 && (w.run[n-1] == '.' || w.run[n-1] == '-' || w.run[n-1] == '\'' || w.run[n-1] == '_'); n-- {
		w.run = w.run[:n-1]
	}
	w.count++
	switch {
	case w.money && w.digit > 0:
		w.word([]byte("(amount)"))
	case w.digit == w.runes:
		w.word([]byte("(number)"))
	case w.runes > maxWordRunes:
		w.s.add(w.prefix, "(long word)")
		w.last = w.last[:0]
	case w.runes >= minWordRunes:
		w.word(w.run)
	}
	w.run, w.runes, w.digit, w.money = w.run[:0], 0, 0, false
}

// word tells a word, and the pair with the one before.
func (w *words) word(b []byte) {
	out := append(w.pair[:0], w.prefix...)
	out = append(out, b[:min(len(b), maxTokenOctets-len(out))]...)
	w.s.addBytes(out)
	if !w.pairs {
		return
	}
	if n := len(w.last); n > 0 && n+1+len(b) <= maxTokenOctets {
		out = append(append(append(w.pair[:0], w.last...), ' '), b...)
		w.s.addBytes(out)
	}
	w.last = append(w.last[:0], b...)
}
