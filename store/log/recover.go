package log

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"

	"github.com/cockroachdb/pebble/v2"
	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/disk"
)

// recover brings the index up to the log and puts the writer at the log's end.
func (e *Engine) recover(ctx context.Context) error {
	e.session = rand.Uint64()
	found, err := e.segs.load()
	if err != nil {
		return err
	}
	start, err := e.startingPoint(found)
	if err != nil {
		return err
	}
	e.pos = start.pos
	e.applied.Store(&start)
	e.flushed.Store(&start)
	if err := e.loadLive(); err != nil {
		return err
	}
	if len(found) == 0 {
		e.w.number, e.w.pos = start.number, start.pos
		return e.startSegment(start.end.seg + 1)
	}
	if start.end.seg == 0 {
		start.end = place{found[0], 0}
	}
	rp := &replay{e: e, segs: found, last: start, end: start.end}
	if err := rp.run(ctx); err != nil {
		return err
	}
	e.pos = rp.last.pos
	return e.resume(rp)
}

// startingPoint is what the index knows, which the log must reach.
func (e *Engine) startingPoint(found []uint32) (applied, error) {
	v, err := e.get(e.db, []byte{keyApplied})
	if errors.Is(err, store.ErrNotFound) {
		if len(found) > 0 && found[0] != 1 {
			return applied{}, fmt.Errorf("%s: is not there, and the index is empty: %w", e.segs.path(1), store.ErrCorrupt)
		}
		return applied{}, nil
	}
	if err != nil {
		return applied{}, err
	}
	a, err := parseApplied(v)
	if err != nil {
		return a, err
	}
	s := e.segs.set[a.end.seg]
	if !e.o.Rescue && (s == nil || s.size < int64(a.end.off)) {
		return a, damage(e.segs.path(a.end.seg), a.end, errors.New("the log ends before the position of the index"))
	}
	return a, nil
}

// loadLive reads what the index knows of each segment, and forgets those that are gone.
func (e *Engine) loadLive() error {
	it, err := e.db.NewIter(&pebble.IterOptions{LowerBound: []byte{keySegment}, UpperBound: []byte{keySegment + 1}})
	if err != nil {
		return corrupt(err)
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		k := it.Key()
		v, err := it.ValueAndErr()
		if err != nil {
			return corrupt(err)
		}
		if len(k) != 5 || len(v) != 8 {
			return fmt.Errorf("index: row of a segment: %w", store.ErrCorrupt)
		}
		n := segmentOf(k)
		if s := e.segs.set[n]; s != nil {
			s.live = int64(le.Uint64(v))
		} else if err := e.drop(n); err != nil {
			return err
		}
	}
	return corrupt(it.Error())
}

func segmentOf(k []byte) uint32 {
	return uint32(k[1])<<24 | uint32(k[2])<<16 | uint32(k[3])<<8 | uint32(k[4])
}

// replay reads the log from where the index stands.
type replay struct {
	e    *Engine
	segs []uint32
	last applied
	end  place // behind the last whole group
	cut  bool  // something behind end is to be cut off
	torn bool  // and it is not only zeros
	b    *pebble.Batch
	ch   *changes

	skipping bool // rescue: from lostFrom on nothing checks
	lostFrom place
}

// replayOctets is how large a batch of the index may get while the log is read.
const replayOctets = 2 << 20

func (rp *replay) run(ctx context.Context) error {
	rp.begin()
	defer func() { rp.b.Close() }()
	expect := rp.end.seg
	for _, n := range rp.segs {
		if n < rp.end.seg {
			continue
		}
		if rp.cut {
			break
		}
		from := place{n, 0}
		if n == rp.end.seg {
			from = rp.end
		}
		if n != expect {
			if err := rp.bad(place{expect, 0}, errors.New("the segment is not there")); err != nil || rp.cut {
				return errors.Join(err, rp.commit())
			}
			rp.skipped(0)
		}
		expect = n + 1
		if err := rp.segment(ctx, from); err != nil {
			return err
		}
	}
	return rp.commit()
}

func (rp *replay) begin() {
	rp.b = rp.e.db.NewBatch()
	rp.ch = newChanges(rp.e, rp.b)
}

func (rp *replay) commit() error {
	if rp.b.Empty() {
		return nil
	}
	if err := rp.ch.commit(rp.last); err != nil {
		return err
	}
	rp.b.Close()
	rp.begin()
	return nil
}

