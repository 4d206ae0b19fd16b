package filter

import (
	"encoding/binary"

	"github.com/samotop/samotop/guard"
	"github.com/samotop/samotop/junk"
	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/row"
)

// Keys of the filter in the evidence: guard.KeyJunk, one of these octets, and
const (
	kindConfig  = 'c' // nothing -> the key of hashes
	kindSums    = 's' // owner -> sums
	kindWord    = 'w' // owner, hash of the word -> word
	kindLearned = 'l' // owner, hash of the id -> learned
)

func configKey() []byte { return []byte{guard.KeyJunk, kindConfig} }

func ownerKey(kind byte, owner uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{guard.KeyJunk, kind}, owner)
}

const keyOctets = 2 + 8 + 8

func hashKey(dst []byte, kind byte, owner, hash uint64) []byte {
	dst = append(dst, guard.KeyJunk, kind)
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(dst, owner), hash)
}

// hashOf is the end of such a key.
func hashOf(key []byte) uint64 { return binary.BigEndian.Uint64(key[len(key)-8:]) }

// sums is what one table holds.
type sums struct {
	Ham, Spam           uint32 // messages learned
	Words               uint32 // rows
	Learned             uint32 // rows
	GivenHam, GivenSpam uint32 // messages added to the shared table
	Day                 uint32 // of the last lesson
	Swept               uint32 // day of the lesson up to which old words were taken out
}

func (s *sums) encode() []byte {
	var b []byte
	for _, v := range []uint32{s.Ham, s.Spam, s.Words, s.Learned, s.GivenHam, s.GivenSpam, s.Day, s.Swept} {
		b = binary.AppendUvarint(b, uint64(v))
	}
	return b
}

func decodeSums(v []byte) (s sums, err error) {
	r := row.Reader{B: v}
	for _, p := range []*uint32{&s.Ham, &s.Spam, &s.Words, &s.Learned, &s.GivenHam, &s.GivenSpam, &s.Day, &s.Swept} {
		*p = uint32(r.Uint())
	}
	if r.Bad {
		err = store.ErrCorrupt
	}
	return s, err
}

// word is in how many messages it was, and the day of the last of them.
type word struct {
	junk.Counts
	day uint32
}

func (w *word) encode(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(w.Ham))
	dst = binary.AppendUvarint(dst, uint64(w.Spam))
	return binary.AppendUvarint(dst, uint64(w.day))
}

func decodeWord(v []byte) (w word, err error) {
	r := row.Reader{B: v}
	w.Ham, w.Spam, w.day = uint32(r.Uint()), uint32(r.Uint()), uint32(r.Uint())
	if r.Bad {
		err = store.ErrCorrupt
	}
	return w, err
}

// learned remembers how a message was learned.
type learned struct {
	kind    Kind
	version uint32 // of the tokens
	given   bool   // to the shared table too
	day     uint32
}

func (l *learned) encode() []byte {
	given := byte(0)
	if l.given {
		given = 1
	}
	return binary.AppendUvarint(binary.AppendUvarint([]byte{byte(l.kind), given}, uint64(l.version)), uint64(l.day))
}

func decodeLearned(v []byte) (l learned, err error) {
	r := row.Reader{B: v}
	l.kind, l.given = Kind(r.Byte()), r.Byte() != 0
	l.version, l.day = uint32(r.Uint()), uint32(r.Uint())
	if r.Bad {
		err = store.ErrCorrupt
	}
	return l, err
}
