package mailbox

import (
	"context"
	"encoding/binary"
	"math/bits"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/store"
)

// What others than the owner have seen of a mailbox is their own: each viewer has rows of ownUIDs UIDs, with the modseq at
// which \Seen last changed for him. For everybody else such a change is none.
const (
	ownShift = 9
	ownUIDs  = 1 << ownShift
)

// ownChunk is what one viewer has seen of ownUIDs messages.
type ownChunk struct {
	seen [ownUIDs / 64]uint64
	at   [ownUIDs]modSeq // 0: never changed
}

func ownChunkOf(u uid) uint32 { return u >> ownShift }

func (c *ownChunk) has(u uid) bool { return c.seen[u%ownUIDs/64]&(1<<(u%64)) != 0 }

func (c *ownChunk) set(u uid, seen bool, at modSeq) {
	bit := uint64(1) << (u % 64)
	if c.seen[u%ownUIDs/64] &^= bit; seen {
		c.seen[u%ownUIDs/64] |= bit
	}
	c.at[u%ownUIDs] = at
}

// keep forgets what is not in a set of UIDs, of which the chunk's are those from position lo on.
func (c *ownChunk) keep(s *bitset, lo int) {
	for i := range c.at {
		if s[(lo+i)/64]&(1<<((lo+i)%64)) == 0 {
			c.at[i] = 0
			c.seen[i/64] &^= 1 << (i % 64)
		}
	}
}

// appendTo writes runs: gap, length and whether seen, modseq.
func (c *ownChunk) appendTo(b []byte) []byte {
	b = append(b, rowVersion)
	last := 0
	for i := 0; i < ownUIDs; {
		if c.at[i] == 0 {
			i++
			continue
		}
		j, seen := i, c.seen[i/64]>>(i%64)&1
		for j < ownUIDs && c.at[j] == c.at[i] && c.seen[j/64]>>(j%64)&1 == seen {
			j++
		}
		b = binary.AppendUvarint(b, uint64(i-last))
		b = binary.AppendUvarint(b, uint64(j-i)<<1|seen)
		b = binary.AppendUvarint(b, c.at[i])
		i, last = j, j
	}
	return b
}

func (c *ownChunk) empty() bool { return c.at == [ownUIDs]modSeq{} }

func decodeOwn(b []byte, c *ownChunk) error {
	*c = ownChunk{}
	d := decoderOf(b)
	d.version()
	at := uint64(0)
	for len(d.B) > 0 && !d.Bad {
		lo := at + d.Uint()
		n := d.Uint()
		s := d.Uint()
		if at = lo + n>>1; n < 2 || lo >= ownUIDs || n>>1 > ownUIDs || at > ownUIDs || s == 0 {
			d.Fail()
			break
		}
		for i := lo; i < at; i++ {
			c.set(uid(i), n&1 != 0, s)
		}
	}
	return d.err("what a viewer has seen")
}

// ownKey is q A M V chunk.
func (ar *arena) ownKey(a accountID, m boxID, viewer accountID, no uint32) []byte {
	k := binary.BigEndian.AppendUint64(appendBoxKey(ar.take(25), kindOwn, a, m), uint64(viewer))
	return binary.BigEndian.AppendUint32(k, no)
}

// viewerOf reads V of an own key.
func viewerOf(key []byte) accountID { return accountID(binary.BigEndian.Uint64(key[13:])) }

// ownSet is what the session has seen of some messages, read in one View. A nil one is the owner's, whose \Seen is in the
// messages.
type ownSet map[uint32]*ownChunk

// ownOf reads what the session has seen from one UID to another; nil for the owner.
func (v *view) ownOf(ctx context.Context, r store.Reader, id boxID, lo, hi uid) (ownSet, error) {
	if v.guest == 0 {
		return nil, nil
	}
	out := ownSet{}
	var ar arena
	from := ar.ownKey(v.account.id, id, v.guest, ownChunkOf(lo))
	to := append(ar.ownKey(v.account.id, id, v.guest, ownChunkOf(hi)), 0)
	for kv, err := range r.Scan(ctx, from, to, false) {
		if err != nil {
			return nil, err
		}
		c := new(ownChunk)
		if err := decodeOwn(kv.Value, c); err != nil {
			return nil, err
		}
		out[lastUint32(kv.Key)] = c
	}
	return out, nil
}

// overlay makes a small row what the viewer is to see of it.
func (s ownSet) overlay(u uid, m *smallRow) {
	if s == nil {
		return
	}
	m.System &^= imap.FlagSeen
	c := s[ownChunkOf(u)]
	if c == nil {
		return
	}
	if c.has(u) {
		m.System |= imap.FlagSeen
	}
	m.S = max(m.S, c.at[u%ownUIDs])
}

