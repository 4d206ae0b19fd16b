package qm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/samotop/samotop/store"
)

// A lane is served by one manager at a time. The row l says by whom: an epoch that grows with each new one. Every
// batch asserts it, so that a manager which was thought dead can change nothing any more (fencing). The row u says
// until when, and is renewed; it is kept apart so that renewing disturbs no batch under way.
type lease struct {
	key   []byte
	value []byte
}

func (l *lease) assert() store.Assert { return store.Assert{Key: l.key, Value: l.value} }

// usage is the row u.
type usage struct {
	until time.Time
	used  bool // a manager runs, or did not end in order
}

func (u usage) encode() []byte {
	var w writer
	w.byte(version)
	w.time(u.until)
	w.byte(flag(u.used, 1))
	return w
}

func decodeUsage(b []byte) (usage, error) {
	r := readerOf(b)
	if r.Byte() != version {
		return usage{}, errRow
	}
	u := usage{until: r.time(), used: r.Byte() != 0}
	return u, r.end()
}

// takeLease makes this manager the one of the lane.
func (q *QM) takeLease(ctx context.Context) error {
	for {
		wait, err := q.tryLease(ctx)
		if err == nil && wait <= 0 {
			return nil
		}
		if err != nil && !errors.Is(err, store.ErrConflict) {
			return fmt.Errorf("qm: take the lease: %w", err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrLease, ctx.Err())
		case <-time.After(max(wait, 10*time.Millisecond)):
		}
	}
}

func (q *QM) tryLease(ctx context.Context) (wait time.Duration, err error) {
	keys := [][]byte{versionKey, leaseKey(q.cfg.Lane), untilKey(q.cfg.Lane)}
	var rows [3][]byte
	err = q.cfg.Engine.View(ctx, func(r store.Reader) error {
		vs, err := r.GetMulti(ctx, keys)
		for i := range vs {
			if vs[i] != nil {
				rows[i] = append([]byte{}, vs[i]...)
			}
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	if rows[0] != nil && (len(rows[0]) != 1 || rows[0][0] > formatVersion) {
		return 0, fmt.Errorf("%w: queue format %v, this program knows %d", store.ErrFormat, rows[0], formatVersion)
	}
	var epoch uint64
	if rows[1] != nil {
		r := readerOf(rows[1])
		if epoch = r.Uint(); r.Bad {
			return 0, errRow
		}
	}
	now := q.now()
	if rows[2] != nil {
		u, err := decodeUsage(rows[2])
		if err != nil {
			return 0, err
		}
		if q.cfg.Shared && u.used && now.Before(u.until) {
			return u.until.Sub(now), nil
		}
		if u.used {
			q.crashed = millis(u.until)
		}
	}
	var w writer
	w.uint(epoch + 1)
	w.uint(q.random())
	// On a full disk, too: only with a lease is the queue sent and emptied.
	b := &store.Batch{Deletes: true, Ops: []store.Op{store.Put(keys[0], []byte{formatVersion}), store.Put(keys[1], w),
		store.Put(keys[2], usage{until: q.usageUntil(), used: q.crashed > 0}.encode())}}
	for i, k := range keys {
		b.Asserts = append(b.Asserts, store.Assert{Key: k, Value: rows[i], Absent: rows[i] == nil})
	}
	if err := store.Commit(ctx, q.cfg.Engine, b); err != nil {
		return 0, err
	}
	q.lease = lease{key: keys[1], value: w}
	return 0, nil
}

// usageUntil: what a crash leaves unrecorded is not due later than this.
func (q *QM) usageUntil() time.Time { return q.now().Add(q.cfg.Limits.LeaseTime) }

// renew writes u; used false says that the queue was left in order.
func (q *QM) renew(ctx context.Context, used bool) error {
	u := usage{until: q.usageUntil(), used: used}
	return q.commit(ctx, &store.Batch{Deletes: true, Ops: []store.Op{store.Put(untilKey(q.cfg.Lane), u.encode())}})
}

// commit is store.Commit under the lease. Its context only matters until the batch has its place.
func (q *QM) commit(ctx context.Context, b *store.Batch) error {
	b.Asserts = append(b.Asserts, q.lease.assert())
	p, err := q.cfg.Engine.Submit(ctx, b)
	if err != nil {
		return err
	}
	return p.Wait(context.WithoutCancel(ctx))
}
