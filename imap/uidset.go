package imap

import "sort"

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
