package house

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/samotop/samotop/management"
	"github.com/samotop/samotop/qm"
)

// queue shows the queue manager to management.
type queue struct{ q *qm.QM }

var _ management.Queue = queue{}

func toldQueue(id string, err error) error {
	switch {
	case errors.Is(err, qm.ErrNoMessage):
		return &management.Error{Kind: management.NotFound, Thing: "message " + id, Cause: "no such message in the queue",
			Remedy: "see what is with \"samotop queue list\""}
	case errors.Is(err, qm.ErrBusy):
		return &management.Error{Kind: management.Unavailable, Thing: "message " + id, Cause: "is being delivered at this moment", Remedy: "try again"}
	}
	return err
}

// Entries reads page by page: nothing is held while the caller works.
func (q queue) Entries(ctx context.Context, f management.Filter) iter.Seq2[management.Entry, error] {
	return func(yield func(management.Entry, error) bool) {
		if len(f.IDs) > 0 {
			for _, id := range f.IDs {
				if e, err := q.Entry(ctx, id); !yield(e, err) {
					return
				}
			}
			return
		}
		left := f.Limit
		qf := chosen(f)
		qf.Limit = 1000
		for {
			if f.Limit > 0 {
				qf.Limit = min(1000, left)
			}
			page, err := q.q.List(ctx, qf)
			if err != nil {
				yield(management.Entry{}, err)
				return
			}
			for i := range page.Entries {
				if !yield(entry(&page.Entries[i]), nil) {
					return
				}
				if left--; left == 0 {
					return
				}
			}
			if page.Next == "" {
				return
			}
			qf.After = page.Next
		}
	}
}

func (q queue) Entry(ctx context.Context, id string) (management.Entry, error) {
	e, err := q.q.Show(ctx, id)
	if err != nil {
		return management.Entry{}, toldQueue(id, err)
	}
	return entry(e), nil
}

func (q queue) Do(ctx context.Context, act management.Action, id string) error {
	var err error
	switch act {
	case management.Retry:
		err = q.q.Retry(ctx, id)
	case management.Hold:
		err = q.q.Hold(ctx, id)
	case management.Release:
		err = q.q.Release(ctx, id)
	case management.Remove, management.Bounce:
		err = q.q.Remove(ctx, id, act == management.Bounce)
	default:
		return &management.Error{Kind: management.WrongUse, Thing: "queue " + string(act), Cause: "there is no such action"}
	}
	return toldQueue(id, err)
}

func (q queue) QueueStats(ctx context.Context, f management.Filter) (management.QueueStats, error) {
	s, err := q.q.Stats(ctx, chosen(f))
	if err != nil {
		return management.QueueStats{}, err
	}
	m := management.QueueStats{Messages: s.Messages, Recipients: s.Recipients, Deferred: s.Deferred, Held: s.Held,
		Active: s.Active, Connections: s.Connections, Truncated: s.Truncated, Oldest: when(s.Oldest), Destinations: []management.Destination{},
		Paused: s.Paused, Attempts: []management.Count{}, TLS: []management.Count{}}
	attempts, sessions := q.q.Counts()
	for i, kind := range qm.AttemptKinds() {
		m.Attempts = append(m.Attempts, management.Count{What: kind, Count: attempts[i]})
	}
	for _, t := range sessions {
		m.TLS = append(m.TLS, management.Count{What: t.Policy + " " + tlsResult(t.Result), Count: t.Count})
	}
	slices.SortFunc(m.TLS, func(a, b management.Count) int { return strings.Compare(a.What, b.What) })
	for _, d := range s.Destinations {
		m.Destinations = append(m.Destinations, management.Destination{Name: d.Destination, Recipients: d.Recipients,
			Connections: d.Connections, Window: d.Window, Paused: d.Paused, Until: when(d.Until), LastError: d.LastError})
	}
	return m, nil
}

func chosen(f management.Filter) qm.Filter {
	return qm.Filter{Sender: f.Sender, Recipient: f.Recipient, Destination: f.Destination, State: qm.State(f.State), OlderThan: f.OlderThan}
}

// when is nil for a time that is not known.
func when(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func entry(e *qm.Entry) management.Entry {
	m := management.Entry{ID: e.ID, Arrival: e.Arrival, Size: e.Size, Sender: e.Sender.Address.String(), Account: e.Account,
		MessageID: e.MessageID, Open: e.Open, Recipients: []management.Recipient{}}
	for i := range e.Recipients {
		r := &e.Recipients[i]
		x := management.Recipient{Number: r.Number, Address: r.Address.String(), Destination: r.Destination, State: string(r.State),
			Attempts: r.Attempts, Next: when(r.Next)}
		if t := r.Target.Address.String(); t != x.Address {
			x.Target = t
		}
		if !r.Last.Time.IsZero() {
			x.Last = &management.Attempt{Time: r.Last.Time, Host: r.Last.Host, TLS: r.Last.TLS, Reply: r.Last.Reply.String()}
		}
		m.Recipients = append(m.Recipients, x)
	}
	return m
}
