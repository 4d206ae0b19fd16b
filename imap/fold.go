package imap

import (
	"bytes"
	"context"
	"io"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// AppendFold appends the form of UTF-8 text by which i;unicode-casemap (RFC 5051) compares: each character in title
// case, then decomposed, compatibility forms too. Octets that are not UTF-8 stay as they are.
func AppendFold[S ~string | ~[]byte](dst []byte, s S) []byte {
	for i := 0; i < len(s); {
		start := i
		for i < len(s) && s[i] < utf8.RuneSelf {
			i++
		}
		if i > start {
			at := len(dst)
			dst = append(dst, s[start:i]...)
			upperASCII(dst[at:])
			continue
		}
		r, n := utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))]))
		if r == utf8.RuneError && n <= 1 {
			dst = append(dst, s[i])
			i++
			continue
		}
		dst = appendFoldRune(dst, unicode.ToTitle(r))
		i += n
	}
	return dst
}

func upperASCII(b []byte) {
	for i, c := range b {
		if c >= 'a' && c <= 'z' {
			b[i] = c - ('a' - 'A')
		}
	}
}

// appendFoldRune appends the decomposition of a character.
func appendFoldRune(dst []byte, r rune) []byte {
	at := len(dst)
	dst = utf8.AppendRune(dst, r)
	if r >= 0xac00 && r <= 0xd7a3 { // Hangul syllables are decomposed by rule, not by table
		own := [utf8.UTFMax]byte{}
		n := copy(own[:], dst[at:])
		return norm.NFKD.Append(dst[:at], own[:n]...)
	}
	if d := norm.NFKD.Properties(dst[at:]).Decomposition(); d != nil {
		return append(dst[:at], d...)
	}
	return dst
}

// Fold is AppendFold to a string.
func Fold(s string) string { return string(AppendFold(make([]byte, 0, len(s)), s)) }

const foldChunkOctets = 16 << 10

// folder looks for substrings in a stream of UTF-8 text, in memory that does not depend on its length. The needles
// are folded.
type folder struct {
	needles [][]byte
	found   []bool
	left    int                      // needles not found yet
	sink    func(folded []byte) bool // takes the text instead; false: no more of it
	keep    int                      // octets that may begin a needle: the longest one less one
	heads   bool                     // looks through the MIME headers of parts too, as TEXT does (RFC 9051 section 6.4.4)
	*textBuffers
}

// textBuffers are used for one message after the other.
type textBuffers struct {
	raw    []byte
	window []byte
	read   []byte // of contentReader
}

func newFolder(needles []string, b *textBuffers) *folder {
	f := &folder{textBuffers: b, found: make([]bool, len(needles)), left: len(needles)}
	for i, n := range needles {
		f.needles = append(f.needles, []byte(n))
		f.keep = max(f.keep, len(n)-1)
		if n == "" {
			f.found[i] = true
			f.left--
		}
	}
	return f
}

// look looks through folded text that is complete in itself.
func (f *folder) look(text []byte) {
	if f.sink != nil {
		if f.left > 0 && !f.sink(text) {
			f.left = 0
		}
		return
	}
	for i, n := range f.needles {
		if !f.found[i] && bytes.Contains(text, n) {
			f.found[i] = true
			f.left--
		}
	}
}

// newReader reads the body of a part with the buffer of the last one.
func (f *folder) newReader(ctx context.Context, c Content, p *Part) *contentReader {
	r := newContentReader(ctx, c, p.BodyStart, p.End)
	r.buf, f.textBuffers.read = f.textBuffers.read[:0:cap(f.textBuffers.read)], nil
	return r
}

// readAll looks through a stream until all needles are found or it ends.
func (f *folder) readAll(r io.Reader) error {
	if f.raw == nil {
		f.raw = make([]byte, 0, foldChunkOctets)
	}
	f.raw, f.window = f.raw[:0], f.window[:0]
	for f.left > 0 {
		n, err := r.Read(f.raw[len(f.raw):cap(f.raw)])
		f.raw = f.raw[:len(f.raw)+n]
		whole := wholeRunes(f.raw)
		if err != nil {
			whole = len(f.raw)
		}
		if whole > 0 {
			f.window = AppendFold(f.window, f.raw[:whole])
			f.raw = f.raw[:copy(f.raw, f.raw[whole:])]
			f.look(f.window)
			if over := len(f.window) - f.keep; over > 0 {
				f.window = f.window[:copy(f.window, f.window[over:])]
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// wholeRunes is the length of b without a character that is cut off at its end.
func wholeRunes(b []byte) int {
	for i := len(b) - 1; i >= 0 && i >= len(b)-utf8.UTFMax; i-- {
		if utf8.RuneStart(b[i]) {
			if utf8.FullRune(b[i:]) {
				return len(b)
			}
			return i
		}
	}
	return len(b)
}

// contentReader reads a range of a message.
type contentReader struct {
	ctx      context.Context //nolint:containedctx // it lives as long as one call
	content  Content
	off, end int64
	buf      []byte
	at       int
}

func newContentReader(ctx context.Context, c Content, from, to int64) *contentReader {
	return &contentReader{ctx: ctx, content: c, off: from, end: min(to, c.Size())}
}

func (r *contentReader) Read(p []byte) (int, error) {
	if r.at == len(r.buf) {
		if r.off >= r.end {
			return 0, io.EOF
		}
		if want := min(copyOctets, r.end-r.off); r.buf == nil || int64(cap(r.buf)) < want {
			r.buf = make([]byte, 0, want)
		}
		var err error
		r.at = 0
		if r.buf, err = r.content.Append(r.ctx, r.buf[:0], r.off, min(int64(cap(r.buf)), r.end-r.off)); err != nil {
			return 0, err
		}
		if len(r.buf) == 0 {
			return 0, io.ErrUnexpectedEOF
		}
		r.off += int64(len(r.buf))
	}
	n := copy(p, r.buf[r.at:])
	r.at += n
	return n, nil
}
