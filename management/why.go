package management

import (
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
		w := &tracing{r: r, ctx: ctx, seen: map[uint64]bool{}, asked: map[string]bool{}}
		if err := w.collect(what, what); err != nil {
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
	seen  map[uint64]bool
	asked map[string]bool
	steps []Step
}

// collect adds the events that have what, newest first, as long as there is room. Only those that hold it are meant: a
// hash may be another's.
func (w *tracing) collect(what, meant string) error {
	term, plain := termOf(what), plainTerm(meant)
	if plain == "" || w.asked[plain] {
		return nil
	}
	w.asked[plain] = true
	buckets, err := w.buckets()
	if err != nil {
		return err
	}
	for _, bucket := range buckets {
		lo := append(bucketKey('i', bucket), term...)
		hi := append(slices.Clone(lo), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
		var seqs []uint64
		for kv, err := range w.r.Scan(w.ctx, lo, hi, true) {
			if err != nil {
				return err
			}
			if len(kv.Key) == len(lo)+8 {
				seqs = append(seqs, binary.BigEndian.Uint64(kv.Key[len(lo):]))
			}
			if len(seqs) >= maxWhyEvents {
				break
			}
		}
		for _, seq := range seqs {
			if len(w.steps) >= maxWhyEvents {
				return nil
			}
			if err := w.add(bucket, seq, plain); err != nil {
				return err
			}
		}
	}
	return nil
}

// buckets lists those that there are, the newest first.
func (w *tracing) buckets() ([]uint32, error) {
	var out []uint32
	for kv, err := range w.r.Scan(w.ctx, []byte("s"), []byte("t"), true) {
		if err != nil {
			return nil, err
		}
		if len(kv.Key) == 5 {
			out = append(out, binary.BigEndian.Uint32(kv.Key[1:]))
		}
	}
	return out, nil
}

func (w *tracing) add(bucket uint32, seq uint64, plain string) error {
	if w.seen[seq] {
		return nil
	}
	value, err := w.r.Get(w.ctx, journalKey('e', bucket, nil, seq))
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	s, err := decodeEvent(value)
	if err != nil {
		return nil //nolint:nilerr // one that cannot be read does not hide the others
	}
	if !slices.ContainsFunc([]string{s.MessageID, s.ID, s.Trace, s.From, s.To}, func(x string) bool {
		x = plainTerm(x)
		return x == plain || strings.HasPrefix(x, plain+".")
	}) {
		return nil
	}
	w.seen[seq] = true
	w.steps = append(w.steps, s)
	return nil
}

// follow adds what other rooms said of the same messages: by their Message-IDs and ids; and how their sessions began.
func (w *tracing) follow() error {
	for i := 0; i < len(w.steps) && len(w.asked) < 4*maxWhyMessages; i++ {
		s := w.steps[i]
		id, _, _ := strings.Cut(s.ID, ".")
		for _, key := range []string{s.MessageID, id} {
			if err := w.collect(key, key); err != nil {
				return err
			}
		}
	}
	sessions := map[string]bool{}
	for _, s := range w.steps {
		if s.Trace != "" && len(sessions) < maxWhyMessages {
			sessions[s.Trace] = true
		}
	}
	for trace := range sessions {
		if err := w.connected(trace); err != nil {
			return err
		}
	}
	return nil
}

// connected adds the events of a session that are about no message.
func (w *tracing) connected(trace string) error {
	other := &tracing{r: w.r, ctx: w.ctx, seen: map[uint64]bool{}, asked: map[string]bool{}}
	for seq := range w.seen {
		other.seen[seq] = true
	}
	if err := other.collect(trace, trace); err != nil {
		return err
	}
	for _, s := range other.steps {
		if s.Kind == "connected" {
			w.steps = append(w.steps, s)
		}
	}
	return nil
}
