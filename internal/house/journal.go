package house

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mailauth"
	"github.com/samotop/samotop/management"
)

// openJournal begins to keep what happens to messages. A journal that does not open costs explanations and never mail, so
// the house is served without it. In a house that is split, the rooms of other processes send their events to management.
func (h *House) openJournal(ctx context.Context) {
	h.events = mail.LogEvents(h.log, nil)
	switch e := h.engines[journalDB]; {
	case e != nil:
		j, err := management.OpenJournal(ctx, management.JournalConfig{Engine: e, MaxAge: h.conf.Journal.MaxAge, MaxOctets: h.conf.Journal.MaxBytes,
			Log: h.log.With("room", "management")})
		if err != nil {
			h.log.Error("the journal does not open; \"samotop why\" will know nothing", "err", err)
			return
		}
		h.journal = j
		h.reports, h.counts = &management.Reports{Engine: e}, &management.Counts{Engine: e}
		h.events = mail.LogEvents(h.log, j)
	case h.o.Linked && !h.has(Management):
		r := newRemoteJournal(h.dialer("events"))
		h.links = append(h.links, r)
		h.events = mail.LogEvents(h.log, r)
		h.counts = &management.Counts{}
	}
}

// observe records what the checks found.
func (h *House) observe(ctx context.Context, s *mail.Session, r mailauth.Report) {
	h.count(r)
	h.failures.tell(ctx, r)
	e := mail.Event{Time: time.Now(), Trace: s.ID, Room: "mta", Kind: "checked", MessageID: r.MessageID, From: r.Facts.From.String(),
		Peer: r.Facts.IP.String()}
	if e.From == "" {
		e.From = "<>"
	}
	var said []string
	for _, f := range r.Findings {
		text := f.Check + "=" + f.Result
		if f.Reason != "" {
			text += " (" + f.Reason + ")"
		}
		if f.Action != mailauth.Accept {
			text += ", so " + f.Action.String()
		}
		said = append(said, text)
		e.Facts = append(e.Facts, mail.Fact{Name: f.Check, Value: f.Result})
	}
	e.Text = strings.Join(said, "; ")
	switch r.Action {
	case mailauth.Refuse:
		e.Kind = "refused"
	case mailauth.Defer:
		e.Kind = "deferred"
	}
	if r.Action < mailauth.Defer || len(r.To) == 0 {
		h.events.Record(ctx, e)
		return
	}
	for _, to := range r.To {
		e.To = to.String()
		h.events.Record(ctx, e)
	}
}

// why shows the journal to management.
type why struct{ j *management.Journal }

func (w why) Why(ctx context.Context, what string) ([]management.Step, error) {
	steps, err := w.j.Why(ctx, what)
	if errors.Is(err, management.ErrNothing) {
		return nil, &management.Error{Kind: management.NotFound, Thing: what, Cause: "the journal knows nothing of it",
			Remedy: "name a Message-ID, an id from a Received field or \"samotop queue list\", or an address; old events are forgotten, see [journal] days"}
	}
	return steps, err
}

// Limits of remoteJournal.
const (
	remoteJournalQueue = 10_000
	remoteJournalBatch = 500
	remoteJournalFlush = 500 * time.Millisecond
	remoteJournalTime  = 5 * time.Second
)

// remoteJournal sends events to the process of management. What it does not take in time is dropped.
type remoteJournal struct {
	in      chan mail.Event
	client  management.Client
	idle    func()
	stop    context.CancelFunc
	done    chan struct{}
	dropped atomic.Int64
}

func newRemoteJournal(dial func(context.Context) (net.Conn, error)) *remoteJournal {
	over := management.Over(dial)
	ctx, stop := context.WithCancel(context.Background())
	r := &remoteJournal{in: make(chan mail.Event, remoteJournalQueue), client: management.Client{HTTP: over}, idle: over.CloseIdleConnections,
		stop: stop, done: make(chan struct{})}
	go r.run(ctx)
	return r
}

func (r *remoteJournal) Record(_ context.Context, e mail.Event) {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	e.Facts = append([]mail.Fact(nil), e.Facts...)
	select {
	case r.in <- e:
	default:
		r.dropped.Add(1)
	}
}

// Close sends what is left.
func (r *remoteJournal) Close() error {
	r.stop()
	<-r.done
	r.idle()
	return nil
}

func (r *remoteJournal) run(ctx context.Context) {
	defer close(r.done)
	tick := time.NewTicker(remoteJournalFlush)
	defer tick.Stop()
	var batch []mail.Event
	for {
		select {
		case e := <-r.in:
			if batch = append(batch, e); len(batch) < remoteJournalBatch {
				continue
			}
		case <-tick.C:
		case <-ctx.Done():
			for range len(r.in) {
				batch = append(batch, <-r.in)
			}
			r.send(batch)
			return
		}
		r.send(batch)
		batch = batch[:0]
	}
}

func (r *remoteJournal) send(batch []mail.Event) {
	for len(batch) > 0 {
		packed, n := management.PackEvents(batch)
		ctx, cancel := context.WithTimeout(context.Background(), remoteJournalTime)
		err := r.client.Call(ctx, "journal/record", management.RecordArgs{Packed: packed}, nil)
		cancel()
		if err != nil {
			r.dropped.Add(int64(len(batch)))
			return
		}
		batch = batch[n:]
	}
}
