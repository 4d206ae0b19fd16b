package qm

import (
	"context"
	"encoding/binary"
	"testing"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mail/mailtest"
	"github.com/samotop/samotop/smtp/smtptest"
	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/mem"
)

// TestDoor runs the suite of all doors. What is stored is what stands in the queue of a manager that does not run.
func TestDoor(t *testing.T) {
	mailtest.Run(t, mailtest.Suite{
		New: func(t *testing.T) (mail.Door, mailtest.Probe) {
			w := newWorld(t)
			q := w.open(w.config(mem.New(mem.Options{})))
			return q.Door(), func(ctx context.Context, to mail.Address) ([][]byte, error) { return queued(ctx, q, to) }
		},
		Forms:   []mailtest.Form{{Name: "pipe", Wrap: smtptest.OverPipe}, {Name: "unix", Wrap: smtptest.OverUnix}},
		Known:   []mail.Address{addr("b@home.test"), addr("x@far.test")},
		Unknown: addr("none@home.test"),
	})
}

// queued returns the messages that wait for an address, as they would be sent.
func queued(ctx context.Context, q *QM, to mail.Address) (found [][]byte, err error) {
	err = q.cfg.Engine.View(ctx, func(r store.Reader) error {
		for kv, err := range r.Scan(ctx, []byte{'m'}, []byte{'n'}, false) {
			if err != nil {
				return err
			}
			if len(kv.Key) != 15 {
				continue
			}
			row, err := decodeRecipient(kv.Value)
			if err != nil {
				return err
			}
			if row.rcpt.Address != to {
				continue
			}
			v, err := r.Get(ctx, messageKey(ID(binary.BigEndian.Uint64(kv.Key[2:]))))
			if err != nil {
				return err
			}
			own, ref, err := store.SplitRef(v)
			if err != nil {
				return err
			}
			m, err := decodeMessage(own)
			if err != nil {
				return err
			}
			body, err := r.Blob(ctx, nil, ref, 0, m.size)
			if err != nil {
				return err
			}
			found = append(found, []byte(wire(m.trace, string(body))))
		}
		return nil
	})
	return found, err
}

// TestManyQueued: a queue full of mail for a dead destination, taken over by a new manager, keeps nobody from
// sending at once, and is in memory only in part.
func TestManyQueued(t *testing.T) {
	const n = 8000
	w, e := newWorld(t), mem.New(mem.Options{})
	q := w.open(w.config(e))
	w.site("dead.test").down = true
	var to []mail.Recipient
	for i := range 500 {
		to = append(to, mail.Recipient{Address: addr("u" + itoa(i) + "@dead.test")})
	}
	for range n / len(to) {
		if _, err := submit(context.Background(), q, mail.Sender{}, letter, to...); err != nil {
			t.Fatal(err)
		}
	}
	cfg := w.config(e)
	cfg.Log, cfg.Limits.MaxLineEntries = nil, 200
	q = w.open(cfg)
	done := make(chan error, 1)
	go func() { done <- q.Run(context.Background()) }()
	w.send(q, "a@home.test", "x@live.test")
	eventually(t, "new mail waits for the old", func() bool { return len(w.got("x@live.test")) == 1 })
	most, looks := 0, 0
	eventually(t, "the dead destination's mail is not deferred", func() bool {
		q.mu.Lock()
		most = max(most, q.entries)
		q.mu.Unlock()
		if looks++; looks%50 > 0 {
			return false
		}
		s, err := q.Stats(context.Background(), Filter{})
		if err != nil {
			t.Fatal(err)
		}
		return s.Deferred == n
	})
	if limit := q.cfg.Limits.MaxLineEntries + 2*maxRecord + maxPending; most > limit {
		t.Errorf("%d entries in memory", most)
	}
	if c := w.site("dead.test").conns; c != 0 {
		t.Errorf("%d connections to the dead", c)
	}
	if err := q.Drain(context.Background()); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
