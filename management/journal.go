package management

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store"
)

// JournalConfig of OpenJournal. Engine is required.
type JournalConfig struct {
	Engine store.Engine

	MaxAge    time.Duration // events older than that are forgotten; 0: DefaultJournalAge
	MaxOctets int64         // of all events; over it the oldest are forgotten; 0: DefaultJournalOctets
	MaxQueue  int           // events in memory; over it they are dropped and counted; 0: DefaultJournalQueue
	FlushTime time.Duration // an event is on disk after that at the latest; 0: DefaultJournalFlush

	Clock func() time.Time // nil: time.Now
	Log   *slog.Logger     // nil: none
}

// Defaults and limits of the Journal.
const (
	DefaultJournalAge    = 30 * 24 * time.Hour
	DefaultJournalOctets = 512 << 20
	DefaultJournalQueue  = 20_000
	DefaultJournalFlush  = 500 * time.Millisecond

	maxEventText   = 2 << 10 // octets of one text
	maxEventFacts  = 40
	maxEventBatch  = 2000        // in memory, before they are written at once
	journalBucket  = 6 * 60 * 60 // seconds: what is forgotten together
	maxWhyEvents   = 1000
	maxWhyMessages = 50
)

// Journal keeps what the rooms tell of each message, in a database of its own, for as long as its configuration says.
// Record never waits: what does not fit into memory is dropped and counted. An event is lost if the power fails before it
// was flushed; mail never is.
//
// Events are written in blocks (block.go). A bucket is six hours, so that forgetting is three ranges.
type Journal struct {
	cfg     JournalConfig
	dropped atomic.Int64
	flush   chan chan struct{}
	wake    chan struct{} // of capacity 1: the queue is no longer empty, or is long
	stop    context.CancelFunc
	done    chan struct{}

	mu    sync.Mutex
	queue []mail.Event
	spare []mail.Event

	// Of the writer.
	last    uint64 // seq of the last block
	open    block
	buckets map[uint32]int64 // octets of each
	total   int64
	told    int64 // dropped events that the log has been told of
	full    sync.Once
}

var _ mail.Journal = (*Journal)(nil)

