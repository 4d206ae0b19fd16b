package filter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/samotop/samotop/junk"
	"github.com/samotop/samotop/store"
)

// Kind is what a message is to its owner.
type Kind uint8

const (
	Unknown Kind = iota // what was learned of it is unlearned
	Ham
	Spam
)

func (k Kind) String() string { return [...]string{"unknown", "ham", "spam"}[min(k, Spam)] }

// ParseKind reads what String writes.
func ParseKind(s string) (Kind, error) {
	for k := Unknown; k <= Spam; k++ {
		if k.String() == s {
			return k, nil
		}
	}
	return Unknown, fmt.Errorf("%q is not ham, spam or unknown", s)
}

// Lesson is a message to be learned.
type Lesson struct {
	ID      string // the message's own, such as its EMAILID
	Kind    Kind
	Content io.Reader
}

// MaxLessons is the most that LearnAll takes at once.
const MaxLessons = 64

// Learn learns one message for an owner; changed is false if it was known so already.
func (f *Filter) Learn(ctx context.Context, owner uint64, id string, kind Kind, content io.Reader) (changed bool, err error) {
	n, err := f.LearnAll(ctx, owner, []Lesson{{id, kind, content}})
	return n > 0, err
}

// LearnAll learns some messages in one durable step, and returns how many of them changed anything.
func (f *Filter) LearnAll(ctx context.Context, owner uint64, lessons []Lesson) (changed int, err error) {
	if len(lessons) > MaxLessons {
		return 0, fmt.Errorf("filter: %d lessons at once, more than %d", len(lessons), MaxLessons)
	}
	tokens := make([]*junk.Tokens, len(lessons))
	for i, l := range lessons {
		if tokens[i], err = junk.Read(l.Content, f.c.Limits); err != nil {
			return 0, fmt.Errorf("filter: learn: %w", err)
		}
	}
	f.learn.Lock()
	defer f.learn.Unlock()
	s := &step{f: f, owner: owner, rows: map[uint64]*learned{}, day: f.day()}
	s.tables[0].owner, s.tables[1].owner = owner, Shared
	if err := s.do(ctx, lessons, tokens); err != nil {
		return 0, fmt.Errorf("filter: learn: %w", err)
	}
	return s.changed, f.limit(ctx, owner, &s.tables[0].sums, &s.tables[1].sums)
}

// step is one durable change of an owner's table, and of the shared one.
type step struct {
	f       *Filter
	owner   uint64
	day     uint32
	tables  [2]change // the owner's and the shared
	rows    map[uint64]*learned
	changed int
}

// change is of one table.
type change struct {
	owner uint64
	sums  sums
	delta map[uint64]*[2]int32 // ham and spam, of each word
}

// add counts a message n times, 1 or -1.
func (c *change) add(t *junk.Tokens, k Kind, n int32) {
	if c.delta == nil {
		c.delta = map[uint64]*[2]int32{}
	}
	for _, x := range t.List {
		d := c.delta[x.Hash]
		if d == nil {
			d = new([2]int32)
			c.delta[x.Hash] = d
		}
		d[k-Ham] += n
	}
	if k == Ham {
		c.sums.Ham = shift(c.sums.Ham, n)
	} else {
		c.sums.Spam = shift(c.sums.Spam, n)
	}
}

// shift adds, and stays at 0.
func shift(v uint32, n int32) uint32 { return uint32(max(0, int64(v)+int64(n))) }

func (s *step) do(ctx context.Context, lessons []Lesson, tokens []*junk.Tokens) error {
	b := &store.Batch{}
	err := s.f.c.Engine.View(ctx, func(r store.Reader) (err error) {
		for i := range s.tables {
			if s.tables[i].sums, err = readSums(ctx, r, s.tables[i].owner); err != nil {
				return err
			}
		}
		for i, l := range lessons {
			if err := s.lesson(ctx, r, l, tokens[i]); err != nil {
				return err
			}
		}
		if s.changed == 0 {
			return nil
		}
		return s.batch(ctx, r, b)
	})
	if err != nil || s.changed == 0 {
		return err
	}
	return s.commit(ctx, b)
}

