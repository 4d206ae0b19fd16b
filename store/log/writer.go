package log

import (
	"errors"
	"fmt"
	"runtime"
	"syscall"

	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/disk"
)

// writer is the state of the one goroutine that writes the log.
type writer struct {
	file   disk.File
	at     place // of the next group
	synced place // everything before it is on the disk
	zeros  int64 // the file's length: behind at it is zeros
	mean   int   // octets of a group, of late
	number uint64
	pos    store.Pos // of the last batch written
	buf    []byte
	direct bool
}

// group is what one write made durable.
type group struct {
	batches []*pending
	end     applied
}

// maxIdleBuffer is what the writer keeps for the next group.
const maxIdleBuffer = 1 << 20

// write is the goroutine.
func (e *Engine) write() {
	defer e.done.Done()
	defer close(e.groups)
	for {
		items, ok := e.take()
		if !ok {
			return
		}
		if err := e.writeItems(items); err != nil {
			e.fence(err)
		} else if err := e.fillAhead(); err != nil {
			e.fence(err)
		}
	}
}

// take waits for work and takes what fits a group; ok is false when there is nothing more to come. After a fence all
// there is fails.
func (e *Engine) take() (items []*item, ok bool) {
	for {
		e.mu.Lock()
		if cause := e.cause(); cause != nil {
			closing := e.closing
			e.mu.Unlock()
			e.failQueued(nil, cause)
			if closing {
				return nil, false
			}
		} else if len(e.queue) > 0 {
			items = e.takeGroup()
			e.mu.Unlock()
			return items, true
		} else if e.closing {
			e.mu.Unlock()
			return nil, false
		} else {
			e.mu.Unlock()
		}
		<-e.work
		runtime.Gosched() // who runs now may have something for the same group
	}
}

// takeGroup needs the lock.
func (e *Engine) takeGroup() []*item {
	var octets int64
	n := 0
	for n < len(e.queue) && (n == 0 || octets+e.queue[n].octets <= int64(e.o.GroupOctets)) {
		octets += e.queue[n].octets
		n++
		if e.queue[n-1].roll != nil {
			break
		}
	}
	items := e.queue[:n:n]
	if e.queue = e.queue[n:]; len(e.queue) == 0 {
		e.queue = nil
	}
	e.queued -= octets
	e.makeRoom()
	return items
}

// writeItems writes one group. An error means that the engine must stop; the items have been told.
func (e *Engine) writeItems(items []*item) error {
	var octets int64
	for _, it := range items {
		octets += it.octets
	}
	roll := items[len(items)-1].roll
	if e.w.at.off > 0 && (int64(e.w.at.off)+groupHeader+octets > e.o.SegmentOctets || roll != nil && len(items) == 1) {
		if err := e.rollSegment(); err != nil {
			return e.endAll(items, err)
		}
		// The index comes along also where a segment holds nothing but bodies that no batch took: only what it has
		// passed is removed.
		e.groups <- &group{end: applied{pos: e.w.pos, end: e.w.at, number: e.w.number}}
	}
	if roll != nil && len(items) == 1 {
		roll <- nil
		return nil
	}
	g := e.assemble(items, int(octets))
	if err := e.writeGroup(g); err != nil {
		if errors.Is(err, syscall.ENOSPC) && e.takeBack() == nil {
			e.full.Store(true)
			e.failQueued(items, fmt.Errorf("%w: %w", store.ErrFull, err))
			return nil
		}
		return e.endAll(items, err)
	}
	for _, it := range items {
		if it.chunk != nil {
			e.segs.pin(it.chunk.at.seg, it.chunk.body)
			if !it.chunk.state.CompareAndSwap(0, chunkWritten) {
				e.segs.unpin(it.chunk.at.seg, it.chunk.body)
			}
			it.chunk.done <- nil
		}
	}
	if len(g.batches) > 0 {
		e.groups <- g
	}
	if roll != nil {
		return e.writeItems(items[len(items)-1:])
	}
	return nil
}

func (e *Engine) endAll(items []*item, err error) error {
	e.fence(err) // first, so that the error they get says it
	for _, it := range items {
		it.end(fmt.Errorf("%w (%w)", e.cause(), store.ErrUnknown))
	}
	return err
}

