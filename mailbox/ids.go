package mailbox

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/samotop/samotop/store"
)

// deliveryUse is a delivery id that a commit stores.
type deliveryUse struct {
	account accountID
	id      [16]byte // keyed hash
	email   emailID
}

// buckets keeps delivery ids for a while: two buckets are looked at, the older one goes when the newer one has served
// for Limits.DeliveryIDAge, all at once.
type buckets struct {
	mu      sync.Mutex
	current uint32
	since   time.Time
	flights map[deliveryID]store.Pending
}

type deliveryID struct {
	account accountID
	id      [16]byte
}

func (m *Mailbox) openBuckets(ctx context.Context) error {
	b := &m.buckets
	b.flights = map[deliveryID]store.Pending{}
	err := m.eng.View(ctx, func(r store.Reader) error {
		v, err := r.Get(ctx, []byte{kindBucket})
		if err != nil {
			return err
		}
		d := decoderOf(v)
		d.version()
		b.current, b.since = uint32(d.Uint()), time.Unix(d.Int(), 0)
		return d.err("the delivery ids")
	})
	if errors.Is(err, store.ErrNotFound) {
		return m.turnBuckets(ctx, 1)
	}
	return err
}

// turnBuckets begins a new bucket and drops those before the last.
func (m *Mailbox) turnBuckets(ctx context.Context, number uint32) error {
	now := m.now()
	v := binary.AppendUvarint([]byte{rowVersion}, uint64(number))
	v = binary.AppendVarint(v, now.Unix())
	err := store.Commit(ctx, m.eng, &store.Batch{Ops: []store.Op{
		store.Put([]byte{kindBucket}, v),
		store.DeleteRange([]byte{kindDelivery}, binary.BigEndian.AppendUint32([]byte{kindDelivery}, number-1)),
	}})
	if err != nil {
		return fmt.Errorf("delivery ids: %w", err)
	}
	m.buckets.mu.Lock()
	defer m.buckets.mu.Unlock()
	m.buckets.current, m.buckets.since = number, now
	return nil
}

// turnIfDue turns the buckets once they are old enough. A clock that was set back starts the time anew.
func (m *Mailbox) turnIfDue(ctx context.Context) error {
	b := &m.buckets
	b.mu.Lock()
	number, age := b.current, m.now().Sub(b.since)
	if age < 0 {
		b.since = m.now()
	}
	b.mu.Unlock()
	if age < m.limits.DeliveryIDAge {
		return nil
	}
	return m.turnBuckets(ctx, number+1)
}

// keys are those of an id in both buckets, the current one first.
func (b *buckets) keys(ar *arena, a accountID, id [16]byte) [2][]byte {
	b.mu.Lock()
	n := b.current
	b.mu.Unlock()
	return [2][]byte{ar.deliveryKey(n, a, id), ar.deliveryKey(n-1, a, id)}
}

// add puts the ids of a commit into its batch, which asserts that they were not there.
func (b *buckets) add(c *commit) {
	for i := range c.ids {
		u := &c.ids[i]
		keys := b.keys(&c.ar, u.account, u.id)
		for _, k := range keys {
			c.batch.Asserts = append(c.batch.Asserts, store.Assert{Key: k, Absent: true})
		}
		c.put(keys[0], binary.BigEndian.AppendUint64(c.ar.take(8), uint64(u.email)))
	}
}

// stored tells whether an id is in the database, durably.
func (b *buckets) stored(ctx context.Context, r store.Reader, ar *arena, a accountID, id [16]byte) (bool, error) {
	keys := b.keys(ar, a, id)
	rows, err := r.GetMulti(ctx, keys[:])
	return err == nil && (rows[0] != nil || rows[1] != nil), err
}

func (b *buckets) took(c *commit) {
	if len(c.ids) == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range c.ids {
		b.flights[deliveryID{c.ids[i].account, c.ids[i].id}] = c.p
	}
}

func (b *buckets) settle(c *commit) {
	if len(c.ids) == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range c.ids {
		delete(b.flights, deliveryID{c.ids[i].account, c.ids[i].id})
	}
}

// await waits for the batches that are storing ids of this commit right now. It reports whether an id explains the
// conflict: the commit is to be built again, looking at what is stored.
func (b *buckets) await(ctx context.Context, c *commit) (bool, error) {
	var wait []store.Pending
	b.mu.Lock()
	for i := range c.ids {
		if p := b.flights[deliveryID{c.ids[i].account, c.ids[i].id}]; p != nil {
			wait = append(wait, p)
		}
	}
	b.mu.Unlock()
	for _, p := range wait {
		if err := p.Wait(ctx); ctx.Err() != nil {
			return true, err
		}
	}
	if len(wait) > 0 || len(c.ids) == 0 {
		return len(wait) > 0, nil
	}
	found := false
	err := c.m.eng.View(ctx, func(r store.Reader) error {
		for i := range c.ids {
			ok, err := b.stored(ctx, r, &c.ar, c.ids[i].account, c.ids[i].id)
			if err != nil {
				return err
			}
			found = found || ok
		}
		return nil
	})
	return found, err
}
