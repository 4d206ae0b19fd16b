package qm

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store"
)

// Bounds of one call.
const (
	defaultPage   = 100
	maxPage       = 1000
	maxListRows   = 50000   // looked at for one page
	maxStatsRows  = 1000000 // counted
	maxStatsLines = 50
)

// List returns a page of the queue.
func (q *QM) List(ctx context.Context, f Filter) (*Page, error) {
	var from ID
	if f.After != "" {
		id, err := ParseID(f.After)
		if err != nil {
			return nil, err
		}
		from = id + 1
	}
	if f.Limit <= 0 {
		f.Limit = defaultPage
	}
	f.Limit = min(f.Limit, maxPage)
	match := f.compile(q.now())
	page := &Page{}
	err := q.cfg.Engine.View(ctx, func(r store.Reader) error {
		lo := []byte{'m', q.cfg.Lane}
		if from > 0 {
			lo = appendMessageKey(nil, from)
		}
		return q.eachEntry(ctx, r, lo, maxListRows, func(e *Entry, cut bool) bool {
			if e != nil && match(e) {
				page.Entries = append(page.Entries, *e)
			}
			if e != nil && (cut || len(page.Entries) == f.Limit) {
				page.Next = e.ID
				return false
			}
			return true
		})
	})
	if err != nil {
		return nil, err
	}
	return page, nil
}

// eachEntry yields the messages from lo on; cut says that this is the last because rows were enough.
func (q *QM) eachEntry(ctx context.Context, r store.Reader, lo []byte, rows int, yield func(e *Entry, cut bool) bool) error {
	var e *Entry
	n := 0
	for kv, err := range r.Scan(ctx, lo, after([]byte{'m', q.cfg.Lane}), false) {
		if err != nil {
			return err
		}
		n++
		if len(kv.Key) == 10 {
			if e != nil && !yield(q.finishEntry(e), n >= rows) {
				return nil
			}
			if e, err = decodeEntry(kv); err != nil {
				q.cfg.Log.Error("a message in the queue cannot be read", "key", kv.Key)
			}
			continue
		}
		if e == nil || len(kv.Key) != 15 || kv.Key[10] != 'r' {
			continue
		}
		row, err := decodeRecipient(kv.Value)
		if err != nil {
			continue
		}
		e.Recipients = append(e.Recipients, q.describe(row, int(binary.BigEndian.Uint32(kv.Key[11:]))))
	}
	if e != nil {
		yield(q.finishEntry(e), false)
	}
	return nil
}

func decodeEntry(kv store.KV) (*Entry, error) {
	own, _, err := store.SplitRef(kv.Value)
	if err != nil {
		return nil, err
	}
	m, err := decodeMessage(own)
	if err != nil {
		return nil, err
	}
	id := ID(binary.BigEndian.Uint64(kv.Key[2:]))
	return &Entry{ID: id.String(), Arrival: m.arrival, Size: m.size, Sender: m.sender, Account: m.origin.account, MessageID: m.msgID}, nil
}

func (q *QM) describe(r *recipientRow, n int) EntryRecipient {
	e := EntryRecipient{Number: n, Address: r.rcpt.Address, Target: r.target, Destination: destination(r.dest),
		Attempts: r.attempts, Last: r.last, State: StateQueued}
	switch {
	case r.held:
		e.State = StateHeld
		return e
	case r.attempts > 0:
		e.State = StateDeferred
	case time.UnixMilli(int64(r.due)).After(q.now()): // RFC 4865
		e.State = StateHeld
	}
	e.Next = time.UnixMilli(int64(r.due))
	return e
}

// destination is the name of a line as people see it: a domain, a next hop or "local".
func destination(line string) string { return strings.TrimPrefix(line, "mx:") }

// finishEntry adds what only memory knows.
func (q *QM) finishEntry(e *Entry) *Entry {
	e.Open = len(e.Recipients)
	id, err := ParseID(e.ID)
	if err != nil {
		return e
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	m := q.msgs[id]
	if m == nil {
		return e
	}
	for _, x := range m.entries {
		for i := range e.Recipients {
			if x.taken && e.Recipients[i].Number == int(x.n) {
				e.Recipients[i].State = StateActive
			}
		}
	}
	return e
}

// compile makes the filter a function.
func (f Filter) compile(now time.Time) func(*Entry) bool {
	sender, match := strings.ToLower(f.Sender), f.recipients()
	return func(e *Entry) bool {
		if sender != "" && !matchAddress(sender, e.Sender.Address) || f.OlderThan > 0 && now.Sub(e.Arrival) < f.OlderThan {
			return false
		}
		return match == nil || slices.ContainsFunc(e.Recipients, match)
	}
}

// recipients is the part of the filter that is about them; nil: it matches all.
func (f Filter) recipients() func(EntryRecipient) bool {
	rcpt, dest := strings.ToLower(f.Recipient), asciiDomain(f.Destination)
	if rcpt == "" && dest == "" && f.State == "" {
		return nil
	}
	return func(r EntryRecipient) bool {
		return (rcpt == "" || matchAddress(rcpt, r.Address) || matchAddress(rcpt, r.Target.Address)) &&
			(dest == "" || dest == r.Destination || dest == asciiDomain(r.Target.Address.Domain)) &&
			(f.State == "" || f.State == r.State)
	}
}

func matchAddress(want string, a mail.Address) bool {
	switch {
	case want == "<>":
		return a.IsNull()
	case want[0] == '@':
		return strings.EqualFold(want[1:], a.Domain)
	}
	return strings.EqualFold(want, a.String())
}

// Show returns one message. ErrNoMessage.
func (q *QM) Show(ctx context.Context, id string) (*Entry, error) {
	n, err := ParseID(id)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoMessage, err)
	}
	var found *Entry
	err = q.cfg.Engine.View(ctx, func(r store.Reader) error {
		return q.eachEntry(ctx, r, messageKey(n), maxStatsRows, func(e *Entry, _ bool) bool {
			if e != nil && e.ID == n.String() {
				found = e
			}
			return false
		})
	})
	if err == nil && found == nil {
		err = ErrNoMessage
	}
	return found, err
}

