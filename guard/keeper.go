package guard

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/samotop/samotop/store"
)

// Limits of the keeper.
const (
	keepInterval  = 30 * time.Second // what was counted since may be lost by a crash
	keepLook      = 10 * time.Millisecond
	keepRows      = 256 // of one batch
	loadPageRows  = 1024
	setKeyOctets  = 2 + 4
	metaKeyOctets = 2
)

// keeper keeps tables in the evidence, behind the mail: nothing waits for it. A table has as many rows as it has sets, each of
// the same size, so it never grows.
//
// Rows: prefix 'm' -> the key of the hash, and the number of sets, 4 octets; prefix 's' set -> its slots.
type keeper struct {
	engine store.Engine
	log    *slog.Logger
	tables []*keptTable

	saving sync.Mutex // one save at a time, so that no older row follows a newer one

	wg   sync.WaitGroup
	stop context.CancelFunc
}

type keptTable struct {
	*table
	prefix byte
	sets   int // that the rows on disk are of; 0: there are none
	loaded atomic.Bool
}

func metaKey(prefix byte) []byte { return []byte{prefix, 'm'} }

func setKey(prefix byte, i int) []byte {
	return binary.BigEndian.AppendUint32([]byte{prefix, 's'}, uint32(i))
}

// open makes the table that is kept under a prefix. Its names are read in the background by run.
func (k *keeper) open(ctx context.Context, prefix byte, n int, life time.Duration, taus [counters]time.Duration, rand io.Reader) (*table, error) {
	var meta []byte
	if k.engine != nil {
		err := k.engine.View(ctx, func(r store.Reader) error {
			vs, err := r.GetMulti(ctx, [][]byte{metaKey(prefix)})
			meta = bytes.Clone(vs[0])
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("guard: open evidence: %w", err)
		}
	}
	var key [16]byte
	t := &keptTable{prefix: prefix}
	if len(meta) == 20 {
		copy(key[:], meta)
		t.sets = int(binary.BigEndian.Uint32(meta[16:]))
	} else if _, err := io.ReadFull(rand, key[:]); err != nil {
		return nil, err
	}
	t.table = newTable(n, key, life, taus)
	k.tables = append(k.tables, t)
	if k.engine != nil && t.sets == 0 {
		t.loaded.Store(true)
		return t.table, store.Commit(ctx, k.engine, &store.Batch{Ops: []store.Op{k.meta(t)}})
	}
	return t.table, nil
}

// run reads what there is, and then writes what changes, until close.
func (k *keeper) run(ctx context.Context) {
	if k.engine == nil {
		k.stop = func() {}
		return
	}
	ctx, k.stop = context.WithCancel(context.WithoutCancel(ctx))
	k.wg.Go(func() {
		for _, t := range k.tables {
			if err := k.load(ctx, t); err != nil && ctx.Err() == nil {
				k.log.Error("what was known of senders could not be read", "err", err)
			}
		}
		if err := k.save(ctx); err != nil && ctx.Err() == nil { // what has another size now is rewritten
			k.log.Error("what is known of senders is not kept", "err", err)
		}
		tick := time.NewTicker(keepInterval)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if err := k.save(ctx); err != nil && ctx.Err() == nil {
					k.log.Error("what is known of senders is not kept", "err", err)
				}
			case <-ctx.Done():
				return
			}
		}
	})
}

