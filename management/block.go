package management

import (
	"bytes"
	"encoding/binary"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store"
)

// Rows of the Journal. seq is the time of the first event in microseconds, made unique.
//
//	b bucket seq   a block: its events, a line of JSON each
//	x bucket seq   its terms: hashes of what each event can be asked for, with the event's number, ascending
//	s bucket       octets
//
// Who asks reads all terms of the buckets that are kept, some MiB for a million events; who writes puts two rows for many
// events. Events that must be on disk before a block is full go into parts, which the full block replaces.
const (
	kindBlock = 'b'
	kindTerms = 'x'

	maxBlockEvents = 2000
	maxBlockOctets = 128 << 10 // then it is full; the last event may be over it
	termOctets     = 6
)

// block is one that is being filled.
type block struct {
	bucket uint32
	seq    uint64
	lines  []byte
	terms  []uint64 // hash << 16 | number of the event
	events int
	part   uint64 // seq of the next part
	done   block0 // what is in parts already
}

// block0 is how far a block has been written in parts.
type block0 struct{ lines, terms, events int }

func (k *block) isFull() bool {
	return k.events >= maxBlockEvents || len(k.lines) >= maxBlockOctets || k.seq == 0
}

// add returns how many octets the event takes.
func (k *block) add(e *mail.Event) int64 {
	before := len(k.lines)
	k.lines = append(encodeEvent(k.lines, e), '\n')
	n := 0
	for i, s := range [...]string{e.MessageID, e.ID, e.Trace, e.From, e.To} {
		if s == "" || s == "<>" {
			continue
		}
		if i == 1 {
			s, _, _ = strings.Cut(s, ".") // the id of a delivery is that of the message and a number
		}
		k.terms = append(k.terms, uint64(termOf(s))<<16|uint64(k.events))
		n++
	}
	k.events++
	return int64(len(k.lines) - before + n*termOctets)
}

// put writes what is not written yet: as a part, or the whole block if it is full.
func (k *block) put(b *store.Batch) {
	if k.isFull() {
		k.end(b)
		return
	}
	if k.events == k.done.events {
		return
	}
	k.part = max(k.part, k.seq)
	terms := slices.Clone(k.terms[k.done.terms:])
	for i := range terms {
		terms[i] -= uint64(k.done.events) // its number in the part
	}
	k.rows(b, k.part, bytes.Clone(k.lines[k.done.lines:]), terms)
	k.part++
	k.done = block0{len(k.lines), len(k.terms), k.events}
}

// end writes the whole block in place of its parts, if there are several.
func (k *block) end(b *store.Batch) {
	if k.events == 0 || k.part == k.seq+1 && k.done.events == k.events {
		return
	}
	if k.part > 0 {
		for _, kind := range []byte{kindBlock, kindTerms} {
			b.Ops = append(b.Ops, store.DeleteRange(blockKey(kind, k.bucket, k.seq), blockKey(kind, k.bucket, k.part)))
		}
	}
	k.rows(b, k.seq, k.lines, k.terms)
	k.done, k.part = block0{len(k.lines), len(k.terms), k.events}, k.seq+1
}

func (k *block) rows(b *store.Batch, seq uint64, lines []byte, terms []uint64) {
	slices.Sort(terms)
	row := make([]byte, 0, len(terms)*termOctets)
	for _, t := range terms {
		row = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint32(row, uint32(t>>16)), uint16(t))
	}
	b.Ops = append(b.Ops, store.Put(blockKey(kindBlock, k.bucket, seq), lines), store.Put(blockKey(kindTerms, k.bucket, seq), row))
}

func blockKey(kind byte, bucket uint32, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(bucketKey(kind, bucket), seq)
}

// termOf hashes what can be asked for, without brackets and case.
func termOf(s string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(plainTerm(s)))
	return h.Sum32()
}

// numbers returns the events of a block that may have the term.
func numbers(dst []uint16, row []byte, term uint32) []uint16 {
	lo, hi := 0, len(row)/termOctets
	for lo < hi {
		if mid := (lo + hi) / 2; binary.BigEndian.Uint32(row[mid*termOctets:]) < term {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	for ; lo < len(row)/termOctets && binary.BigEndian.Uint32(row[lo*termOctets:]) == term; lo++ {
		dst = append(dst, binary.BigEndian.Uint16(row[lo*termOctets+4:]))
	}
	return dst
}
