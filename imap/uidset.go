package imap

import (
	"iter"
	"sort"
	"strconv"
)

// UIDRange is Start to Stop, both included.
type UIDRange struct{ Start, Stop UID }

// UIDSet is a set of UIDs as ascending, disjoint, non-adjacent ranges. A nil set is empty, but where a method says
// otherwise.
type UIDSet []UIDRange

// Add puts one UID into the set; constant time at the end.
func (s *UIDSet) Add(u UID) { s.AddRange(u, u) }

// AddRange puts a range into the set.
func (s *UIDSet) AddRange(lo, hi UID) {
	t := *s
	if n := len(t); n == 0 || lo > t[n-1].Stop {
		if n > 0 && t[n-1].Stop+1 == lo {
			t[n-1].Stop = hi
			return
		}
		*s = append(t, UIDRange{lo, hi})
		return
	}
	i := sort.Search(len(t), func(i int) bool { return t[i].Stop >= lo || t[i].Stop+1 == lo })
	j := i
	for j < len(t) && (t[j].Start <= hi || t[j].Start == hi+1) {
		lo, hi = min(lo, t[j].Start), max(hi, t[j].Stop)
		j++
	}
	if i == j {
		t = append(t, UIDRange{})
		copy(t[i+1:], t[i:])
		t[i] = UIDRange{lo, hi}
		*s = t
		return
	}
	t[i] = UIDRange{lo, hi}
	*s = append(t[:i+1], t[j:]...)
}

// Contains reports whether u is in the set.
func (s UIDSet) Contains(u UID) bool {
	i := sort.Search(len(s), func(i int) bool { return s[i].Stop >= u })
	return i < len(s) && s[i].Start <= u
}

// Len is the number of UIDs in the set.
func (s UIDSet) Len() int {
	n := 0
	for _, r := range s {
		n += int(r.Stop-r.Start) + 1
	}
	return n
}

// Equal reports whether both sets hold the same UIDs.
func (s UIDSet) Equal(t UIDSet) bool {
	if len(s) != len(t) {
		return false
	}
	for i := range s {
		if s[i] != t[i] {
			return false
		}
	}
	return true
}

// Clone returns a copy that shares no memory with s.
func (s UIDSet) Clone() UIDSet { return append(UIDSet(nil), s...) }

// Min is the lowest UID of the set, 0 if it is empty.
func (s UIDSet) Min() UID {
	if len(s) == 0 {
		return 0
	}
	return s[0].Start
}

// Max is the highest UID of the set, 0 if it is empty.
func (s UIDSet) Max() UID {
	if len(s) == 0 {
		return 0
	}
	return s[len(s)-1].Stop
}

// All yields the UIDs in ascending order.
func (s UIDSet) All() iter.Seq[UID] {
	return func(yield func(UID) bool) {
		for _, r := range s {
			for u := r.Start; ; u++ {
				if !yield(u) {
					return
				}
				if u == r.Stop { // not in the loop's condition: Stop may be the highest UID there is
					break
				}
			}
		}
	}
}

// Intersect returns the UIDs that are in both sets, in time linear in the number of ranges, or logarithmic in the
// longer one where the other is short.
func (s UIDSet) Intersect(t UIDSet) UIDSet {
	if len(s) > len(t) {
		s, t = t, s
	}
	var out UIDSet
	j := 0
	for _, r := range s {
		if j < len(t) && t[j].Stop < r.Start {
			j += sort.Search(len(t)-j, func(i int) bool { return t[j+i].Stop >= r.Start })
		}
		for ; j < len(t) && t[j].Start <= r.Stop; j++ {
			out = append(out, UIDRange{max(r.Start, t[j].Start), min(r.Stop, t[j].Stop)})
			if t[j].Stop > r.Stop {
				break
			}
		}
	}
	return out
}

// Union returns the UIDs that are in either set.
func (s UIDSet) Union(t UIDSet) UIDSet {
	if len(s) == 0 {
		return t.Clone()
	}
	out := make(UIDSet, 0, len(s)+len(t))
	i, j := 0, 0
	for i < len(s) || j < len(t) {
		var r UIDRange
		if j == len(t) || i < len(s) && s[i].Start <= t[j].Start {
			r, i = s[i], i+1
		} else {
			r, j = t[j], j+1
		}
		if n := len(out); n > 0 && (r.Start <= out[n-1].Stop || r.Start == out[n-1].Stop+1) {
			out[n-1].Stop = max(out[n-1].Stop, r.Stop)
			continue
		}
		out = append(out, r)
	}
	return out
}

// Subtract returns the UIDs of s that are not in t.
func (s UIDSet) Subtract(t UIDSet) UIDSet {
	if len(t) == 0 || len(s) == 0 {
		return s.Clone()
	}
	var out UIDSet
	j := 0
	for _, r := range s {
		for j < len(t) && t[j].Stop < r.Start {
			j++
		}
		k, whole := j, false
		for ; k < len(t) && t[k].Start <= r.Stop; k++ {
			if t[k].Start > r.Start {
				out = append(out, UIDRange{r.Start, t[k].Start - 1})
			}
			if t[k].Stop >= r.Stop {
				whole = true
				break
			}
			r.Start = t[k].Stop + 1
		}
		if !whole {
			out = append(out, r)
		}
	}
	return out
}

// Rank is the number of UIDs of the set that are at most u: the sequence number of u, if the set holds it.
func (s UIDSet) Rank(u UID) int {
	n := 0
	for _, r := range s {
		if r.Start > u {
			break
		}
		n += int(min(r.Stop, u)-r.Start) + 1
	}
	return n
}

// At returns the n-th UID of the set, counting from 1, or 0 if there are fewer.
func (s UIDSet) At(n int) UID {
	if n < 1 {
		return 0
	}
	for _, r := range s {
		if c := int(r.Stop-r.Start) + 1; n > c {
			n -= c
			continue
		}
		return r.Start + UID(n-1)
	}
	return 0
}

// String is the set in the form of RFC 9051 sequence-set: "1:3,7". An empty set gives "".
func (s UIDSet) String() string { return string(s.Append(nil)) }

// Append appends the form that String gives to dst.
func (s UIDSet) Append(dst []byte) []byte {
	for i, r := range s {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendUint(dst, uint64(r.Start), 10)
		if r.Stop != r.Start {
			dst = append(dst, ':')
			dst = strconv.AppendUint(dst, uint64(r.Stop), 10)
		}
	}
	return dst
}
