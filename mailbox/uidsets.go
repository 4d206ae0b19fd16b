package mailbox

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/store"
)

// uidSets are the chunk rows of one large mailbox as they were at a modseq, kept in memory, so that SELECT and SEARCH do
// not read them all again. They are never changed: what comes later makes others, which share the chunks that stayed.
type uidSets struct {
	validity uint32
	s        modSeq
	next     uid
	chunks   []setChunk  // in order
	all      imap.UIDSet // of all chunks
}

type setChunk struct {
	no              uint32
	unseen, deleted bool // some are
	chunk           *chunk
}

const (
	defaultSetsWorth = 4 << chunkShift // UIDs that a mailbox has given at least, for its sets to be kept

	// setsOctets are kept of all mailboxes: some 20 million messages.
	setsOctets = 8 << 20
	// setChunkOctets and setRangeOctets are what a chunk and a range of uidSets.all take.
	setChunkOctets = 3*chunkUIDs/8 + 32
	setRangeOctets = 8
)

// uidSetTable are the sets of all mailboxes.
type uidSetTable struct {
	mu     sync.Mutex
	clock  int64
	octets int64
	all    map[logKeyOf]*keptSets
}

type keptSets struct {
	used   int64 // uidSetTable.clock then
	octets int64
	now    atomic.Pointer[uidSets]
}

// setsAt returns the sets of a mailbox whose row is that of the View; nil if they are not kept: the mailbox is small, or
// others have seen a newer one already.
func (v *view) setsAt(ctx context.Context, r store.Reader, id boxID, row *boxRow) (*uidSets, error) {
	if v.guest != 0 || row.UIDNext < v.m.setsWorth {
		return nil, nil
	}
	key := logKeyOf{v.account.id, id}
	k := v.m.sets.kept(key)
	old := k.now.Load()
	var err error
	now := &uidSets{validity: row.UIDValidity, s: row.S, next: row.UIDNext}
	switch {
	case old == nil || old.validity != row.UIDValidity || old.s < row.Horizon || old.behind(row):
		err = now.load(ctx, r, v, id)
	case old.s == row.S:
		return old, nil
	case old.s > row.S || old.next > row.UIDNext:
		return nil, nil
	default:
		err = now.follow(ctx, r, v, id, old)
	}
	if err != nil {
		return nil, err
	}
	if k.now.CompareAndSwap(old, now) {
		v.m.sets.grown(key, k, now.octets())
	}
	return now, nil
}

// behind tells whether so much has happened since that to read all chunks costs less than the change log.
func (t *uidSets) behind(row *boxRow) bool { return row.S > t.s+8*uint64(len(t.chunks))+64 }

// load reads all chunks.
func (t *uidSets) load(ctx context.Context, r store.Reader, v *view, id boxID) error {
	t.chunks = make([]setChunk, 0, chunkOf(t.next)+1)
	err := v.chunks(ctx, r, id, 0, func(no uint32, c *chunk) bool {
		t.put(no, c)
		return true
	})
	t.all = t.present()
	return err
}

// follow takes the sets of before and reads the chunks that have changed since.
func (t *uidSets) follow(ctx context.Context, r store.Reader, v *view, id boxID, old *uidSets) error {
	var flags, gone imap.UIDSet
	if err := v.readLog(ctx, r, id, old.s, &flags, &gone); err != nil {
		return err
	}
	t.chunks = slices.Clone(old.chunks)
	changed := map[uint32]bool{}
	for _, rng := range flags.Union(gone) {
		for no := chunkOf(uid(rng.Start)); no <= min(chunkOf(uid(rng.Stop)), chunkOf(old.next)); no++ {
			changed[no] = true
		}
	}
	for no := chunkOf(old.next); t.next > old.next && no <= chunkOf(t.next); no++ {
		changed[no] = true
	}
	if err := t.reread(ctx, r, v, id, changed); err != nil {
		return err
	}
	if t.all = old.all; len(gone) > 0 {
		t.all = t.present()
	} else if t.next > old.next {
		t.all = slices.Clone(old.all)
		for i := range t.chunks {
			if c := &t.chunks[i]; c.no >= chunkOf(old.next) {
				c.chunk.All.addTo(&t.all, c.no, old.next)
			}
		}
	}
	return nil
}

