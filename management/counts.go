package management

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/samotop/samotop/mailauth/report"
	"github.com/samotop/samotop/store"
)

// Counted is messages of one day that fared alike, for the DMARC report to the owner of a domain (RFC 9990).
type Counted struct {
	Day       string           `json:"day"`    // of UTC, as 2006-01-02
	Domain    string           `json:"domain"` // where the policy was found
	Published report.Published `json:"published"`
	To        []string         `json:"to"` // who wants reports: addresses
	Record    report.Record    `json:"record"`
}

// CountArgs is reports/count, by which other processes tell.
type CountArgs struct {
	Counted []Counted `json:"counted"`
}

// Counts keeps what the daily reports to others will say, in the database of the Journal: "a" day NUL domain NUL hash ->
// Counted.
type Counts struct {
	Engine store.Engine

	mu      sync.Mutex
	waiting map[string]*Counted // by key
	dropped int64
}

// Limits of Counts.
const (
	maxCountedWaiting = 50_000
	maxCountedRows    = 10_000 // of one report
)

// Count adds one message, or as many as x.Record.Count says. It returns at once; Flush writes.
func (c *Counts) Count(x Counted) {
	n := max(x.Record.Count, 1)
	x.Record.Count = 0
	text, err := json.Marshal(x)
	if err != nil || strings.ContainsRune(x.Domain, 0) || len(x.Day) != len(time.DateOnly) {
		return
	}
	sum := sha256.Sum256(text)
	key := countKey(x.Day, x.Domain) + hex.EncodeToString(sum[:12])
	c.mu.Lock()
	defer c.mu.Unlock()
	have := c.waiting[key]
	if have == nil {
		if len(c.waiting) >= maxCountedWaiting {
			c.dropped += n
			return
		}
		if c.waiting == nil {
			c.waiting = map[string]*Counted{}
		}
		have = &x
		c.waiting[key] = have
	}
	have.Record.Count += n
}

func countKey(day, domain string) string { return "a" + day + "\x00" + domain + "\x00" }

// Take empties what waits in memory, to be handed to management of another process.
func (c *Counts) Take() []Counted {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]Counted, 0, len(c.waiting))
	for _, x := range c.waiting {
		out = append(out, *x)
	}
	c.waiting = nil
	return out
}

// Flush adds what waits in memory to what is on disk. Only one goroutine may call it at a time.
func (c *Counts) Flush(ctx context.Context) error {
	c.mu.Lock()
	waiting := c.waiting
	c.waiting = nil
	c.mu.Unlock()
	if len(waiting) == 0 {
		return nil
	}
	b := &store.Batch{}
	err := c.Engine.View(ctx, func(r store.Reader) error {
		for key, x := range waiting {
			values, err := r.GetMulti(ctx, [][]byte{[]byte(key)})
			if err != nil {
				return err
			}
			var old Counted
			if values[0] != nil && json.Unmarshal(values[0], &old) == nil {
				x.Record.Count += old.Record.Count
			}
			value, err := json.Marshal(x)
			if err != nil {
				return err
			}
			b.Ops = append(b.Ops, store.Put([]byte(key), value))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("count for reports: %w", err)
	}
	return store.Commit(ctx, c.Engine, b)
}

// Due is a report to be sent.
type Due struct {
	Day       string
	Domain    string
	To        []string
	Published report.Published
	Records   []report.Record
}

// Due lists what is to be reported of the days before a day, such as today. Of a report that would be too large only the
// first records are there.
func (c *Counts) Due(ctx context.Context, before string) ([]Due, error) {
	var out []Due
	err := c.Engine.View(ctx, func(r store.Reader) error {
		for kv, err := range r.Scan(ctx, []byte("a"), []byte("a"+before), false) {
			if err != nil {
				return err
			}
			var x Counted
			if json.Unmarshal(kv.Value, &x) != nil {
				continue
			}
			if n := len(out); n == 0 || out[n-1].Day != x.Day || out[n-1].Domain != x.Domain {
				out = append(out, Due{Day: x.Day, Domain: x.Domain})
			}
			d := &out[len(out)-1]
			d.Published = x.Published // the last one found that day
			for _, to := range x.To {
				if !slices.Contains(d.To, to) && len(d.To) < 20 {
					d.To = append(d.To, to)
				}
			}
			if len(d.Records) < maxCountedRows {
				d.Records = append(d.Records, x.Record)
			}
		}
		return nil
	})
	return out, err
}

// Done forgets what was reported.
func (c *Counts) Done(ctx context.Context, d Due) error {
	lo := countKey(d.Day, d.Domain)
	return store.Commit(ctx, c.Engine, &store.Batch{Ops: []store.Op{store.DeleteRange([]byte(lo), []byte(lo[:len(lo)-1]+"\x01"))}})
}
