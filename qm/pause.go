package qm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store"
)

// MaxPaused destinations are remembered.
const MaxPaused = 10000

// ErrNoDestination: neither a domain, nor a route's next hop as Stats shows it, nor "local".
var ErrNoDestination = errors.New("qm: not a destination")

// ErrTooManyPaused: MaxPaused destinations are paused.
var ErrTooManyPaused = errors.New("qm: too many destinations are paused; resume some first")

// Pause keeps a destination, as Stats names it, from being tried until Resume, also by later processes. What is on
// the wire may finish. ErrNoDestination; *RoutedError for a domain whose mail goes elsewhere.
func (q *QM) Pause(ctx context.Context, dest string) error {
	name, err := q.toPause(dest)
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
	name, err := q.toPause(dest)
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

// RoutedError says that the mail for a domain goes by a route, whose next hop is a destination of its own.
type RoutedError struct{ Domain, Hop string }

func (e *RoutedError) Error() string {
	return fmt.Sprintf("qm: mail for %s goes by the route to %s", e.Domain, e.Hop)
}

// toPause returns the line that is meant by a destination: that of a domain may be one of a route to its own servers. *RoutedError.
func (q *QM) toPause(dest string) (string, error) {
	name, err := q.lineOf(dest)
	if err != nil {
		return "", err
	}
	q.mu.Lock()
	known := q.paused[name] // before the route was there, perhaps
	q.mu.Unlock()
	domain, ok := strings.CutPrefix(name, "mx:")
	if known || !ok || strings.Contains(domain, "#") {
		return name, nil
	}
	if now := q.routes.line(mail.Target{Address: mail.Address{Local: "x", Domain: domain}, Remote: true}, &messageRow{}); now != name {
		if !strings.HasPrefix(now, "mx:") {
			return "", &RoutedError{Domain: domain, Hop: now}
		}
		name = now
	}
	return name, nil
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
