package qm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/samotop/samotop/mailtls/mtasts"
	"github.com/samotop/samotop/mailtls/tlsrpt"
	"github.com/samotop/samotop/store"
)

// QM is a queue manager. It is safe for concurrent use.
//
// What is in memory is a window on what is on disk. One rule keeps it honest: a recipient whose time is at or before
// cursor is in memory, or its line has backlog set, or rescan covers it. Everything later is found by the scan of
// the due index when its time comes.
type QM struct {
	cfg     Config
	routes  routes
	ids     ids
	lease   lease
	crashed uint64 // what was due until then may have been on the wire when the last manager ended; 0: it ended in order
	dial    connector

	rndMu sync.Mutex
	rnd   *mrand.ChaCha8

	mu       sync.Mutex
	stop     error // why nothing may be changed any more
	running  bool
	draining bool
	lines    map[string]*line
	paused   map[string]bool // names of lines
	msgs     map[ID]*message
	frozen   map[ID]bool // not to be loaded: a verb of the management works on it, or it is not yet on disk
	left     map[ID]bool // messages of which something left memory while the scanner reads; nil when it does not
	verbs    uint64      // how many have ended
	entries  int
	bodies   int64 // octets of bodies in memory
	fresh    ring  // lines whose first entry has just come in
	again    ring  // the others
	workers  workers
	done     []outcome
	room     sync.Cond // of mu: done has become shorter, or stop is set
	record   bool      // the recorder is at work
	cursor   uint64
	rescan   bool
	swept    time.Time // when no line could be forgotten
	nextDue  uint64
	loads    []*line
	sts      *mtasts.Client
	// suppressing: there may be addresses that are not written to.
	suppressing atomic.Bool
	attempts    [attemptKinds]atomic.Int64
	metrics     countedQueue
	tls         tlsResults
	quiet       chan struct{} // closed when nothing is under way any more, while draining

	runCtx             context.Context // of Run, for workers
	drained            chan struct{}   // closed by Drain
	drainOnce          sync.Once
	doneWake, scanWake chan struct{}
	fatal              chan struct{} // closed when stop is set
}

// tlsResults is how TLS went.
type tlsResults struct {
	mu       sync.Mutex
	today    *tlsrpt.Counter
	past     []*tlsrpt.Counter // days that are not yet reported
	dirty    bool
	after    time.Duration // after midnight, UTC, reports are sent
	sessions map[sessionKind]int64
}

// sessionKind is what the numbers of all time are kept by.
type sessionKind struct {
	policy string
	result tlsrpt.Result
}

// workers counts what is under way.
type workers struct{ all, again, local int }

// ring is a first in, first out list of lines.
type ring struct{ ls []*line }

func (r *ring) push(l *line) { r.ls = append(r.ls, l) }
func (r *ring) pop() *line {
	l := r.ls[0]
	copy(r.ls, r.ls[1:])
	r.ls[len(r.ls)-1] = nil
	r.ls = r.ls[:len(r.ls)-1]
	return l
}

// Open opens the queue in the engine and takes the lease on its lane. The queue is not read.
func Open(ctx context.Context, cfg Config) (*QM, error) {
	if err := cfg.withDefaults(); err != nil {
		return nil, err
	}
	rs, err := parseRoutes(cfg.Routes)
	if err != nil {
		return nil, err
	}
	var seed [32]byte
	if _, err := io.ReadFull(cfg.Rand, seed[:]); err != nil {
		return nil, fmt.Errorf("qm: randomness: %w", err)
	}
	q := &QM{cfg: cfg, routes: rs, ids: ids{lane: cfg.Lane}, rnd: mrand.NewChaCha8(seed), nextDue: never,
		lines: map[string]*line{}, paused: map[string]bool{}, msgs: map[ID]*message{}, frozen: map[ID]bool{},
		doneWake: make(chan struct{}, 1), scanWake: make(chan struct{}, 1), fatal: make(chan struct{}), drained: make(chan struct{})}
	q.room.L = &q.mu
	q.dial = q.dialSMTP
	q.sts = mtasts.New(mtasts.Config{Resolver: cfg.Resolver, Store: stsStore{q}, TLS: cfg.TLS, Dial: cfg.Dial, Clock: cfg.Clock, Log: cfg.Log})
	q.tls.sessions = map[sessionKind]int64{}
	q.tls.after = time.Hour + time.Duration(q.chance()*float64(4*time.Hour))
	if err := q.takeLease(ctx); err != nil {
		return nil, err
	}
	if err := q.readPaused(ctx); err != nil {
		return nil, fmt.Errorf("qm: read what is paused: %w", err)
	}
	if err := q.readSuppressed(ctx); err != nil {
		return nil, fmt.Errorf("qm: read what is suppressed: %w", err)
	}
	return q, nil
}

