package qm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mailtls/mtasts"
	"github.com/samotop/samotop/mailtls/tlsrpt"
	"github.com/samotop/samotop/store"
)

// stsStore keeps MTA-STS policies in the queue's database.
type stsStore struct{ q *QM }

var _ mtasts.Store = stsStore{}

func (s stsStore) Policy(ctx context.Context, domain string) (*mtasts.Cached, error) {
	var row []byte
	err := s.q.cfg.Engine.View(ctx, func(r store.Reader) (err error) {
		v, err := r.Get(ctx, policyKey(domain))
		row = bytes.Clone(v)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil || row == nil {
		return nil, err
	}
	c := &mtasts.Cached{}
	if err := json.Unmarshal(row, c); err != nil {
		return nil, fmt.Errorf("%w: %w", errRow, err)
	}
	return c, nil
}

func (s stsStore) KeepPolicy(ctx context.Context, domain string, c *mtasts.Cached) error {
	row, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return s.q.commit(ctx, &store.Batch{Ops: []store.Op{store.Put(policyKey(domain), row)}})
}

// counted takes in how TLS went, for the report of the day.
func (q *QM) counted(s tlsrpt.Session) {
	q.tls.mu.Lock()
	defer q.tls.mu.Unlock()
	q.tls.sessions[sessionKind{s.Type, s.Result}]++
	if !q.cfg.TLSReports.Collect {
		return
	}
	day := tlsrpt.DayOf(q.now())
	if q.tls.today == nil || q.tls.today.Day != day {
		if q.tls.today != nil {
			q.tls.past = append(q.tls.past, q.tls.today)
		}
		q.tls.today = &tlsrpt.Counter{Day: day}
	}
	q.tls.today.Add(s)
	q.tls.dirty = true
}

// reporter keeps results, and once a day sends what was found on the days before.
func (q *QM) reporter(ctx context.Context) {
	if !q.cfg.TLSReports.Collect {
		return
	}
	if err := q.readResults(ctx); err != nil && ctx.Err() == nil {
		q.cfg.Log.Error("read the results for TLS reports", "err", err)
	}
	for pause(ctx, resultsInterval) {
		if err := q.keepResults(ctx); err != nil && ctx.Err() == nil {
			q.cfg.Log.Error("keep the results for TLS reports", "err", err)
			continue
		}
		if now := q.now().UTC(); now.Sub(now.Truncate(24*time.Hour)) >= q.tls.after { // not all of the world at midnight
			if err := q.sendResults(ctx); err != nil && ctx.Err() == nil {
				q.cfg.Log.Error("send TLS reports", "err", err)
			}
		}
	}
	kctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_ = q.keepResults(kctx)
}

// resultsInterval is how much of what was counted a crash may take.
const resultsInterval = 5 * time.Minute

func (q *QM) readResults(ctx context.Context) error {
	prefix := resultsKey(q.cfg.Lane, "")
	var kept []*tlsrpt.Counter
	err := q.cfg.Engine.View(ctx, func(r store.Reader) error {
		for kv, err := range r.Scan(ctx, prefix, after(prefix), false) {
			if err != nil {
				return err
			}
			if c, err := tlsrpt.Decode(kv.Value); err == nil {
				kept = append(kept, c)
			}
		}
		return nil
	})
	q.tls.mu.Lock()
	defer q.tls.mu.Unlock()
	day := tlsrpt.DayOf(q.now())
	for _, c := range kept {
		if c.Day == day && q.tls.today == nil {
			q.tls.today = c
		} else {
			q.tls.past = append(q.tls.past, c)
		}
	}
	return err
}

func (q *QM) keepResults(ctx context.Context) error {
	q.tls.mu.Lock()
	b := &store.Batch{}
	day := tlsrpt.DayOf(q.now())
	if t := q.tls.today; t != nil && t.Day != day {
		q.tls.past, q.tls.today, q.tls.dirty = append(q.tls.past, t), nil, true
	}
	if q.tls.dirty {
		for _, c := range append(q.tls.past[:len(q.tls.past):len(q.tls.past)], q.tls.today) {
			if c == nil {
				continue
			}
			if row, err := c.Encode(); err == nil {
				b.Ops = append(b.Ops, store.Put(resultsKey(q.cfg.Lane, c.Day), row))
			}
		}
		q.tls.dirty = false
	}
	q.tls.mu.Unlock()
	if len(b.Ops) == 0 {
		return nil
	}
	return q.commit(ctx, b)
}

// sendResults sends the reports of past days, and forgets these days.
func (q *QM) sendResults(ctx context.Context) error {
	q.tls.mu.Lock()
	past := q.tls.past
	q.tls.past = nil
	q.tls.mu.Unlock()
	for i, c := range past {
		for _, domain := range c.Domains() {
			if err := q.sendResult(ctx, c, domain); err != nil {
				if stops(err) || ctx.Err() != nil {
					q.tls.mu.Lock()
					q.tls.past = append(past[i:], q.tls.past...)
					q.tls.mu.Unlock()
					return err
				}
				q.cfg.Log.Warn("a TLS report was not sent", "domain", domain, "err", err)
			}
		}
		if err := q.commit(ctx, &store.Batch{Deletes: true, Ops: []store.Op{store.Delete(resultsKey(q.cfg.Lane, c.Day))}}); err != nil {
			return err
		}
	}
	return nil
}

// sendResult tells one domain, if it asks to be told (RFC 8460 section 3).
func (q *QM) sendResult(ctx context.Context, c *tlsrpt.Counter, domain string) error {
	txt, _, err := q.cfg.Resolver.TXT(ctx, tlsrpt.RecordName(domain))
	if err != nil {
		return nil //nolint:nilerr // nobody asks
	}
	targets, err := tlsrpt.ParseRecord(txt)
	if err != nil {
		return nil //nolint:nilerr // nobody asks
	}
	var errs []error
	for _, t := range targets {
		about := tlsrpt.About{Organization: q.cfg.Hostname, Contact: q.cfg.Contact, Submitter: q.cfg.Hostname, ID: q.ids.next(q.now(), q.random()).String()}
		r, ok := c.Report(domain, about)
		if !ok {
			return nil
		}
		if t.URL != "" {
			pctx, cancel := context.WithTimeout(ctx, time.Minute)
			err = tlsrpt.Post(pctx, q.httpClient(), t.URL, r)
			cancel()
		} else {
			l := tlsrpt.Letter{From: mail.Address{Local: "tls-reports", Domain: q.cfg.Hostname}, To: t.Mail, Domain: domain, Date: q.now(), Rand: randReader{q}}
			err = q.submitOwn(ctx, t.Mail, "<"+about.ID+"@"+about.Submitter+">", func(w io.Writer) error { return l.Write(w, r, about) })
		}
		if err == nil {
			q.cfg.Log.Info("TLS report sent", "domain", domain, "day", c.Day, "to", t.Mail.String()+t.URL)
			return nil // RFC 8460 section 3: each gets one is not asked for; the first that works is enough
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// httpClient posts reports. It follows no redirects.
func (q *QM) httpClient() *http.Client {
	return mtasts.NewHTTP(mtasts.Config{Resolver: q.cfg.Resolver, TLS: q.cfg.TLS, Dial: q.cfg.Dial, FetchTime: time.Minute})
}

// submitOwn puts a message of our own, from the null reverse-path, into the queue; it is to go out whatever becomes of TLS.
func (q *QM) submitOwn(ctx context.Context, to mail.Address, msgID string, write func(io.Writer) error) error {
	w, err := q.cfg.Engine.Stage(ctx)
	if err != nil {
		return err
	}
	out := &counting{w: w, keep: q.cfg.Limits.MaxMemoryBodyBytes}
	dst := io.Writer(out)
	var sign Signing
	if q.cfg.Sign != nil {
		sign = q.cfg.Sign(ctx)
		dst = io.MultiWriter(out, sign)
	}
	if err = write(dst); err == nil && sign != nil {
		out.trace, err = sign.Close()
	}
	if err != nil {
		w.Discard()
		return err
	}
	staged, err := w.Close()
	if err != nil {
		return err
	}
	now := q.now()
	id := q.ids.next(now, q.random())
	row := &messageRow{arrival: now, report: true, anyhow: true, size: out.n, trace: out.trace, msgID: msgID,
		sender: mail.Sender{Size: out.n}, origin: origin{service: "qm"}}
	target := mail.Target{Address: to, Remote: true}
	if ts, rerr := q.cfg.Rules.Resolve(ctx, to); rerr == nil && len(ts) > 0 {
		target = ts[0]
	}
	r := &recipientRow{rcpt: mail.Recipient{Address: to, Notify: mail.NotifyNever}, target: target}
	r.dest = q.routes.line(target, row)
	m := &message{id: id, row: row, body: out.body}
	b := &store.Batch{Blobs: []store.Staged{staged}}
	entries := q.enqueue(b, m, []*recipientRow{r}, 0)
	q.coming(id)
	if err := q.commit(ctx, b); err != nil {
		q.lost(id)
		staged.Discard()
		q.check(err)
		return err
	}
	q.arrived(m, entries)
	return nil
}