// overlayUnseen makes a chunk what the session is to see of it.
func (v *view) overlayUnseen(ctx context.Context, r store.Reader, id boxID, no uint32, c *chunk) error {
	first := no << chunkShift
	own, err := v.ownOf(ctx, r, id, first, first+chunkUIDs-1)
	if own == nil || err != nil {
		return err
	}
	c.Unseen = c.All
	for n, o := range own {
		at := int(n<<ownShift-first) / 64
		for i, w := range o.seen {
			c.Unseen[at+i] &^= w
		}
	}
	return nil
}

// countUnseen counts what the session has not seen of a mailbox.
func (v *view) countUnseen(ctx context.Context, r store.Reader, id boxID) (n int, err error) {
	err = v.chunks(ctx, r, id, 0, func(_ uint32, c *chunk) bool {
		for _, w := range c.Unseen {
			n += bits.OnesCount64(w)
		}
		return true
	})
	return n, err
}

// ownEdits are the chunks of one viewer that a batch looks at or changes.
type ownEdits struct {
	viewer  accountID
	chunks  map[uint32]*ownChunk
	changed map[uint32]bool
}

// own returns what the session has seen of the messages of a chunk, as the head has it.
func (p *part) own(ctx context.Context, r store.Reader, v *view, b *box, u uid) (*ownChunk, error) {
	no := ownChunkOf(u)
	if b.own == nil {
		b.own = &ownEdits{viewer: v.guest, chunks: map[uint32]*ownChunk{}, changed: map[uint32]bool{}}
	}
	if c := b.own.chunks[no]; c != nil {
		return c, nil
	}
	c := new(ownChunk)
	row, err := p.get(ctx, r, p.c.ar.ownKey(p.id, b.id, v.guest, no))
	if err == nil && row != nil {
		err = decodeOwn(row, c)
	}
	if err != nil {
		return nil, err
	}
	b.own.chunks[no] = c
	return c, nil
}

// markSeen sets or clears \Seen for the session alone. It returns the modseq.
func (p *part) markSeen(ctx context.Context, r store.Reader, v *view, b *box, u uid, seen bool) error {
	c, err := p.own(ctx, r, v, b, u)
	if err != nil {
		return err
	}
	no := ownChunkOf(u)
	if !b.own.changed[no] {
		b.own.changed[no] = true
		all, err := p.presentIn(ctx, r, b, chunkOf(u))
		if err != nil {
			return err
		}
		c.keep(&all, int(no<<ownShift)%chunkUIDs)
	}
	c.set(u, seen, p.touch(b))
	p.c.owned, b.log.Viewer = true, v.guest
	b.log.Own.Add(imap.UID(u))
	return nil
}

// presentIn is the set of UIDs of a chunk, as the batch has left it.
func (p *part) presentIn(ctx context.Context, r store.Reader, b *box, no uint32) (bitset, error) {
	for i := len(b.edits) - 1; i >= 0; i-- {
		if b.edits[i].no == no {
			return b.edits[i].chunk.All, nil
		}
	}
	if b.tail != nil && b.tailNo == no {
		return b.tail.All, nil
	}
	var c chunk
	v, err := p.account.get(ctx, r, p.c.ar.msgKey(kindChunk, p.id, b.id, no))
	if err == nil && v != nil {
		err = decodeChunk(v, &c)
	}
	return c.All, err
}

// sealOwn adds what changed to the batch.
func (p *part) sealOwn(b *box) {
	if b.own == nil {
		return
	}
	for no := range b.own.changed {
		key := p.c.ar.ownKey(p.id, b.id, b.own.viewer, no)
		if c := b.own.chunks[no]; c.empty() {
			p.delete(key)
		} else {
			p.put(key, c.appendTo(nil))
		}
	}
}

// dropOwn removes what those have seen who are not given anything any more.
func (p *part) dropOwn(id boxID, was, is []accountID) {
	if hasGrantee(is, anyone) || len(was) == 0 {
		return
	}
	gone := func(v accountID) bool { return !hasGrantee(is, v) }
	lo := p.c.ar.boxKey(kindOwn, p.id, id)
	for k := range p.account.pend {
		if len(k) == 25 && k[:13] == string(lo) && gone(viewerOf([]byte(k))) {
			p.delete([]byte(k))
		}
	}
	del := func(from, to []byte) {
		p.c.batch.Ops = append(p.c.batch.Ops, store.DeleteRange(from, to))
	}
	if !hasGrantee(was, anyone) {
		for _, who := range was {
			if gone(who) {
				k := p.c.ar.ownKey(p.id, id, who, 0)[:21]
				del(k, after(k))
			}
		}
		return
	}
	from := lo
	for _, who := range is { // in order
		k := p.c.ar.ownKey(p.id, id, who, 0)[:21]
		if string(from) < string(k) {
			del(from, k)
		}
		from = after(k)
	}
	del(from, after(lo))
}
