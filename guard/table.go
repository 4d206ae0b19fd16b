package guard

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"sync"
	"time"
)

// table counts things by name in a fixed amount of memory: a million names cost the same as ten. A name is kept as a keyed
// hash; each counter fades with its time constant; where there is no room the name that was seen longest ago in its set of
// ways gives way. It is safe for concurrent use.
type table struct {
	key  [16]byte // of the hash, so that nobody can choose names that meet
	taus [counters]float64
	life uint32 // seconds after which a name that was not seen is forgotten
	sets []set
}

const (
	counters = 4  // of each name
	ways     = 16 // names of a set
)

// values are the counters of a name.
type values [counters]float32

// slot is a name. A slot whose at is 0 is free.
type slot struct {
	hash   uint64
	first  uint32 // seconds since tableEpoch
	at     uint32 // when the values were right
	values values
}

// set holds the names whose hashes lead to it.
type set struct {
	mu    sync.Mutex
	dirty bool // there is what saved has not taken
	slots [ways]slot
}

// tableEpoch is where seconds are counted from: 136 years.
var tableEpoch = time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)

func seconds(t time.Time) uint32 {
	return uint32(min(max(int64(t.Sub(tableEpoch)/time.Second), 1), math.MaxUint32))
}

// newTable makes a table for about n names. A counter without time constant does not fade.
func newTable(n int, key [16]byte, life time.Duration, taus [counters]time.Duration) *table {
	t := &table{key: key, life: uint32(max(1, min(int64(life/time.Second), math.MaxUint32))), sets: make([]set, max(1, (n+ways-1)/ways))}
	for i, tau := range taus {
		t.taus[i] = tau.Seconds()
	}
	return t
}

// name is the hash of a kind of name and the name.
func (t *table) name(kind byte, name []byte) uint64 {
	var room [128]byte
	b := append(append(append(room[:0], t.key[:]...), kind), name...)
	sum := sha256.Sum256(b)
	return binary.BigEndian.Uint64(sum[:])
}

// tagBits of the hash of an account's name tell whose it is, so that all of its names can be forgotten.
const tagBits = 24

// tag is the mark of an account's names; 0 is nobody's.
func (t *table) tag(account []byte) uint64 {
	if len(account) == 0 {
		return 0
	}
	return max(1, t.name('@', account)>>(64-tagBits))
}

// nameOf is name, of what is kept for an account. With the tag 0 it is name.
func (t *table) nameOf(tag uint64, kind byte, name []byte) uint64 {
	hash := t.name(kind, name)
	if tag == 0 {
		return hash
	}
	return hash<<tagBits>>tagBits | tag<<(64-tagBits)
}

// forget removes all names of an account, and with them one in some millions of others.
func (t *table) forget(tag uint64) (n int) {
	for i := range t.sets {
		s := &t.sets[i]
		s.mu.Lock()
		for j := range s.slots {
			if x := &s.slots[j]; x.at != 0 && tag != 0 && x.hash>>(64-tagBits) == tag {
				*x, s.dirty = slot{}, true
				n++
			}
		}
		s.mu.Unlock()
	}
	return n
}

func (t *table) set(hash uint64) *set { return &t.sets[hash%uint64(len(t.sets))] }

// faded returns the values as they are now.
func (t *table) faded(s *slot, now uint32) values {
	v := s.values
	if now <= s.at {
		return v
	}
	for i, tau := range t.taus {
		if tau > 0 && v[i] != 0 {
			v[i] *= float32(math.Exp(-float64(now-s.at) / tau))
		}
	}
	return v
}

// known is what a table knows of a name.
type known struct {
	values values
	first  time.Time // zero: nothing is known
}

func (t *table) get(hash uint64, now time.Time) (k known) {
	n := seconds(now)
	s := t.set(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.slots {
		if x := &s.slots[i]; x.at != 0 && x.hash == hash && !t.over(x, n) {
			return known{t.faded(x, n), tableEpoch.Add(time.Duration(x.first) * time.Second)}
		}
	}
	return k
}

func (t *table) over(x *slot, now uint32) bool { return now > x.at && now-x.at > t.life }

// add adds to the counters of a name, none of which goes below zero, and returns what is known then.
func (t *table) add(hash uint64, now time.Time, delta values) known {
	n := seconds(now)
	s := t.set(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dirty = true
	x := s.place(hash, n, t)
	x.values = t.faded(x, n)
	x.at = max(x.at, n)
	for i := range x.values {
		x.values[i] = min(max(x.values[i]+delta[i], 0), maxCount)
	}
	return known{x.values, tableEpoch.Add(time.Duration(x.first) * time.Second)}
}

const maxCount = 1 << 20 // of a counter: what was worse once fades in time

// remove forgets a name, and reports whether it was known.
func (t *table) remove(hash uint64) bool {
	s := t.set(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.slots {
		if x := &s.slots[i]; x.at != 0 && x.hash == hash {
			*x, s.dirty = slot{}, true
			return true
		}
	}
	return false
}

// place finds the slot of a name, or makes one.
func (s *set) place(hash uint64, now uint32, t *table) *slot {
	oldest := &s.slots[0]
	for i := range s.slots {
		x := &s.slots[i]
		if x.hash == hash && x.at != 0 && !t.over(x, now) {
			return x
		}
		if x.at < oldest.at {
			oldest = x
		}
	}
	*oldest = slot{hash: hash, first: now, at: now}
	return oldest
}

// slotOctets is the size of a slot in a row.
const slotOctets = 8 + 4 + 4 + 4*counters

// appendSet appends the row of a set: all its slots, so that every row has the same size.
func appendSet(b []byte, slots *[ways]slot) []byte {
	for i := range slots {
		x := &slots[i]
		b = binary.BigEndian.AppendUint64(b, x.hash)
		b = binary.BigEndian.AppendUint32(b, x.first)
		b = binary.BigEndian.AppendUint32(b, x.at)
		for _, v := range x.values {
			b = binary.BigEndian.AppendUint32(b, math.Float32bits(v))
		}
	}
	return b
}

// readSet reads what appendSet wrote; false: it is something else.
func readSet(b []byte) (slots [ways]slot, ok bool) {
	if len(b) != ways*slotOctets {
		return slots, false
	}
	for i := range slots {
		x := &slots[i]
		x.hash = binary.BigEndian.Uint64(b)
		x.first, x.at = binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint32(b[12:])
		for j := range x.values {
			v := math.Float32frombits(binary.BigEndian.Uint32(b[16+4*j:]))
			if !(v >= 0 && v <= maxCount) { // also what is no number
				return slots, false
			}
			x.values[j] = v
		}
		b = b[slotOctets:]
	}
	return slots, true
}

// saved calls fn with the row of each set that was changed since the last time, and after some of them, and at the end, commit.
// What could not be committed counts as changed again.
func (t *table) saved(fn func(i int, row []byte), commit func() error) error {
	var taken []int
	flush := func() error {
		if len(taken) == 0 {
			return nil
		}
		err := commit()
		if err != nil {
			for _, i := range taken {
				s := &t.sets[i]
				s.mu.Lock()
				s.dirty = true
				s.mu.Unlock()
			}
		}
		taken = taken[:0]
		return err
	}
	for i := range t.sets {
		s := &t.sets[i]
		s.mu.Lock()
		if !s.dirty {
			s.mu.Unlock()
			continue
		}
		row := appendSet(make([]byte, 0, ways*slotOctets), &s.slots)
		s.dirty = false
		s.mu.Unlock()
		fn(i, row)
		if taken = append(taken, i); len(taken) == keepRows {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}
