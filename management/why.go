package management

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/samotop/samotop/store"
)

// Step is one step in the life of a message, as "samotop why" tells it.
type Step struct {
	Time      time.Time         `json:"time"`
	Room      string            `json:"room"`
	Kind      string            `json:"kind"`
	Trace     string            `json:"trace,omitempty"` // of the session
	ID        string            `json:"id,omitempty"`    // of the message in that room
	MessageID string            `json:"message_id,omitempty"`
	From      string            `json:"from,omitempty"`
	To        string            `json:"to,omitempty"`
	Peer      string            `json:"peer,omitempty"`
	Code      int               `json:"code,omitempty"`
	Text      string            `json:"text,omitempty"`
	Facts     map[string]string `json:"facts,omitempty"`
}

// Why is what is asked of the Journal.
type Why interface {
	// Why returns the steps of the messages that a Message-ID, an id of ours, or an address belongs to, in the order of
	// time; with an address those of the latest messages. None is ErrNothing.
	Why(ctx context.Context, what string) ([]Step, error)
}

var _ Why = (*Journal)(nil)

// ErrNothing: the Journal knows nothing of it.
var ErrNothing = errors.New("nothing is known of it")

// Why is of the interface Why.
func (j *Journal) Why(ctx context.Context, what string) ([]Step, error) {
	if err := j.Flush(ctx); err != nil {
		return nil, err
	}
	var out []Step
	err := j.cfg.Engine.View(ctx, func(r store.Reader) error {
		w := &tracing{r: r, ctx: ctx, seen: map[stepAt]bool{}, asked: map[string]bool{}}
		if err := w.collect(what); err != nil {
			return err
		}
		if len(w.steps) == 0 {
			return ErrNothing
		}
		if err := w.follow(); err != nil {
			return err
		}
		out = w.steps
		return nil
	})
	slices.SortStableFunc(out, func(a, b Step) int { return cmp.Compare(a.Time.UnixNano(), b.Time.UnixNano()) })
	return out, err
}

// tracing gathers the steps of one question.
type tracing struct {
	r     store.Reader
	ctx   context.Context
	seen  map[stepAt]bool
	asked map[string]bool
	steps []Step
}

// stepAt is where an event is.
type stepAt struct {
	block  uint64
	number uint16
}

// collect adds the events that have one of whats, newest first, as long as there is room. What was asked before is not
// asked again.
func (w *tracing) collect(whats ...string) error {
	plain := make([]string, 0, len(whats))
	for _, what := range whats {
		if p := plainTerm(what); p != "" && !w.asked[p] {
			w.asked[p] = true
			plain = append(plain, p)
		}
	}
	if len(plain) == 0 {
		return nil
	}
	for kv, err := range w.r.Scan(w.ctx, []byte{kindTerms}, []byte{kindTerms + 1}, true) {
		if err != nil {
			return err
		}
		if len(w.steps) >= maxWhyEvents {
			return nil
		}
		if len(kv.Key) != 13 {
			continue
		}
		if err := w.block(kv, plain); err != nil {
			return err
		}
	}
	return nil
}

// block adds the events of one block. Only those that hold what is asked for are meant: a hash may be another's.
func (w *tracing) block(terms store.KV, plain []string) error {
	var found []uint16
	for _, p := range plain {
		found = numbers(found, terms.Value, termOf(p))
	}
	if len(found) == 0 {
		return nil
	}
	slices.Sort(found)
	bucket, seq := binary.BigEndian.Uint32(terms.Key[1:]), binary.BigEndian.Uint64(terms.Key[5:])
	value, err := w.r.Get(w.ctx, blockKey(kindBlock, bucket, seq))
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	lines := bytes.Split(value, []byte{'\n'})
	for _, n := range slices.Backward(slices.Compact(found)) {
		if int(n) < len(lines) && len(w.steps) < maxWhyEvents {
			w.add(stepAt{seq, n}, lines[n], plain)
		}
	}
	return nil
}

func (w *tracing) add(at stepAt, line []byte, plain []string) {
	if w.seen[at] {
		return
	}
	s, err := decodeEvent(line)
	if err != nil {
		return // one that cannot be read does not hide the others
	}
	if !slices.ContainsFunc([]string{s.MessageID, s.ID, s.Trace, s.From, s.To}, func(x string) bool {
		x = plainTerm(x)
		return slices.ContainsFunc(plain, func(p string) bool { return x == p || strings.HasPrefix(x, p+".") })
	}) {
		return
	}
	w.seen[at] = true
	w.steps = append(w.steps, s)
}

// follow adds what other rooms said of the same messages: by their Message-IDs and ids; and how their sessions began.
func (w *tracing) follow() error {
	for had := -1; had < len(w.steps) && len(w.asked) < 4*maxWhyMessages; {
		had = len(w.steps)
		var keys []string
		for _, s := range w.steps {
			id, _, _ := strings.Cut(s.ID, ".")
			if len(keys) < 2*maxWhyMessages {
				keys = append(keys, s.MessageID, id)
			}
		}
		if err := w.collect(keys...); err != nil {
			return err
		}
	}
	var traces []string
	for _, s := range w.steps {
		if s.Trace != "" && len(traces) < maxWhyMessages && !slices.Contains(traces, s.Trace) {
			traces = append(traces, s.Trace)
		}
	}
	return w.connected(traces)
}

// connected adds the events of sessions that are about no message.
func (w *tracing) connected(traces []string) error {
	other := &tracing{r: w.r, ctx: w.ctx, seen: w.seen, asked: map[string]bool{}}
	if err := other.collect(traces...); err != nil {
		return err
	}
	for _, s := range other.steps {
		if s.Kind == "connected" {
			w.steps = append(w.steps, s)
		}
	}
	return nil
}