// reread reads chunks; those that are not there any more have become empty.
func (t *uidSets) reread(ctx context.Context, r store.Reader, v *view, id boxID, changed map[uint32]bool) error {
	var ar arena
	var c chunk
	for no := range changed {
		row, err := r.Get(ctx, ar.msgKey(kindChunk, v.account.id, id, no))
		switch {
		case notFound(err):
			if i, ok := t.find(no); ok {
				t.chunks = slices.Delete(t.chunks, i, i+1)
			}
			continue
		case err == nil:
			err = decodeChunk(row, &c)
		}
		if err != nil {
			return err
		}
		t.put(no, &c)
	}
	return nil
}

func (t *uidSets) find(no uint32) (int, bool) {
	return slices.BinarySearchFunc(t.chunks, no, func(c setChunk, no uint32) int { return int(c.no) - int(no) })
}

// put takes a copy of a chunk.
func (t *uidSets) put(no uint32, c *chunk) {
	c2 := *c
	i, ok := t.find(no)
	if !ok {
		t.chunks = slices.Insert(t.chunks, i, setChunk{})
	}
	t.chunks[i] = setChunk{no: no, unseen: c.Unseen != bitset{}, deleted: c.Deleted != bitset{}, chunk: &c2}
}

func (t *uidSets) present() (out imap.UIDSet) {
	for i := range t.chunks {
		t.chunks[i].chunk.All.addTo(&out, t.chunks[i].no, 0)
	}
	return out
}

func (t *uidSets) unseen() (out imap.UIDSet) {
	for i := range t.chunks {
		if t.chunks[i].unseen {
			t.chunks[i].chunk.Unseen.addTo(&out, t.chunks[i].no, 0)
		}
	}
	return out
}

func (t *uidSets) deleted() (out imap.UIDSet) {
	for i := range t.chunks {
		if t.chunks[i].deleted {
			t.chunks[i].chunk.Deleted.addTo(&out, t.chunks[i].no, 0)
		}
	}
	return out
}

// firstUnseen is the first UID that is not \Seen, 0 if all are.
func (t *uidSets) firstUnseen() uid {
	for i := range t.chunks {
		if c := &t.chunks[i]; c.unseen {
			return c.no<<chunkShift + uint32(c.chunk.Unseen.next(0, true))
		}
	}
	return 0
}

// with are the UIDs that have the flags of on and none of off, of \Seen and \Deleted. They must not be changed.
func (t *uidSets) with(on, off imap.SystemFlags) imap.UIDSet {
	set := t.all
	if on&imap.FlagSeen != 0 {
		set = set.Subtract(t.unseen())
	}
	if off&imap.FlagSeen != 0 {
		set = set.Intersect(t.unseen())
	}
	if on&imap.FlagDeleted != 0 {
		set = set.Intersect(t.deleted())
	}
	if off&imap.FlagDeleted != 0 {
		set = set.Subtract(t.deleted())
	}
	return set
}

func (t *uidSets) octets() int64 {
	return int64(len(t.chunks))*setChunkOctets + int64(cap(t.all))*setRangeOctets
}

// kept returns what is kept of a mailbox, or is going to be.
func (t *uidSetTable) kept(key logKeyOf) *keptSets {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.all[key]
	if k == nil {
		if t.all == nil {
			t.all = map[logKeyOf]*keptSets{}
		}
		k = &keptSets{}
		t.all[key] = k
	}
	t.clock++
	k.used = t.clock
	return k
}

// grown notes how large the sets of a mailbox are, and forgets others, the longest unused first, while all are too large.
func (t *uidSetTable) grown(key logKeyOf, k *keptSets, octets int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all[key] != k {
		return
	}
	t.octets += octets - k.octets
	k.octets = octets
	for t.octets > setsOctets && len(t.all) > 1 {
		oldest := key
		for other, o := range t.all {
			if o.used < t.all[oldest].used {
				oldest = other
			}
		}
		t.octets -= t.all[oldest].octets
		delete(t.all, oldest)
	}
}