// wait waits for load, which takes a moment only.
func (k *keeper) wait(ctx context.Context) error {
	if k.engine == nil {
		return nil
	}
	for tick := time.NewTicker(keepLook); ; {
		all := true
		for _, t := range k.tables {
			all = all && t.loaded.Load()
		}
		if all {
			tick.Stop()
			return nil
		}
		select {
		case <-ctx.Done():
			tick.Stop()
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// close writes what is left.
func (k *keeper) close() error {
	k.stop()
	k.wg.Wait()
	if k.engine == nil {
		return nil
	}
	return k.save(context.Background())
}

// load reads the rows of a table. Where it was made for another number of names, each finds its new set.
func (k *keeper) load(ctx context.Context, t *keptTable) error {
	if t.loaded.Load() {
		return nil
	}
	same := t.sets == len(t.table.sets)
	lo := setKey(t.prefix, 0)
	for lo != nil {
		next, err := k.loadPage(ctx, t, lo, same)
		if err != nil {
			return err
		}
		lo = next
	}
	if same {
		t.loaded.Store(true)
		return nil
	}
	b := &store.Batch{Ops: []store.Op{store.DeleteRange(setKey(t.prefix, 0), []byte{t.prefix, 's' + 1}), k.meta(t)}}
	if err := store.Commit(ctx, k.engine, b); err != nil {
		return err
	}
	t.loaded.Store(true)
	return nil
}

func (k *keeper) loadPage(ctx context.Context, t *keptTable, lo []byte, same bool) (next []byte, err error) {
	bad, n := 0, 0
	err = k.engine.View(ctx, func(r store.Reader) error {
		for kv, err := range r.Scan(ctx, lo, []byte{t.prefix, 's' + 1}, false) {
			if err != nil {
				return err
			}
			if n++; n > loadPageRows {
				next = bytes.Clone(kv.Key)
				return nil
			}
			slots, ok := readSet(kv.Value)
			if !ok || len(kv.Key) != setKeyOctets {
				bad++
				continue
			}
			t.restore(&slots, same)
		}
		return nil
	})
	if bad > 0 {
		k.log.Error("rows of the evidence that cannot be read are left out; verify the database", "rows", bad)
	}
	return next, err
}

// restore takes over slots that were saved, where their names were not met meanwhile.
func (t *table) restore(slots *[ways]slot, clean bool) {
	for i := range slots {
		x := &slots[i]
		if x.at == 0 {
			continue
		}
		s := t.set(x.hash)
		s.mu.Lock()
		s.restore(x)
		s.dirty = s.dirty || !clean
		s.mu.Unlock()
	}
}

func (s *set) restore(x *slot) {
	oldest := &s.slots[0]
	for i := range s.slots {
		y := &s.slots[i]
		if y.hash == x.hash && y.at != 0 { // met since the start: both are true
			y.first = min(y.first, x.first)
			for j := range y.values {
				y.values[j] = min(y.values[j]+x.values[j], maxCount)
			}
			return
		}
		if y.at < oldest.at {
			oldest = y
		}
	}
	if oldest.at < x.at {
		*oldest = *x
	}
}

// meta is the row that says what the rows are of.
func (k *keeper) meta(t *keptTable) store.Op {
	t.sets = len(t.table.sets)
	return store.Put(metaKey(t.prefix), binary.BigEndian.AppendUint32(bytes.Clone(t.key[:]), uint32(t.sets)))
}

// save writes the sets that have changed.
func (k *keeper) save(ctx context.Context) error {
	k.saving.Lock()
	defer k.saving.Unlock()
	for _, t := range k.tables {
		if !t.loaded.Load() {
			continue // rows that were not read are not written over
		}
		var b store.Batch
		err := t.saved(func(i int, row []byte) {
			b.Ops = append(b.Ops, store.Put(setKey(t.prefix, i), row))
		}, func() error {
			err := store.Commit(ctx, k.engine, &b)
			b.Ops = b.Ops[:0]
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// VerifyEvidence looks at all rows of the evidence that this package knows, and returns what is wrong.
func VerifyEvidence(ctx context.Context, e store.Engine) (faults []string, err error) {
	const most = 100
	lo := []byte{0}
	for lo != nil && len(faults) < most {
		n := 0
		err := e.View(ctx, func(r store.Reader) error {
			from := lo
			lo = nil
			for kv, err := range r.Scan(ctx, from, nil, false) {
				if err != nil {
					return err
				}
				if n++; n > loadPageRows {
					lo = bytes.Clone(kv.Key)
					return nil
				}
				if fault := verifyRow(kv); fault != "" && len(faults) < most {
					faults = append(faults, fault)
				}
			}
			return nil
		})
		if err != nil {
			return faults, err
		}
	}
	return faults, nil
}

func verifyRow(kv store.KV) string {
	ok := true
	switch kv.Key[0] {
	case KeyBan:
		_, ok = readBan(kv.Key, kv.Value)
	case KeyGrey, KeyReputation, KeyOutgoing, KeyHistory:
		switch {
		case len(kv.Key) == metaKeyOctets && kv.Key[1] == 'm':
			ok = len(kv.Value) == 20
		case len(kv.Key) == setKeyOctets && kv.Key[1] == 's':
			_, ok = readSet(kv.Value)
		default:
			ok = false
		}
	}
	if ok {
		return ""
	}
	return fmt.Sprintf("row %q cannot be read", kv.Key[:min(len(kv.Key), 40)])
}