func (rp *replay) segment(ctx context.Context, from place) error {
	s, err := rp.e.newScanner(from)
	if err != nil {
		return err
	}
	defer s.close()
	rp.end = from
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, records, err := s.next()
		if err == nil && h.number != rp.last.number+1 && !rp.e.o.Rescue {
			err = fmt.Errorf("group %d after %d: %w", h.number, rp.last.number, errBad)
			s.at = h.at
		}
		switch {
		case errors.Is(err, io.EOF):
			rp.skipped(uint32(s.size))
			return nil
		case errors.Is(err, errBad):
			if err := rp.bad(s.at, err); err != nil || rp.cut {
				return err
			}
			s.at.off += disk.Align // rescue: look for the next group
			continue
		case err != nil:
			return err
		}
		rp.skipped(h.at.off)
		if err := rp.group(h, records, s.at); err != nil {
			return err
		}
	}
}

// skipped notes a stretch of the log that was lost and ends before end.
func (rp *replay) skipped(end uint32) {
	if !rp.skipping {
		return
	}
	rp.skipping = false
	f := store.Fault{File: rp.e.segs.path(rp.lostFrom.seg), Offset: int64(rp.lostFrom.off),
		What: fmt.Sprintf("%d octets do not check and were skipped", end-rp.lostFrom.off)}
	rp.e.skipped = append(rp.e.skipped, f)
	rp.e.log.Error("rescue: "+f.What, "file", f.File, "offset", f.Offset)
}

func (rp *replay) group(h header, records []record, end place) error {
	for i := range records {
		r := &records[i]
		if r.kind != recBatch || store.Pos(r.pos) <= rp.last.pos {
			continue
		}
		if err := rp.ch.record(r.meta); err != nil {
			return err
		}
		rp.last.pos = store.Pos(r.pos)
	}
	rp.end, rp.last.end, rp.last.number = end, end, h.number
	if rp.b.Len() > replayOctets {
		return rp.commit()
	}
	return nil
}

// bad decides about what does not check: the torn tail is cut, damage is an error, or skipped to rescue the rest.
func (rp *replay) bad(at place, cause error) error {
	witness, found, err := rp.e.laterSynced(at, rp.segs)
	if err != nil {
		return err
	}
	if !found {
		rp.cut = true
		zeros, err := rp.e.onlyZeros(at)
		rp.torn = !zeros
		return err
	}
	if rp.e.o.Rescue {
		if !rp.skipping {
			rp.skipping, rp.lostFrom = true, at
		}
		return nil
	}
	return damage(rp.e.segs.path(at.seg), at,
		fmt.Errorf("%w, but %s says that it was synced", cause, witness))
}

// resume cuts the torn tail and makes durable what was found, before anybody sees it.
func (e *Engine) resume(rp *replay) error {
	for _, n := range rp.segs {
		if n > rp.end.seg {
			e.log.Warn("store: the torn end of the log is cut off", "file", e.segs.path(n))
			if err := e.o.FS.Remove(e.segs.path(n)); err != nil {
				return err
			}
			delete(e.segs.set, n)
		}
	}
	f, direct, err := e.openForWriting(e.segs.path(rp.end.seg), 0)
	if err != nil {
		return err
	}
	e.w = writer{file: f, direct: direct, at: rp.end, synced: rp.end, zeros: int64(rp.end.off), number: rp.last.number, pos: rp.last.pos}
	size, err := f.Size()
	if err != nil {
		return err
	}
	if size != int64(rp.end.off) {
		if rp.torn {
			e.log.Warn("store: the torn end of the log is cut off", "file", e.segs.path(rp.end.seg), "offset", rp.end.off, "octets", size-int64(rp.end.off))
		}
		if err := f.Truncate(int64(rp.end.off)); err != nil {
			return err
		}
	}
	e.segs.set[rp.end.seg].size = int64(rp.end.off)
	// A killed process leaves what it wrote in the page cache. What is read again must not be lost after it was seen.
	if rp.last != *e.flushed.Load() || size != int64(rp.end.off) {
		if err := e.syncAll(rp); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) syncAll(rp *replay) error {
	for _, n := range rp.segs {
		if n < e.flushed.Load().end.seg || n >= rp.end.seg {
			continue
		}
		f, err := e.o.FS.Open(e.segs.path(n), disk.Write)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	if err := e.w.file.Sync(); err != nil {
		return err
	}
	return e.o.FS.SyncDir(e.segs.dir)
}
