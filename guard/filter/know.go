package filter

import (
	"context"
	"errors"
	"slices"

	"github.com/samotop/samotop/junk"
	"github.com/samotop/samotop/store"
)

// readSums reads the sums of a table; they are zero if there is none.
func readSums(ctx context.Context, r store.Reader, owner uint64) (sums, error) {
	v, err := r.Get(ctx, ownerKey(kindSums, owner))
	if errors.Is(err, store.ErrNotFound) {
		return sums{}, nil
	}
	if err != nil {
		return sums{}, err
	}
	return decodeSums(v)
}

// sumsOf is readSums from memory, where they are there.
func (f *Filter) sumsOf(ctx context.Context, owner uint64) (s sums, err error) {
	if s, ok := f.sums.get(owner); ok {
		return s, nil
	}
	gen := f.gen.Load()
	err = f.c.Engine.View(ctx, func(r store.Reader) error {
		s, err = readSums(ctx, r, owner)
		return err
	})
	if err == nil && f.gen.Load() == gen {
		f.sums.put(owner, s)
		if f.gen.Load() != gen { // a lesson came between: it may be older than what it said
			f.sums.drop(owner)
		}
	}
	return s, err
}

// drop takes one out.
func (c *sumCache) drop(owner uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.of, owner)
}

// knowledge is what a table knows about the words of a message.
func (f *Filter) knowledge(ctx context.Context, owner uint64, t *junk.Tokens) (k junk.Knowledge, err error) {
	s, err := f.sumsOf(ctx, owner)
	if err != nil || s.Ham+s.Spam == 0 {
		return k, err
	}
	k = junk.Knowledge{Ham: s.Ham, Spam: s.Spam, Of: make([]junk.Counts, len(t.List))}
	var missing []int
	f.words.mu.RLock()
	for i := range t.List {
		n, ok := f.words.get(owner, t.List[i].Hash)
		if !ok {
			missing = append(missing, i)
		}
		k.Of[i] = n
	}
	f.words.mu.RUnlock()
	if len(missing) == 0 {
		return k, nil
	}
	slices.SortFunc(missing, func(a, b int) int { // neighbours on the disk are read together
		if t.List[a].Hash < t.List[b].Hash {
			return -1
		}
		return 1
	})
	gen := f.gen.Load()
	err = f.c.Engine.View(ctx, func(r store.Reader) error {
		hashes := make([]uint64, len(missing))
		for i, at := range missing {
			hashes[i] = t.List[at].Hash
		}
		ws, err := readWords(ctx, r, owner, hashes)
		for i := range ws {
			k.Of[missing[i]] = ws[i].Counts
		}
		return err
	})
	if err != nil {
		return k, err
	}
	f.words.mu.Lock()
	defer f.words.mu.Unlock()
	if f.gen.Load() == gen { // else a lesson may have changed them
		for _, at := range missing {
			f.words.put(owner, t.List[at].Hash, k.Of[at])
		}
	}
	return k, nil
}

// readWords reads the rows of words; those that are not there are zero.
func readWords(ctx context.Context, r store.Reader, owner uint64, hashes []uint64) ([]word, error) {
	buf := make([]byte, 0, len(hashes)*keyOctets)
	keys := make([][]byte, len(hashes))
	for i, h := range hashes {
		at := len(buf)
		buf = hashKey(buf, kindWord, owner, h)
		keys[i] = buf[at:]
	}
	rows, err := r.GetMulti(ctx, keys)
	if err != nil {
		return nil, err
	}
	out := make([]word, len(rows))
	for i, v := range rows {
		if v == nil {
			continue
		}
		if out[i], err = decodeWord(v); err != nil {
			return nil, err
		}
	}
	return out, nil
}
