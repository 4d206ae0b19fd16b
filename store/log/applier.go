package log

import (
	"bytes"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/samotop/samotop/store"
)

// apply is the goroutine that brings synced groups into the index and wakes those who wait.
func (e *Engine) apply() {
	defer e.done.Done()
	for g := range e.groups {
		if err := e.applyGroup(g); err != nil {
			e.fence(fmt.Errorf("index: %w", err))
			for _, p := range g.batches {
				p.fail(e.lost())
			}
			continue
		}
		e.settle(g)
		e.stall.enter()
		e.maybeFlush(g.end)
		e.stall.leave()
	}
}

func (e *Engine) applyGroup(g *group) error {
	b := e.db.NewBatch()
	defer b.Close()
	ch := newChanges(e, b)
	for _, p := range g.batches {
		if err := ch.record(p.enc.meta); err != nil {
			return err
		}
	}
	e.stall.enter()
	err := ch.commit(g.end)
	e.stall.leave()
	return err
}

// settle makes the group's batches visible to Submit and wakes their waiters.
func (e *Engine) settle(g *group) {
	e.mu.Lock()
	for _, p := range g.batches {
		e.overlay.settle(p.enc.keys, p.first, p.next, false)
	}
	e.mu.Unlock()
	for _, p := range g.batches {
		keys, ranges := watched(p.enc)
		e.hub.Publish(p.pos, keys, ranges)
		p.release()
		p.enc = nil
		close(p.done)
	}
}

// keepWhole is up to which size the record of a batch is kept alive by those who watch its keys.
const keepWhole = 4 << 10

func watched(enc *encoded) ([][]byte, [][2][]byte) {
	if len(enc.meta) <= keepWhole {
		return enc.keys, enc.ranges
	}
	keys := make([][]byte, len(enc.keys))
	for i, k := range enc.keys {
		keys[i] = append([]byte(nil), k...)
	}
	ranges := make([][2][]byte, len(enc.ranges))
	for i, r := range enc.ranges {
		ranges[i] = [2][]byte{append([]byte(nil), r[0]...), append([]byte(nil), r[1]...)}
	}
	return keys, ranges
}

// changes gathers records into one batch of the index.
type changes struct {
	e    *Engine
	b    *pebble.Batch
	live map[uint32]int64
	key  []byte
}

func newChanges(e *Engine, b *pebble.Batch) *changes {
	return &changes{e: e, b: b, live: map[uint32]int64{}}
}

func (c *changes) record(meta []byte) error {
	return visit(meta, visitor{freed: c.freed, op: c.op})
}

func (c *changes) freed(key []byte, raw store.Ref) error {
	r, ok := parseRef(raw)
	if !ok {
		return errRef(raw)
	}
	for _, s := range r.shares() {
		c.live[s.seg] -= s.octets
		if err := c.b.Delete(bodyKey(s.seg, key), nil); err != nil {
			return err
		}
	}
	return nil
}

func (c *changes) op(kind byte, key, value []byte) error {
	switch kind {
	case opDelete:
		d := c.b.DeleteDeferred(1 + len(key))
		d.Key[0] = keyRow
		copy(d.Key[1:], key)
		return d.Finish()
	case opDeleteRange:
		if bytes.Equal(key, value) {
			return nil
		}
		d := c.b.DeleteRangeDeferred(1+len(key), 1+len(value))
		d.Key[0], d.Value[0] = keyRow, keyRow
		copy(d.Key[1:], key)
		copy(d.Value[1:], value)
		return d.Finish()
	case opPut, opPutNew, opPutSame:
		d := c.b.SetDeferred(1+len(key), len(value))
		d.Key[0] = keyRow
		copy(d.Key[1:], key)
		copy(d.Value, value)
		if err := d.Finish(); err != nil || kind == opPut {
			return err
		}
		return c.body(kind, key, value)
	}
	return fmt.Errorf("operation of kind %d: %w", kind, store.ErrCorrupt)
}

// body notes which segments a row keeps alive.
func (c *changes) body(kind byte, key, value []byte) error {
	_, r, ok := rowRef(value)
	if !ok {
		return errRef(value)
	}
	for _, s := range r.shares() {
		if !c.e.segs.has(s.seg) {
			continue // an old record, read again after a crash: a later one moves the body
		}
		if kind == opPutNew {
			c.live[s.seg] += s.octets
		}
		v := le.AppendUint64(make([]byte, 0, 16), r.body)
		v = le.AppendUint64(v, uint64(s.octets))
		if err := c.b.Set(bodyKey(s.seg, key), v, nil); err != nil {
			return err
		}
	}
	return nil
}

// commit makes the changes visible, all at once, with the position that they reach.
func (c *changes) commit(end applied) error {
	for seg, octets := range c.live {
		if live, ok := c.e.segs.addLive(seg, octets); ok {
			if err := c.b.Set(segmentKey(keySegment, seg), le.AppendUint64(nil, uint64(live)), nil); err != nil {
				return err
			}
		}
	}
	if err := c.b.Set([]byte{keyApplied}, end.encode(), nil); err != nil {
		return err
	}
	if err := c.b.Commit(pebble.NoSync); err != nil {
		return err
	}
	c.e.applied.Store(&end)
	return nil
}

// maybeFlush flushes the index when a restart would have too much of the log to read.
func (e *Engine) maybeFlush(end applied) {
	if e.isIndexFull() {
		return // it is trying to
	}
	if e.logBetween(e.flushed.Load().end, end.end) < e.o.FlushLogOctets || !e.flushing.CompareAndSwap(false, true) {
		return
	}
	flushed, err := e.db.AsyncFlush()
	if err != nil {
		e.flushing.Store(false)
		e.indexError(err)
		return
	}
	e.done.Add(1)
	go func() {
		defer e.done.Done()
		defer e.flushing.Store(false)
		select {
		case <-flushed:
			e.poke()
		case <-e.fenced:
		}
	}()
}

// logBetween is about how much log there is between two places.
func (e *Engine) logBetween(from, to place) int64 {
	if from.seg == to.seg {
		return int64(to.off) - int64(from.off)
	}
	return e.segs.octetsFrom(from) - int64(from.off)
}