func (q *QM) now() time.Time { return q.cfg.Clock() }

func (q *QM) random() uint64 {
	q.rndMu.Lock()
	defer q.rndMu.Unlock()
	return q.rnd.Uint64()
}

// chance returns a number in [0, 1).
func (q *QM) chance() float64 { return float64(q.random()>>11) / (1 << 53) }

func (q *QM) randomBytes(n int) []byte {
	b := make([]byte, 0, n+8)
	for len(b) < n {
		b = binary.BigEndian.AppendUint64(b, q.random())
	}
	return b[:n]
}

func (q *QM) stopped() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.stop
}

// check stops the manager after an error of the engine that leaves it unsure of anything.
func (q *QM) check(err error) {
	if err == nil || errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrTooLarge) || errors.Is(err, context.Canceled) {
		return
	}
	if errors.Is(err, store.ErrConflict) { // every batch asserts the lease
		err = fmt.Errorf("%w: %w", ErrLease, err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.stop == nil {
		q.stop = err
		close(q.fatal)
		q.room.Broadcast()
		q.cfg.Log.Error("the queue stops", "err", err)
	}
}

// line returns the line of the name, making it if need be; nil if there are too many.
func (q *QM) line(name string) *line {
	l := q.lines[name]
	if l == nil {
		if len(q.lines) >= q.cfg.Limits.MaxDestinations && name != localLine {
			if !q.makeRoom() {
				return nil
			}
		}
		l = &line{name: name, local: name == localLine, paused: q.paused[name], state: lineState{window: initialWindow}}
		l.hop, _ = q.routes.byName(name)
		if l.hop.interval == 0 && !l.local {
			l.hop.interval = q.cfg.Limits.Interval
		}
		q.lines[name] = l
	}
	return l
}

const initialWindow = 5

// sweepLines forgets lines that say nothing; with all also those that only rest, whose recipients have times of
// their own.
func (q *QM) sweepLines(all bool) {
	now := q.now()
	for name, l := range q.lines {
		if l.len() == 0 && l.workers == 0 && !l.backlog && !l.loading && !l.ready && !l.paused && len(l.idle) == 0 &&
			!now.Before(l.slot) && (all || !now.Before(l.state.until)) {
			delete(q.lines, name)
		}
	}
}

// makeRoom reports whether there may be another line. It looks at all of them at most once a second in vain.
func (q *QM) makeRoom() bool {
	limit := q.cfg.Limits.MaxDestinations
	if len(q.lines) >= limit && q.now().Sub(q.swept) >= time.Second {
		q.sweepLines(true)
		if len(q.lines) >= limit {
			q.swept = q.now()
		}
	}
	return len(q.lines) < limit
}

func (q *QM) lineLimit() int {
	if q.entries > q.cfg.Limits.MaxEntries {
		return min(10, q.cfg.Limits.MaxLineEntries)
	}
	return q.cfg.Limits.MaxLineEntries
}

// arrived takes a message that has just become durable into memory, to be tried at once.
func (q *QM) arrived(m *message, entries []*entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if n := int64(len(m.body)); n > 0 {
		if !q.running || q.bodies+n > q.cfg.Limits.MaxMemoryBytes {
			m.body = nil
		} else {
			q.bodies += n
		}
	}
	now := millis(q.now())
	delete(q.frozen, m.id)
	for _, e := range entries {
		if !q.running || e.row.due > now {
			q.missed(e.row.dest, e.row.due)
			continue
		}
		e.fresh = true
		q.admit(e)
	}
	q.settle(m)
	q.dispatch()
}

// coming keeps the scan away from a message that is on its way to the disk, until arrived or lost is called.
func (q *QM) coming(id ID) {
	q.mu.Lock()
	q.frozen[id] = true
	q.mu.Unlock()
}

func (q *QM) lost(id ID) {
	q.mu.Lock()
	delete(q.frozen, id)
	q.mu.Unlock()
}

// admit puts an entry into its line, or notes that it is on disk only.
func (q *QM) admit(e *entry) {
	l := q.line(e.row.dest)
	if l == nil && e.fresh {
		q.giveWay()
		l = q.line(e.row.dest)
	}
	switch {
	case l == nil:
		q.rescan = true
		return
	case l.len() >= q.lineLimit():
		l.backlog = true
		less := l.queue.yield(e.msg.row.sender.Priority)
		if less == nil {
			return
		}
		q.detach(less) // it stays on disk
		q.settle(less.msg)
	}
	m := e.msg
	q.msgs[m.id] = m
	m.entries = append(m.entries, e)
	q.entries++
	l.queue.push(e)
	q.makeReady(l)
}

// missed notes a recipient on disk whose time may be over.
func (q *QM) missed(dest string, due uint64) {
	if due > q.cursor {
		q.wakeAt(due)
		return
	}
	if l := q.line(dest); l != nil {
		l.backlog = true
		q.wantLoad(l)
	} else {
		q.rescan = true
	}
}

// settle forgets a message of which nothing is in memory any more.
func (q *QM) settle(m *message) {
	if m.busy == 0 && m.frozen != nil {
		close(m.frozen)
		m.frozen = nil
	}
	if len(m.entries) > 0 {
		return
	}
	if m.body != nil {
		q.bodies -= int64(len(m.body))
		m.body = nil
	}
	if q.msgs[m.id] == m {
		delete(q.msgs, m.id)
	}
}

// detach takes an entry out of memory.
func (q *QM) detach(e *entry) {
	m := e.msg
	if q.left != nil {
		q.left[m.id] = true
	}
	for i, x := range m.entries {
		if x == e {
			last := len(m.entries) - 1
			m.entries[i] = m.entries[last]
			m.entries[last] = nil
			m.entries = m.entries[:last]
			q.entries--
			return
		}
	}
}

func (q *QM) wakeAt(due uint64) {
	if due < q.nextDue {
		q.nextDue = due
		wake(q.scanWake)
	}
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (q *QM) wantLoad(l *line) {
	if l.backlog && !l.loading && q.running {
		l.loading = true
		q.loads = append(q.loads, l)
		wake(q.scanWake)
	}
}

// makeReady lists a line that has something to do and may begin.
func (q *QM) makeReady(l *line) {
	if l.ready || l.paused || l.waiting || l.len() == 0 || l.workers >= q.window(l) {
		return
	}
	l.ready = true
	if l.local || l.fresh() {
		q.fresh.push(l)
	} else {
		q.again.push(l)
	}
}

func (q *QM) window(l *line) int {
	if l.local {
		return q.cfg.Limits.MaxLocal
	}
	if n := l.hop.connections; n > 0 {
		return min(l.state.window, n)
	}
	return l.state.window
}

// dispatch starts workers for lines that are ready. What comes from the disk gets at most half of them, so that new
// mail never waits for a queue full of old trouble.
func (q *QM) dispatch() {
	for q.running && !q.draining && q.stop == nil {
		l, again := q.pick()
		if l == nil {
			return
		}
		l.ready = false
		if l.paused || l.len() == 0 {
			continue
		}
		l.workers++
		if l.local {
			q.workers.local++
		} else {
			q.workers.all++
			if again {
				q.workers.again++
			}
		}
		go q.work(l, again)
		q.makeReady(l)
	}
}

func (q *QM) pick() (l *line, again bool) {
	limit := q.cfg.Limits.MaxConnections
	if len(q.fresh.ls) > 0 {
		if q.workers.all < limit {
			return q.fresh.pop(), false
		}
		for i, l := range q.fresh.ls { // local delivery needs no connection
			if l.local {
				q.fresh.ls = append(q.fresh.ls[:i], q.fresh.ls[i+1:]...)
				return l, false
			}
		}
	}
	if len(q.again.ls) > 0 && q.workers.all < limit && q.workers.again < max(limit/2, 1) {
		return q.again.pop(), true
	}
	return nil, false
}

// maxPending is how many outcomes may wait for the recorder; then workers wait for it too.
const maxPending = 1000

// completed hands outcomes to the recorder.
func (q *QM) completed(outs []outcome) {
	q.mu.Lock()
	for len(q.done) > maxPending && q.stop == nil {
		q.room.Wait()
	}
	if q.stop == nil { // else nothing can be recorded any more
		q.done = append(q.done, outs...)
	}
	q.mu.Unlock()
	wake(q.doneWake)
}

func (q *QM) checkQuiet() {
	if q.quiet != nil && q.workers.all == 0 && q.workers.local == 0 && len(q.done) == 0 && !q.record {
		close(q.quiet)
		q.quiet = nil
	}
}