// lesson takes one message into account.
func (s *step) lesson(ctx context.Context, r store.Reader, l Lesson, t *junk.Tokens) error {
	hash := s.f.c.Limits.Key.Sum([]byte(l.ID))
	was, ok := s.rows[hash]
	if !ok {
		was = &learned{}
		v, err := r.Get(ctx, hashKey(nil, kindLearned, s.owner, hash))
		switch {
		case err == nil:
			if *was, err = decodeLearned(v); err != nil {
				return err
			}
		case !errors.Is(err, store.ErrNotFound):
			return err
		}
	}
	if was.kind == l.Kind {
		return nil
	}
	s.changed++
	own, shared := &s.tables[0], &s.tables[1]
	if was.kind != Unknown {
		if was.version == junk.Version {
			own.add(t, was.kind, -1)
			if was.given {
				shared.add(t, was.kind, -1)
				s.given(was.kind, -1)
			}
		}
		own.sums.Learned = shift(own.sums.Learned, -1)
	}
	now := &learned{kind: l.Kind, version: junk.Version, day: s.day}
	if l.Kind != Unknown {
		own.add(t, l.Kind, 1)
		own.sums.Learned++
		if s.owner != Shared && *s.count(l.Kind) < uint32(s.f.c.MaxGiven) {
			now.given = true
			shared.add(t, l.Kind, 1)
			s.given(l.Kind, 1)
		}
	}
	s.rows[hash] = now
	return nil
}

// count is how many messages of a kind the owner gave to the shared table.
func (s *step) count(k Kind) *uint32 {
	if k == Ham {
		return &s.tables[0].sums.GivenHam
	}
	return &s.tables[0].sums.GivenSpam
}

func (s *step) given(k Kind, n int32) { *s.count(k) = shift(*s.count(k), n) }

// batch writes what has changed.
func (s *step) batch(ctx context.Context, r store.Reader, b *store.Batch) error {
	for hash, l := range s.rows {
		key := hashKey(nil, kindLearned, s.owner, hash)
		if l.kind == Unknown {
			b.Ops = append(b.Ops, store.Delete(key))
		} else {
			b.Ops = append(b.Ops, store.Put(key, l.encode()))
		}
	}
	for i := range s.tables {
		c := &s.tables[i]
		if i > 0 && c.delta == nil {
			continue
		}
		hashes := slices.Sorted(maps.Keys(c.delta))
		ws, err := readWords(ctx, r, c.owner, hashes)
		if err != nil {
			return err
		}
		for j, h := range hashes {
			b.Ops = append(b.Ops, c.word(h, ws[j], s.day))
		}
		c.sums.Day = s.day
		b.Ops = append(b.Ops, store.Put(ownerKey(kindSums, c.owner), c.sums.encode()))
	}
	return nil
}

// word writes one word.
func (c *change) word(hash uint64, w word, day uint32) store.Op {
	was := w.Ham+w.Spam > 0
	d := c.delta[hash]
	w.Ham, w.Spam = shift(w.Ham, d[0]), shift(w.Spam, d[1])
	is := w.Ham+w.Spam > 0
	switch {
	case is && !was:
		c.sums.Words++
	case was && !is:
		c.sums.Words = shift(c.sums.Words, -1)
	}
	if !is {
		return store.Delete(hashKey(nil, kindWord, c.owner, hash))
	}
	w.day = day
	return store.Put(hashKey(nil, kindWord, c.owner, hash), w.encode(nil))
}

// commit makes it durable, and takes out of memory what is no longer so.
func (s *step) commit(ctx context.Context, b *store.Batch) error {
	defer func() { // also where the outcome is not known
		s.f.gen.Add(1)
		for i := range s.tables {
			s.f.renew(&s.tables[i])
		}
	}()
	return store.Commit(ctx, s.f.c.Engine, b)
}

// renew drops the words of a change from memory; they are read again when they are met.
func (f *Filter) renew(c *change) {
	f.sums.drop(c.owner)
	f.words.mu.Lock()
	defer f.words.mu.Unlock()
	for h := range c.delta {
		f.words.drop(c.owner, h)
	}
}

// drop takes a word out; the lock is held.
func (c *wordCache) drop(owner, hash uint64) {
	at := c.place(owner, hash)
	for range 2 {
		if e := &c.of[at]; e.owner == owner+1 && e.hash == hash {
			*e = cached{}
		}
		at ^= 1
	}
}