// OpenJournal begins to write. The context bounds only the opening.
func OpenJournal(ctx context.Context, cfg JournalConfig) (*Journal, error) {
	if cfg.Engine == nil {
		return nil, errors.New("journal: Engine is required")
	}
	if cfg.MaxAge <= 0 {
		cfg.MaxAge = DefaultJournalAge
	}
	if cfg.MaxOctets <= 0 {
		cfg.MaxOctets = DefaultJournalOctets
	}
	if cfg.MaxQueue <= 0 {
		cfg.MaxQueue = DefaultJournalQueue
	}
	if cfg.FlushTime <= 0 {
		cfg.FlushTime = DefaultJournalFlush
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	j := &Journal{cfg: cfg, flush: make(chan chan struct{}), wake: make(chan struct{}, 1), done: make(chan struct{}), buckets: map[uint32]int64{}}
	if err := j.dropOld(ctx); err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	if err := j.seed(ctx); err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	j.stop = stop
	go j.run(run)
	return j, nil
}

// dropOld removes what a journal of before version 1 wrote: a row for each event, and one for each of its terms.
func (j *Journal) dropOld(ctx context.Context) error {
	old := false
	err := j.cfg.Engine.View(ctx, func(r store.Reader) error {
		for _, err := range r.Scan(ctx, []byte("e"), []byte("f"), false) {
			old = err == nil
			return err
		}
		return nil
	})
	if err != nil || !old {
		return err
	}
	return store.Commit(ctx, j.cfg.Engine, &store.Batch{Ops: []store.Op{store.DeleteRange([]byte("e"), []byte("f")),
		store.DeleteRange([]byte("i"), []byte("j")), store.DeleteRange([]byte("s"), []byte("t"))}})
}

// seed reads how much there is.
func (j *Journal) seed(ctx context.Context) error {
	return j.cfg.Engine.View(ctx, func(r store.Reader) error {
		for kv, err := range r.Scan(ctx, []byte("s"), []byte("t"), false) {
			if err != nil {
				return err
			}
			if len(kv.Key) != 5 || len(kv.Value) != 8 {
				continue
			}
			n := int64(binary.BigEndian.Uint64(kv.Value))
			j.buckets[binary.BigEndian.Uint32(kv.Key[1:])] = n
			j.total += n
		}
		for kv, err := range r.Scan(ctx, []byte{kindBlock}, []byte{kindBlock + 1}, true) {
			if err != nil {
				return err
			}
			if len(kv.Key) == 13 {
				j.last = binary.BigEndian.Uint64(kv.Key[5:])
			}
			break
		}
		return nil
	})
}

// Record keeps an event. It returns at once.
func (j *Journal) Record(_ context.Context, e mail.Event) {
	if e.Time.IsZero() {
		e.Time = j.cfg.Clock()
	}
	e.Facts = append([]mail.Fact(nil), e.Facts[:min(len(e.Facts), maxEventFacts)]...) // a session's facts change
	j.mu.Lock()
	n := len(j.queue)
	if n < j.cfg.MaxQueue {
		j.queue = append(j.queue, e)
	}
	j.mu.Unlock()
	switch {
	case n >= j.cfg.MaxQueue:
		j.dropped.Add(1)
	case n == 0 || n == maxEventBatch:
		select {
		case j.wake <- struct{}{}:
		default:
		}
	}
}

// Dropped is how many events found no room since the start.
func (j *Journal) Dropped() int64 { return j.dropped.Load() }

// Flush returns when what was recorded before is on disk, or ctx has ended.
func (j *Journal) Flush(ctx context.Context) error {
	ack := make(chan struct{})
	select {
	case j.flush <- ack:
	case <-j.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-ack:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close writes what is in memory and ends. The engine stays open.
func (j *Journal) Close() error {
	j.stop()
	<-j.done
	return nil
}

// run writes what was recorded, FlushTime after the first event or once there are many.
func (j *Journal) run(ctx context.Context) {
	defer close(j.done)
	late := time.NewTimer(j.cfg.FlushTime)
	late.Stop()
	for {
		select {
		case <-j.wake:
			if j.waiting() <= maxEventBatch {
				late.Reset(j.cfg.FlushTime)
				continue
			}
		case <-late.C:
		case ack := <-j.flush:
			j.writeAll()
			close(ack)
			continue
		case <-ctx.Done():
			j.writeAll()
			return
		}
		j.writeAll()
		j.report()
	}
}

func (j *Journal) waiting() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.queue)
}

// writeAll writes what is in memory now.
func (j *Journal) writeAll() {
	j.mu.Lock()
	events := j.queue
	j.queue, j.spare = j.spare, nil
	j.mu.Unlock()
	for rest := events; len(rest) > 0; {
		n := min(len(rest), maxEventBatch)
		j.write(rest[:n])
		rest = rest[n:]
	}
	clear(events)
	if cap(events) <= 4*maxEventBatch {
		j.mu.Lock()
		j.spare = events[:0]
		j.mu.Unlock()
	}
}

func (j *Journal) report() {
	if n := j.dropped.Load(); n > j.told {
		j.cfg.Log.Warn("the journal was flooded: events were dropped", "events", n-j.told)
		j.told = n
	}
}

// write puts events on disk. A disk that refuses costs the events, and is told once.
func (j *Journal) write(events []mail.Event) {
	if err := store.Commit(context.Background(), j.cfg.Engine, j.batch(events)); err != nil {
		j.dropped.Add(int64(len(events)))
		j.open = block{}
		j.full.Do(func() { j.cfg.Log.Error("the journal cannot be written", "err", err) })
	}
}

func (j *Journal) batch(events []mail.Event) *store.Batch {
	b := &store.Batch{}
	touched := map[uint32]bool{}
	for i := range events {
		at := uint64(events[i].Time.UnixMicro())
		if bucket := bucketOf(max(at, j.last)); bucket != j.open.bucket || j.open.isFull() {
			j.open.end(b)
			j.last = max(at, j.last+1)
			j.open = block{bucket: bucketOf(j.last), seq: j.last}
		}
		size := j.open.add(&events[i])
		touched[j.open.bucket] = true
		j.buckets[j.open.bucket] += size
		j.total += size
	}
	j.open.put(b)
	j.last = max(j.last, j.open.part)
	j.forget(b)
	for bucket := range touched {
		if n, ok := j.buckets[bucket]; ok {
			b.Ops = append(b.Ops, store.Put(bucketKey('s', bucket), binary.BigEndian.AppendUint64(nil, uint64(n))))
		}
	}
	return b
}

// forget drops whole buckets that are too old or too many.
func (j *Journal) forget(b *store.Batch) {
	oldest := bucketOf(uint64(j.cfg.Clock().Add(-j.cfg.MaxAge).UnixMicro()))
	newest := bucketOf(j.last)
	for {
		first, any := uint32(0), false
		for k := range j.buckets {
			if !any || k < first {
				first, any = k, true
			}
		}
		if !any || first >= oldest && j.total <= j.cfg.MaxOctets || first == newest && len(j.buckets) == 1 {
			return
		}
		for _, kind := range []byte{kindBlock, kindTerms, 's'} {
			b.Ops = append(b.Ops, store.DeleteRange(bucketKey(kind, first), bucketKey(kind, first+1)))
		}
		j.total -= j.buckets[first]
		delete(j.buckets, first)
	}
}

func bucketOf(seq uint64) uint32 { return uint32(seq / 1e6 / journalBucket) }

func bucketKey(kind byte, bucket uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{kind}, bucket)
}

