package qm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/samotop/samotop/store"
)

// MaxPaused destinations are remembered.
const MaxPaused = 10000

// ErrNoDestination: neither a domain, nor a route's next hop as Stats shows it, nor "local".
var ErrNoDestination = errors.New("qm: not a destination")

// ErrTooManyPaused: MaxPaused destinations are paused.
var ErrTooManyPaused = errors.New("qm: too many destinations are paused; resume some first")

// Pause keeps a destination, as Stats names it, from being tried until Resume, also by later processes. What is on
// the wire may finish.
func (q *QM) Pause(ctx context.Context, dest string) error {
	name, err := q.lineOf(dest)
	if err != nil {
		return err
	}
	q.mu.Lock()
	full := len(q.paused) >= MaxPaused && !q.paused[name]
	q.mu.Unlock()
	if full {
		return ErrTooManyPaused
	}
	b := &store.Batch{Ops: []store.Op{store.Put(pauseKey(q.cfg.Lane, name), nil)}}
	return q.setPaused(ctx, name, b, true)
}

// Resume ends Pause.
func (q *QM) Resume(ctx context.Context, dest string) error {
	name, err := q.lineOf(dest)
	if err != nil {
		return err
	}
	b := &store.Batch{Deletes: true, Ops: []store.Op{store.Delete(pauseKey(q.cfg.Lane, name))}}
	return q.setPaused(ctx, name, b, false)
}

// Paused lists the destinations that are paused.
func (q *QM) Paused() []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	out := make([]string, 0, len(q.paused))
	for name := range q.paused {
		out = append(out, destination(name))
	}
	slices.Sort(out)
	return out
}

// lineOf returns the line that people know as dest.
func (q *QM) lineOf(dest string) (string, error) {
	if dest == localLine {
		return dest, nil
	}
	if _, ok := q.routes.byName(dest); ok {
		return dest, nil
	}
	if dest == "" || len(dest) > 500 || strings.ContainsAny(dest, "\x00 /@") {
		return "", fmt.Errorf("%w: %.80q", ErrNoDestination, dest)
	}
	return "mx:" + asciiDomain(strings.TrimSuffix(dest, ".")), nil
}

func (q *QM) setPaused(ctx context.Context, name string, b *store.Batch, on bool) error {
	if err := q.stopped(); err != nil {
		return err
	}
	if err := q.commit(ctx, b); err != nil {
		q.check(err)
		return fmt.Errorf("qm: pause or resume %s: %w", destination(name), err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if on {
		q.paused[name] = true
	} else {
		delete(q.paused, name)
	}
	if l := q.lines[name]; l != nil {
		l.paused = on
		q.makeReady(l)
		q.wantLoad(l)
		q.dispatch()
	}
	q.cfg.Log.Info("destination", "name", destination(name), "paused", on)
	return nil
}

// readPaused reads what was paused by earlier processes.
func (q *QM) readPaused(ctx context.Context) error {
	prefix := pauseKey(q.cfg.Lane, "")
	return q.cfg.Engine.View(ctx, func(r store.Reader) error {
		for kv, err := range r.Scan(ctx, prefix, after(prefix), false) {
			if err != nil {
				return err
			}
			q.paused[string(kv.Key[len(prefix):])] = true
		}
		return nil
	})
}
