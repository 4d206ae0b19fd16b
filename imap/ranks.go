package imap

import "sort"

// ranks turns UIDs into sequence numbers and back, in any order, in logarithmic time.
type ranks struct {
	set    UIDSet
	before []int // UIDs in the ranges before each one
}

func newRanks(set UIDSet) *ranks {
	r := &ranks{set: set, before: make([]int, len(set)+1)}
	for i, x := range set {
		r.before[i+1] = r.before[i] + int(x.Stop-x.Start) + 1
	}
	return r
}

// len is the number of UIDs.
func (r *ranks) len() int { return r.before[len(r.set)] }

// of returns the sequence number of u, 0 if it is not in the set.
func (r *ranks) of(u UID) int {
	i := sort.Search(len(r.set), func(i int) bool { return r.set[i].Stop >= u })
	if i == len(r.set) || r.set[i].Start > u {
		return 0
	}
	return r.before[i] + int(u-r.set[i].Start) + 1
}

// add puts the UIDs of the sequence numbers lo to hi, which exist, into a set.
func (r *ranks) add(out UIDSet, lo, hi int) UIDSet {
	for i := sort.SearchInts(r.before, lo) - 1; i < len(r.set) && r.before[i] < hi; i++ {
		from, to := max(lo-r.before[i], 1), min(hi, r.before[i+1])-r.before[i]
		out.AddRange(r.set[i].Start+UID(from-1), r.set[i].Start+UID(to-1))
	}
	return out
}