func plainTerm(s string) string { return strings.ToLower(strings.Trim(strings.TrimSpace(s), "<>")) }

// eventRow is an event on disk.
type eventRow struct {
	Time      time.Time   `json:"t"`
	Trace     string      `json:"s,omitempty"`
	Room      string      `json:"r,omitempty"`
	Kind      string      `json:"k,omitempty"`
	ID        string      `json:"i,omitempty"`
	MessageID string      `json:"m,omitempty"`
	From      string      `json:"f,omitempty"`
	To        string      `json:"o,omitempty"`
	Peer      string      `json:"p,omitempty"`
	Code      int         `json:"c,omitempty"`
	Text      string      `json:"x,omitempty"`
	Facts     [][2]string `json:"a,omitempty"`
}

// encodeEvent writes an eventRow, as json.Marshal would.
func encodeEvent(dst []byte, e *mail.Event) []byte {
	dst = e.Time.UTC().AppendFormat(append(dst, `{"t":"`...), time.RFC3339Nano)
	dst = append(dst, '"')
	for _, f := range [...]struct{ name, value string }{{"s", e.Trace}, {"r", e.Room}, {"k", e.Kind}, {"i", e.ID}, {"m", e.MessageID}, {"f", e.From}, {"o", e.To},
		{"p", e.Peer}, {"x", e.Text}} {
		if f.value != "" {
			dst = append(append(append(dst, `,"`...), f.name...), `":`...)
			dst = appendJSON(dst, cut(f.value))
		}
	}
	if e.Code != 0 {
		dst = strconv.AppendInt(append(dst, `,"c":`...), int64(e.Code), 10)
	}
	open := `,"a":[[`
	for _, f := range e.Facts {
		if f.Value == "" {
			continue
		}
		dst = appendJSON(append(dst, open...), cut(f.Name))
		dst = appendJSON(append(dst, ','), cut(f.Value))
		open = `],[`
	}
	if open == `],[` {
		dst = append(dst, `]]`...)
	}
	return append(dst, '}')
}

// appendJSON appends a JSON string (RFC 8259 section 7).
func appendJSON(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			b, err := json.Marshal(s)
			if err != nil { // a string has no other kind of fault
				return append(dst, `""`...)
			}
			return append(dst, b...)
		}
	}
	return append(append(append(dst, '"'), s...), '"')
}

func cut(s string) string { return s[:min(len(s), maxEventText)] }

func decodeEvent(b []byte) (Step, error) {
	var r eventRow
	if err := json.Unmarshal(b, &r); err != nil {
		return Step{}, fmt.Errorf("journal: an event cannot be read: %w", err)
	}
	s := Step{Time: r.Time, Trace: r.Trace, Room: r.Room, Kind: r.Kind, ID: r.ID, MessageID: r.MessageID, From: r.From, To: r.To, Peer: r.Peer, Code: r.Code, Text: r.Text}
	for _, f := range r.Facts {
		if s.Facts == nil {
			s.Facts = map[string]string{}
		}
		s.Facts[f[0]] = f[1]
	}
	return s, nil
}