// Stats counts what a filter chooses: messages, and of their recipients those that match it. Active and Connections are those of
// the whole queue.
func (q *QM) Stats(ctx context.Context, f Filter) (*Stats, error) {
	s := &Stats{}
	lines := map[string]*DestinationStats{}
	var err error
	if f.After, f.Limit = "", 0; f == (Filter{}) {
		err = q.countRows(ctx, s, lines)
	} else {
		err = q.countChosen(ctx, f, s, lines)
	}
	if err != nil {
		return nil, err
	}
	q.mu.Lock()
	s.Active = q.workers.all + q.workers.local
	now := q.now()
	for _, l := range q.lines {
		s.Connections += len(l.idle)
		if !l.local {
			s.Connections += l.workers
		}
		d := lines[l.name]
		if d == nil {
			continue
		}
		d.Connections, d.Window, d.Paused = l.workers+len(l.idle), q.window(l), l.paused
		if now.Before(l.state.until) {
			d.Until, d.LastError = l.state.until, l.state.reason.Reply.String()
		}
	}
	q.mu.Unlock()
	for _, d := range lines {
		s.Destinations = append(s.Destinations, *d)
	}
	slices.SortFunc(s.Destinations, func(a, b DestinationStats) int {
		return cmp.Or(b.Recipients-a.Recipients, cmp.Compare(a.Destination, b.Destination))
	})
	s.Paused = q.Paused()
	s.Destinations = s.Destinations[:min(len(s.Destinations), maxStatsLines)]
	return s, nil
}

var errEnough = errors.New("enough rows")

// countRows counts messages and recipients, in views of a bounded size.
func (q *QM) countRows(ctx context.Context, s *Stats, lines map[string]*DestinationStats) error {
	lo, rows := []byte{'m', q.cfg.Lane}, 0
	hi := after(lo)
	for lo != nil {
		var next []byte
		err := q.cfg.Engine.View(ctx, func(r store.Reader) error {
			n := 0
			for kv, err := range r.Scan(ctx, lo, hi, false) {
				if err != nil {
					return err
				}
				if n++; n > maxListRows {
					next = bytes.Clone(kv.Key)
					return nil
				}
				if rows++; rows > maxStatsRows {
					s.Truncated = true
					return errEnough
				}
				q.countRow(kv, s, lines)
			}
			return nil
		})
		if errors.Is(err, errEnough) {
			return nil
		}
		if err != nil {
			return err
		}
		lo = next
	}
	return nil
}

// countChosen counts what a filter chooses.
func (q *QM) countChosen(ctx context.Context, f Filter, s *Stats, lines map[string]*DestinationStats) error {
	f.Limit = maxPage
	match := f.recipients()
	for {
		page, err := q.List(ctx, f)
		if err != nil {
			return err
		}
		for i := range page.Entries {
			e := &page.Entries[i]
			s.Messages++
			if s.Oldest.IsZero() {
				s.Oldest = e.Arrival
			}
			for _, r := range e.Recipients {
				if match == nil || match(r) {
					name, err := q.lineOf(r.Destination)
					if err != nil {
						name = r.Destination
					}
					q.countRecipient(r.State, name, s, lines)
				}
			}
		}
		if page.Next == "" {
			return nil
		}
		if s.Recipients > maxStatsRows {
			s.Truncated = true
			return nil
		}
		f.After = page.Next
	}
}

func (q *QM) countRow(kv store.KV, s *Stats, lines map[string]*DestinationStats) {
	switch {
	case len(kv.Key) == 10:
		s.Messages++
		if s.Oldest.IsZero() { // ids grow with time
			s.Oldest = time.UnixMilli(int64(binary.BigEndian.Uint64(kv.Key[2:]) >> (seqBits + laneBits)))
		}
	case len(kv.Key) == 15:
		row, err := decodeRecipient(kv.Value)
		if err != nil {
			return
		}
		q.countRecipient(q.describe(row, 0).State, row.dest, s, lines)
	}
}

func (q *QM) countRecipient(state State, line string, s *Stats, lines map[string]*DestinationStats) {
	s.Recipients++
	switch state {
	case StateHeld:
		s.Held++
	case StateDeferred:
		s.Deferred++
	}
	d := lines[line]
	if d == nil {
		if len(lines) >= q.cfg.Limits.MaxDestinations {
			return
		}
		d = &DestinationStats{Destination: destination(line)}
		lines[line] = d
	}
	d.Recipients++
}
