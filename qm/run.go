package qm

import (
	"context"
	"errors"
	"sync"
	"time"
)

// ErrRunning: Run was called before.
var ErrRunning = errors.New("qm: already running, or has been")

// Run delivers until ctx ends or the engine stops. It returns nil after Drain or when ctx ended; what was on the
// wire then is broken off, and tried again by the next manager.
func (q *QM) Run(ctx context.Context) error {
	q.mu.Lock()
	if q.running {
		q.mu.Unlock()
		return ErrRunning
	}
	q.running = true
	working, stopWorking := context.WithCancel(ctx)
	defer stopWorking()
	q.runCtx = working
	q.mu.Unlock()
	if err := q.renew(ctx, true); err != nil {
		q.check(err)
		return err
	}
	if q.crashed > 0 {
		q.cfg.Log.Warn("the queue was not closed in order: what was on the wire then may be delivered twice")
	}
	var keep, rec sync.WaitGroup
	keeping, stopKeeping := context.WithCancel(ctx)
	recording, stopRecording := context.WithCancel(context.WithoutCancel(ctx))
	keep.Go(func() { q.scanner(keeping) })
	keep.Go(func() { q.keeper(keeping) })
	keep.Go(func() { q.reporter(keeping) })
	keep.Go(func() { q.sweeper(keeping) })
	rec.Go(func() { q.recorder(recording) })
	select {
	case <-ctx.Done():
	case <-q.fatal: // what is on the wire could not be recorded
		stopWorking()
	case <-q.drained:
	}
	stopKeeping()
	keep.Wait()
	// Workers end soon, for their context has; what they know is still recorded, if the disk lets us.
	ending, stopEnding := context.WithTimeout(recording, maxEnding)
	if q.await(ending) != nil {
		q.giveUp()
		stopWorking()
	}
	stopEnding()
	stopRecording()
	rec.Wait()
	q.closeIdle()
	return q.stopped()
}

// maxEnding is how long Run waits for its workers and for the disk when it has to end.
const maxEnding = 30 * time.Second

var errGaveUp = errors.New("qm: ended before everything was recorded")

// giveUp lets workers go that wait for a recorder which cannot write.
func (q *QM) giveUp() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.stop == nil {
		q.stop = errGaveUp
		close(q.fatal)
	}
	q.room.Broadcast()
}

// Drain begins no new attempt, lets those on the wire finish until ctx ends, and marks the queue as closed in
// order. Door still takes messages, which wait for the next manager. The engine stays open.
func (q *QM) Drain(ctx context.Context) error {
	q.mu.Lock()
	q.draining = true
	running := q.running
	q.mu.Unlock()
	if running {
		if err := q.await(ctx); err != nil {
			return err
		}
	}
	q.drainOnce.Do(func() { close(q.drained) })
	if err := q.stopped(); err != nil {
		return err
	}
	return q.renew(ctx, false)
}

// await returns when no worker is under way and every outcome is on disk.
func (q *QM) await(ctx context.Context) error {
	q.mu.Lock()
	q.draining = true
	if q.quiet == nil {
		q.quiet = make(chan struct{})
	}
	quiet := q.quiet
	q.checkQuiet()
	q.mu.Unlock()
	select {
	case <-quiet:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// keeper renews the lease and forgets what is idle.
func (q *QM) keeper(ctx context.Context) {
	tick := time.NewTicker(q.cfg.Limits.LeaseTime / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := q.renew(ctx, true); err != nil && ctx.Err() == nil {
			q.check(err)
		}
		q.mu.Lock()
		q.sweepLines(false)
		q.mu.Unlock()
	}
}

// recorder writes what came of the attempts, as many at once as have come in while it wrote the last.
func (q *QM) recorder(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-q.doneWake:
		}
		for {
			q.mu.Lock()
			outs := q.done
			q.done = nil
			if len(outs) > maxRecord {
				q.done = outs[maxRecord:]
				outs = outs[:maxRecord:maxRecord]
			}
			q.record = len(outs) > 0
			q.room.Broadcast()
			q.checkQuiet()
			q.mu.Unlock()
			if len(outs) == 0 {
				break
			}
			if err := q.recordAll(ctx, outs); err != nil {
				q.check(err)
				q.mu.Lock()
				q.record, q.done = false, nil
				q.checkQuiet()
				q.mu.Unlock()
				return
			}
		}
	}
}

// maxRecord is how many outcomes one batch takes.
const maxRecord = 250
