package filter

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/samotop/samotop/junk"
	"github.com/samotop/samotop/store"
)

// limit takes out old rows of tables that have grown too large. The lesson lock is held.
func (f *Filter) limit(ctx context.Context, owner uint64, own, shared *sums) error {
	if int(own.Words) > f.mostWords(owner) || int(own.Learned) > f.c.MaxLearned {
		if err := f.trim(ctx, owner); err != nil {
			return err
		}
	}
	if owner != Shared && int(shared.Words) > f.mostWords(Shared) {
		return f.trim(ctx, Shared)
	}
	return nil
}

func (f *Filter) mostWords(owner uint64) int {
	if owner == Shared {
		return f.c.MaxSharedWords
	}
	return f.c.MaxWords
}

// aged is a row that may go, and when it was last of use.
type aged struct {
	hash uint64
	day  uint32
	n    uint32
}

// trim takes out words not met in the last WordDays before the last lesson and, where a table is over its limit, the oldest
// and rarest until a fifth is free.
func (f *Filter) trim(ctx context.Context, owner uint64) error {
	var s sums
	err := f.c.Engine.View(ctx, func(r store.Reader) (err error) {
		s, err = readSums(ctx, r, owner)
		return err
	})
	if err != nil {
		return err
	}
	oldest := shift(s.Day, -int32(f.c.WordDays))
	words, err := f.old(ctx, owner, kindWord, oldest, f.mostWords(owner))
	if err != nil {
		return err
	}
	lessons, err := f.old(ctx, owner, kindLearned, oldest, f.c.MaxLearned)
	if err != nil {
		return err
	}
	s.Words, s.Learned, s.Swept = shift(s.Words, -int32(len(words))), shift(s.Learned, -int32(len(lessons))), s.Day
	for _, x := range []struct {
		kind byte
		rows []aged
	}{{kindWord, words}, {kindLearned, lessons}} {
		for part := range slices.Chunk(x.rows, 10_000) {
			b := &store.Batch{Deletes: true}
			for _, row := range part {
				b.Ops = append(b.Ops, store.Delete(hashKey(nil, x.kind, owner, row.hash)))
			}
			if err := store.Commit(ctx, f.c.Engine, b); err != nil {
				return fmt.Errorf("filter: trim: %w", err)
			}
		}
	}
	err = store.Commit(ctx, f.c.Engine, &store.Batch{Ops: []store.Op{store.Put(ownerKey(kindSums, owner), s.encode())}})
	f.gen.Add(1)
	f.sums.drop(owner)
	if len(words) > 0 {
		f.words.forget(owner)
	}
	return err
}

// pageRows is how many rows are read in one View.
const pageRows = 20_000

// old lists the rows of a table that are to go.
func (f *Filter) old(ctx context.Context, owner uint64, kind byte, oldest uint32, most int) (out []aged, err error) {
	var rows []aged
	err = f.each(ctx, ownerKey(kind, owner), func(kv store.KV) error {
		x := aged{hash: hashOf(kv.Key)}
		if kind == kindWord {
			w, err := decodeWord(kv.Value)
			if err != nil {
				return err
			}
			x.day, x.n = w.day, w.Ham+w.Spam
		} else {
			l, err := decodeLearned(kv.Value)
			if err != nil {
				return err
			}
			x.day = l.day
		}
		rows = append(rows, x)
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(rows, func(a, b aged) int {
		if a.day != b.day {
			return int(int64(a.day) - int64(b.day))
		}
		return int(int64(a.n) - int64(b.n))
	})
	n, _ := slices.BinarySearchFunc(rows, oldest, func(x aged, day uint32) int { return int(int64(x.day) - int64(day)) })
	if len(rows)-n > most {
		n = len(rows) - most*4/5
	}
	return rows[:n], nil
}

// each reads the rows that begin with prefix, a page at a time.
func (f *Filter) each(ctx context.Context, prefix []byte, fn func(store.KV) error) error {
	lo, hi := prefix, after(prefix)
	for more := true; more; {
		more = false
		err := f.c.Engine.View(ctx, func(r store.Reader) error {
			n := 0
			for kv, err := range r.Scan(ctx, lo, hi, false) {
				if err != nil {
					return err
				}
				if n == pageRows {
					lo, more = append([]byte(nil), kv.Key...), true
					return nil
				}
				n++
				if err := fn(kv); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// after is the first key that does not begin with prefix.
func after(prefix []byte) []byte {
	out := append([]byte(nil), prefix...)
	for i := len(out) - 1; i >= 0; i-- {
		if out[i]++; out[i] != 0 {
			return out[:i+1]
		}
	}
	return nil
}

// Sweep takes out of all tables what is old; call it each day.
func (f *Filter) Sweep(ctx context.Context) error {
	tables, err := f.tables(ctx)
	if err != nil {
		return err
	}
	today := f.day()
	for owner, s := range tables {
		switch {
		case owner != Shared && s.Day+uint32(f.c.IdleDays) < today:
			err = f.Forget(ctx, owner)
		case s.Swept < s.Day:
			f.learn.Lock()
			err = f.trim(ctx, owner)
			f.learn.Unlock()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (f *Filter) tables(ctx context.Context) (map[uint64]sums, error) {
	out := map[uint64]sums{}
	err := f.each(ctx, ownerKey(kindSums, 0)[:2], func(kv store.KV) error {
		s, err := decodeSums(kv.Value)
		out[binary.BigEndian.Uint64(kv.Key[2:])] = s
		return err
	})
	return out, err
}

// Forget forgets all that was learned for an owner. What he gave to the shared table stays in it.
func (f *Filter) Forget(ctx context.Context, owner uint64) error {
	f.learn.Lock()
	defer f.learn.Unlock()
	b := &store.Batch{Ops: []store.Op{store.Delete(ownerKey(kindSums, owner))}, Deletes: true}
	for _, kind := range []byte{kindWord, kindLearned} {
		lo := ownerKey(kind, owner)
		b.Ops = append(b.Ops, store.DeleteRange(lo, after(lo)))
	}
	err := store.Commit(ctx, f.c.Engine, b)
	f.gen.Add(1)
	f.sums.drop(owner)
	f.words.forget(owner)
	if err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("filter: forget: %w", err)
	}
	return err
}

// Stats is what is known for one owner.
type Stats struct {
	Owner               uint64
	Ham, Spam           uint32 // messages learned
	Words               uint32
	GivenHam, GivenSpam uint32 // messages that the shared table has of him
	LastDay             uint32 // of the last lesson, in days since 1970; 0: none
}

// Stats tells what is known for an owner.
func (f *Filter) Stats(ctx context.Context, owner uint64) (Stats, error) {
	s, err := f.sumsOf(ctx, owner)
	return Stats{owner, s.Ham, s.Spam, s.Words, s.GivenHam, s.GivenSpam, s.Day}, err
}

// Owners lists who has learned anything, Shared among them.
func (f *Filter) Owners(ctx context.Context) ([]uint64, error) {
	tables, err := f.tables(ctx)
	out := make([]uint64, 0, len(tables))
	for o := range tables {
		out = append(out, o)
	}
	slices.Sort(out)
	return out, err
}

// Enough reports whether a table alone holds enough to judge by.
func (f *Filter) Enough(s Stats) bool {
	least := max(f.c.Classifier.MinMessages, 1)
	if f.c.Classifier.MinMessages == 0 {
		least = junk.DefaultMinMessages
	}
	return s.Ham >= least && s.Spam >= least
}
