package imap

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
)

// fragmented is a view of n messages of which every other one is gone.
func fragmented(n int) *conn {
	c := &conn{limits: Limits{}.withDefaults(), state: stateSelected, sel: &selected{}}
	for i := range n {
		c.sel.uids.Add(UID(2*i + 1))
	}
	return c
}

// TestSetsOfSearch: a search of short keys, each of which stands for a set as large as the mailbox, is refused before it fills the memory;
// a few such keys are not.
func TestSetsOfSearch(t *testing.T) {
	c := fragmented(50_000)
	c.saved = c.sel.uids
	for _, key := range []string{"OLD", "1:*", "UID 1:*", "$", "UID $", "NOT OLD", "(OLD)"} {
		for n, want := range map[int]bool{5: true, 900: false} {
			text := strings.TrimSuffix(strings.Repeat(key+" ", n), " ")
			s := &searchReader{parser: &parser{b: []byte(text), l: &c.limits}, c: c}
			_, err := s.criteria()
			if wide := key != "UID 1:*"; (err == nil) != (want || !wide) {
				t.Errorf("%d times %s: %v", n, key, err)
			}
			if most := maxSetRanges + 9*len(c.sel.uids); s.ranges > most {
				t.Errorf("%d times %s: %d ranges", n, key, s.ranges)
			}
		}
	}
}

// TestOverlappingSets: what a client names ten thousand times is looked up once.
func TestOverlappingSets(t *testing.T) {
	c := fragmented(20_000)
	set := make([]setRange, 10_000)
	for i := range set {
		set[i] = setRange{1, 0}
	}
	set[7] = setRange{0, 3} // *:3
	uids, err := c.resolve(set, false, false)
	if err != nil || !uids.Equal(c.sel.uids) {
		t.Errorf("%d ranges, %v", len(uids), err)
	}
	if _, err := c.resolve([]setRange{{1, 2}, {5, 20_001}}, false, false); err == nil {
		t.Error("a message that is not there was found")
	}
	if _, err := fragmented(0).resolve([]setRange{{0, 0}}, false, false); err == nil {
		t.Error("the last message of an empty mailbox was found")
	}
	for _, s := range [][]setRange{{{1, 2}, {4, 4}}, {{3, 0}, {2, 1}}, {{0, 0}}} {
		got, err := c.resolve(s, false, false)
		search := (&searchReader{parser: &parser{l: &c.limits}, c: c}).seqSet(s, false)
		if err != nil || !got.Equal(search) {
			t.Errorf("%v: %v and %v, %v", s, got, search, err)
		}
	}
}

// TestDeepThread: a thread as deep as the mailbox is long, with a sibling at each level, is made and told in time that grows with its length.
func TestDeepThread(t *testing.T) {
	const n = 30_000
	var links []ThreadLink
	for i := range n { // all ids are referred to before their messages come
		links = append(links, ThreadLink{UID: UID(i + 1), ID: uint64(4*n + i), Refs: []uint64{uint64(i + 1), uint64(2*n + i)}})
	}
	for i := range n {
		l := ThreadLink{UID: UID(n + i + 1), ID: uint64(i + 1)}
		if i > 0 {
			l.Refs = []uint64{uint64(i)}
		}
		links = append(links, l)
	}
	threads := ThreadsOf(ThreadReferences, links)
	c := fragmented(0)
	c.pool = &buffers{}
	c.begin()
	for i := range threads {
		c.tellThread(&threads[i], nil)
	}
	if open, shut := strings.Count(string(c.out), "("), strings.Count(string(c.out), ")"); open != shut || open < n/100 {
		t.Errorf("%d parentheses are opened, %d closed", open, shut)
	}
}

// TestTellThread: threads are told as a recursive writer tells them.
func TestTellThread(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var grow func(depth int) Thread
	next := UID(0)
	grow = func(depth int) Thread {
		next++
		x := Thread{UID: next}
		if r.IntN(8) == 0 {
			x.UID = 0 // a message that is not there
		}
		for range r.IntN(4) {
			if depth > 0 {
				x.Children = append(x.Children, grow(depth-1))
			}
		}
		return x
	}
	for range 2000 {
		thread := grow(r.IntN(7))
		c := fragmented(0)
		c.pool = &buffers{}
		c.begin()
		c.tellThread(&thread, nil)
		if want := threadText(&thread); string(c.out) != want {
			t.Fatalf("%s, want %s", c.out, want)
		}
	}
}

func threadText(t *Thread) string {
	var chain []string
	for {
		if t.UID != 0 {
			chain = append(chain, strconv.Itoa(int(t.UID)))
		}
		if len(t.Children) != 1 {
			break
		}
		t = &t.Children[0]
	}
	out := strings.Join(chain, " ")
	if len(t.Children) > 0 && out != "" {
		out += " "
	}
	for i := range t.Children {
		out += "(" + threadText(&t.Children[i]) + ")"
	}
	return out
}

// TestPatterns: wildcards in a row are one, and all patterns of a LIST together are limited.
func TestPatterns(t *testing.T) {
	for _, x := range []struct {
		pattern, name string
		want          bool
	}{{"**%*", "a/b", true}, {"%%", "a/b", false}, {"%%", "ab", true}, {"%*", "a/b", true}, {"*%", "a/b", true}, {"a%%/b", "aaa/b", true}, {"%/%", "a/b", true}, {"%/%", "a/b/c", false}} {
		if got := matchPattern(x.pattern, x.name); got != x.want {
			t.Errorf("%s on %s: %v", x.pattern, x.name, got)
		}
	}
	l := Limits{}.withDefaults()
	for n, want := range map[int]bool{3: true, 300: false} {
		text := "(" + strings.TrimSuffix(strings.Repeat(strings.Repeat("*a", 400)+" ", n), " ") + ")"
		if err := (&listOptions{}).readPatterns(&parser{b: []byte(text), l: &l}); (err == nil) != want {
			t.Errorf("%d patterns: %v", n, err)
		}
	}
}
