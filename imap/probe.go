package imap

import "math/bits"

// probe is a hash table of places in a slice, whose elements hold the keys themselves: it takes eight octets a key, has nothing
// that the collector must look at, and costs about two cache misses. The hashes must be such that nobody outside chooses them.
type probe struct {
	slots []int32 // place and 1; 0: free
	shift int
	count int
}

// fibonacci spreads numbers that follow each other over the upper bits.
const fibonacci = 0x9E3779B97F4A7C15

// newProbe makes a table for n keys; grow makes it larger.
func newProbe(n int) probe {
	b := bits.Len(uint(max(2*n, 16) - 1))
	return probe{slots: make([]int32, 1<<b), shift: 64 - b}
}

// find returns the slot of a hash, and the place that is in it: -1 if none of those with that hash is the same.
func (p *probe) find(hash uint64, same func(at int) bool) (slot, at int) {
	for slot = int(hash >> p.shift); ; slot = (slot + 1) & (len(p.slots) - 1) {
		if p.slots[slot] == 0 {
			return slot, -1
		}
		if at = int(p.slots[slot] - 1); same(at) {
			return slot, at
		}
	}
}

// put fills a free slot.
func (p *probe) put(slot, at int) {
	p.slots[slot] = int32(at + 1)
	p.count++
}

// full tells that it is time to grow.
func (p *probe) full() bool { return 4*p.count > 3*len(p.slots) }

// grow makes a table of twice the size.
func (p *probe) grow(hash func(at int) uint64) {
	next := newProbe(len(p.slots))
	for _, s := range p.slots {
		if s != 0 {
			slot, _ := next.find(hash(int(s-1)), func(int) bool { return false })
			next.put(slot, int(s-1))
		}
	}
	*p = next
}