// assemble puts the group into the buffer, places the bodies and moves the writer's position.
func (e *Engine) assemble(items []*item, octets int) *group {
	w := &e.w
	if need := alignUp(groupHeader + octets); cap(w.buf) < need {
		w.buf = alignedBuffer(max(need, 256<<10))
	}
	g := &group{}
	h := header{store: e.id, at: w.at, number: w.number + 1, synced: w.synced, pos: uint64(w.pos), session: e.session}
	b := w.buf[:groupHeader]
	for _, it := range items {
		switch {
		case it.batch != nil:
			enc := it.batch.enc
			enc.place(place{w.at.seg, w.at.off + uint32(len(b)+recordHeader+len(enc.meta))})
			b = appendRecordHeader(b, recBatch, uint64(it.batch.pos), enc.meta, enc.bodyOctets())
			for _, in := range enc.inline {
				b = append(b, in.framed...)
			}
			g.batches = append(g.batches, it.batch)
			w.pos = it.batch.pos
		case it.chunk != nil:
			b = appendRecordHeader(b, recChunk, 0, it.chunk.meta(), len(it.chunk.framed))
			it.chunk.at = place{w.at.seg, w.at.off + uint32(len(b))}
			b = append(b, it.chunk.framed...)
		}
	}
	h.length = uint32(len(b) - groupHeader)
	h.put(b)
	end := alignUp(len(b))
	clear(b[len(b):end])
	w.buf = b[:end]
	return g
}

// meta of a chunk record: identity of the body, number of the first block.
func (c *chunk) meta() []byte {
	return le.AppendUint32(le.AppendUint64(make([]byte, 0, 12), c.body), c.first)
}

// writeGroup writes what assemble made; it syncs if there is a batch in it.
func (e *Engine) writeGroup(g *group) error {
	w := &e.w
	// One call for both, where nothing written before waits for a sync, which it would not cover. Through the page cache a
	// lack of space may show only in the sync, which must be told apart.
	atOnce := len(g.batches) > 0 && w.direct && w.synced == w.at
	var err error
	if atOnce {
		err = w.file.WriteAtSync(w.buf, int64(w.at.off))
	} else {
		_, err = w.file.WriteAt(w.buf, int64(w.at.off))
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", w.at, err)
	}
	w.number++
	w.at.off += uint32(len(w.buf))
	w.zeros = max(w.zeros, int64(w.at.off))
	w.mean += (len(w.buf) - w.mean) / 8
	if cap(w.buf) > maxIdleBuffer {
		w.buf = nil
	}
	e.segs.grow(w.at.seg, int64(w.at.off))
	if len(g.batches) == 0 {
		return nil
	}
	if atOnce {
		w.synced = w.at
	} else if err := e.sync(); err != nil {
		return err
	}
	g.end = applied{pos: w.pos, end: w.at, number: w.number}
	return nil
}

// errSync marks a failed sync, after which a file is never written again whatever the cause.
var errSync = errors.New("sync failed")

func (e *Engine) sync() error {
	if err := e.w.file.Sync(); err != nil {
		return fmt.Errorf("%w: %s: %v", errSync, e.w.at, err)
	}
	e.w.synced = e.w.at
	return nil
}

// takeBack undoes a write for which there was no space, so that nothing of the group can come back after a crash.
func (e *Engine) takeBack() error {
	w := &e.w
	if err := w.file.Truncate(int64(w.at.off)); err != nil {
		return err
	}
	w.zeros = int64(w.at.off)
	if err := w.file.Sync(); err != nil {
		return err
	}
	w.synced = w.at
	return nil
}

// rollSegment syncs the segment and begins the next one. Where another follows there are no zeros: they would be damage.
func (e *Engine) rollSegment() error {
	w := &e.w
	if w.zeros > int64(w.at.off) {
		if err := e.takeBack(); err != nil {
			return fmt.Errorf("%w: %s: %v", errSync, w.at, err)
		}
	}
	if w.synced != w.at {
		if err := e.sync(); err != nil {
			return err
		}
	}
	if err := w.file.Close(); err != nil {
		return err
	}
	return e.startSegment(w.at.seg + 1)
}

// startSegment makes an empty segment and puts the writer at its beginning.
func (e *Engine) startSegment(n uint32) error {
	f, direct, err := e.openForWriting(e.segs.path(n), disk.Create|disk.Truncate)
	if err != nil {
		return err
	}
	if err := e.o.FS.SyncDir(e.segs.dir); err != nil {
		return errors.Join(err, f.Close())
	}
	e.segs.add(n)
	e.w.file, e.w.direct = f, direct
	e.w.at = place{n, 0}
	e.w.synced, e.w.zeros = e.w.at, 0
	return nil
}

// openForWriting opens past the page cache where that is wanted and works.
func (e *Engine) openForWriting(name string, how disk.Flags) (disk.File, bool, error) {
	if e.o.Direct != DirectOff {
		f, err := e.o.FS.Open(name, disk.Write|disk.Direct|how)
		if err == nil || e.o.Direct == DirectOnly || !errors.Is(err, syscall.EINVAL) {
			return f, true, err
		}
	}
	f, err := e.o.FS.Open(name, disk.Write|how)
	return f, false, err
}
