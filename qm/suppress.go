package qm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store"
)

// MaxSuppressed addresses and domains are remembered, with those that have refused but not often enough.
const MaxSuppressed = 1_000_000

// forgetRefusals is after which time refusals count no more, if they have not been enough.
const forgetRefusals = 180 * 24 * time.Hour

// Errors of the verbs about suppression.
var (
	ErrNotSuppressed     = errors.New("qm: this address is not suppressed")
	ErrSuppressAddress   = errors.New("qm: not an address, nor @ and a domain")
	ErrTooManySuppressed = fmt.Errorf("qm: %d addresses are suppressed; remove some first", MaxSuppressed)
)

// Suppressed is an address elsewhere, or a domain, that is not written to.
type Suppressed struct {
	Address   string // user@domain or @domain
	Since     time.Time
	Why       string
	Automatic bool // it refused for good Config.SuppressAfter times
}

// suppressRow is the row of an address.
type suppressRow struct {
	since    time.Time
	active   bool // else it only counts
	auto     bool
	refusals int
	why      string
}

const (
	flagActive = 1 << iota
	flagAuto
)

// maxWhyOctets of a reason are kept.
const maxWhyOctets = 1024

func (s *suppressRow) encode() []byte {
	w := make(writer, 0, 64+len(s.why))
	w.byte(version)
	w.byte(flag(s.active, flagActive) | flag(s.auto, flagAuto))
	w.time(s.since)
	w.uint(uint64(s.refusals))
	w.string(s.why[:min(len(s.why), maxWhyOctets)])
	return w
}

func decodeSuppressed(b []byte) (*suppressRow, error) {
	r := readerOf(b)
	if r.Byte() != version {
		return nil, errRow
	}
	flags := r.Byte()
	s := &suppressRow{active: flags&flagActive != 0, auto: flags&flagAuto != 0, since: r.time(),
		refusals: int(r.Uint() & (1<<31 - 1)), why: r.Text()}
	return s, r.end()
}

// suppressName is the canonical form of an address or @domain.
func suppressName(s string) (string, error) {
	if domain, ok := strings.CutPrefix(s, "@"); ok {
		domain = asciiDomain(strings.TrimSuffix(domain, "."))
		if !mail.IsDomain(domain) {
			return "", fmt.Errorf("%w: %.80q", ErrSuppressAddress, s)
		}
		return "@" + domain, nil
	}
	a, err := mail.ParseAddress(s)
	if err != nil || a.Domain == "" {
		return "", fmt.Errorf("%w: %.80q", ErrSuppressAddress, s)
	}
	return suppressKeyOf(a), nil
}

func suppressKeyOf(a mail.Address) string {
	return mail.Address{Local: strings.ToLower(a.Local), Domain: asciiDomain(a.Domain)}.String()
}

// Suppress keeps an address elsewhere, or with @domain all of a domain, from being written to: mail for it is refused when
// it is handed in, and reported if it is in the queue already. It lasts until Unsuppress.
func (q *QM) Suppress(ctx context.Context, what, why string) (Suppressed, error) {
	name, err := suppressName(what)
	if err != nil {
		return Suppressed{}, err
	}
	row := &suppressRow{since: q.now(), active: true, why: strings.ToValidUTF8(why, "?")}
	if full, err := q.suppressFull(ctx); err != nil || full {
		return Suppressed{}, errors.Join(err, ErrTooManySuppressed)
	}
	if err := q.putSuppressed(ctx, &store.Batch{Ops: []store.Op{store.Put(suppressKey(name), row.encode())}}); err != nil {
		return Suppressed{}, fmt.Errorf("qm: suppress %s: %w", name, err)
	}
	q.suppressing.Store(true)
	q.cfg.Log.Info("suppressed", "address", name, "why", row.why)
	return row.public(name), nil
}

// Unsuppress lets an address be written to again, and forgets its refusals. ErrNotSuppressed.
func (q *QM) Unsuppress(ctx context.Context, what string) error {
	name, err := suppressName(what)
	if err != nil {
		return err
	}
	key := suppressKey(name)
	err = q.cfg.Engine.View(ctx, func(r store.Reader) error {
		_, err := r.Get(ctx, key)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return ErrNotSuppressed
	}
	if err == nil {
		err = q.putSuppressed(ctx, &store.Batch{Deletes: true, Ops: []store.Op{store.Delete(key)}})
	}
	if err != nil {
		return fmt.Errorf("qm: end the suppression of %s: %w", name, err)
	}
	q.cfg.Log.Info("no longer suppressed", "address", name)
	return nil
}

func (q *QM) putSuppressed(ctx context.Context, b *store.Batch) error {
	if err := q.stopped(); err != nil {
		return err
	}
	err := q.commit(ctx, b)
	q.check(err)
	return err
}

// Suppressed lists what is suppressed, from the first after the name on, in the order of the names; at most 1000. Next is
// where to go on, "" at the end.
func (q *QM) Suppressed(ctx context.Context, from string) (list []Suppressed, next string, err error) {
	rows := 0
	err = q.cfg.Engine.View(ctx, func(r store.Reader) error {
		for kv, err := range r.Scan(ctx, append(suppressKey(from), 0), after(suppressKey("")), false) {
			if err != nil {
				return err
			}
			name := string(kv.Key[1:])
			row, err := decodeSuppressed(kv.Value)
			if err == nil && row.active {
				list = append(list, row.public(name))
			}
			if rows++; len(list) == maxPage || rows == maxListRows {
				next = name
				return nil
			}
		}
		return nil
	})
	return list, next, err
}

func (s *suppressRow) public(name string) Suppressed {
	return Suppressed{Address: name, Since: s.since, Why: s.why, Automatic: s.auto}
}

// suppressFull reports whether there is no room for another row.
func (q *QM) suppressFull(ctx context.Context) (full bool, err error) {
	n := 0
	err = q.cfg.Engine.View(ctx, func(r store.Reader) error {
		for _, err := range r.Scan(ctx, suppressKey(""), after(suppressKey("")), false) {
			if err != nil {
				return err
			}
			if n++; n >= MaxSuppressed {
				full = true
				return nil
			}
		}
		return nil
	})
	return full, err
}

// readSuppressed finds out whether anything is suppressed at all: mostly nothing is, and then nobody has to look.
func (q *QM) readSuppressed(ctx context.Context) error {
	return q.cfg.Engine.View(ctx, func(r store.Reader) error {
		for _, err := range r.Scan(ctx, suppressKey(""), after(suppressKey("")), false) {
			q.suppressing.Store(err == nil)
			return err
		}
		return nil
	})
}

// suppressed returns the refusal of an address that is not to be written to, or nil.
func (q *QM) suppressed(ctx context.Context, a mail.Address) (*mail.Reply, error) {
	if !q.suppressing.Load() {
		return nil, nil
	}
	var found *mail.Reply
	err := q.cfg.Engine.View(ctx, func(r store.Reader) error {
		rows, err := r.GetMulti(ctx, [][]byte{suppressKey(suppressKeyOf(a)), suppressKey("@" + asciiDomain(a.Domain))})
		if err != nil {
			return err
		}
		for _, v := range rows {
			if v == nil {
				continue
			}
			if row, err := decodeSuppressed(v); err == nil && row.active {
				found = row.refusal(a)
				return nil
			}
		}
		return nil
	})
	return found, err
}

func (s *suppressRow) refusal(a mail.Address) *mail.Reply {
	text := a.Path() + " is not written to from here since " + s.since.UTC().Format(time.DateOnly)
	if s.why != "" {
		text += " (" + strings.ReplaceAll(s.why, "\n", " / ") + ")"
	}
	return mail.NewReply(550, mail.Enhanced{5, 7, 1}, "%s; an administrator can change that: samotop suppress remove", text)
}

// aboutAddress reports whether a refusal says that nobody is there, or will be (RFC 3463 section 3.2, RFC 7505 section 4.1):
// only such ones count for automatic suppression, not what a server thinks of a message or of us.
func aboutAddress(o *outcome) bool {
	if o.own || o.command != "RCPT" || !o.reply.Permanent() {
		return false
	}
	switch e := o.reply.Enhanced; {
	case e[0] == 0:
		return o.reply.Code == 550 || o.reply.Code == 551 || o.reply.Code == 553
	case e[1] == 1:
		return e[2] == 1 || e[2] == 2 || e[2] == 6 || e[2] == 10
	case e[1] == 2:
		return e[2] == 1
	}
	return false
}

// countRefusals adds to the batch what the outcomes say about addresses: refusals for good are counted, what was taken
// ends the count.
func (q *QM) countRefusals(ctx context.Context, b *store.Batch, changes []*change) error {
	if q.cfg.SuppressAfter <= 0 {
		return nil
	}
	refused := map[string]*outcome{}
	taken := map[string]bool{}
	var keys [][]byte
	for _, c := range changes {
		for i := range c.outs {
			o := &c.outs[i]
			if !o.e.row.target.Remote || o.not || !o.reply.Positive() && !aboutAddress(o) {
				continue
			}
			name := suppressKeyOf(o.e.row.target.Address)
			if refused[name] == nil && !taken[name] {
				keys = append(keys, suppressKey(name))
			}
			if o.reply.Positive() {
				taken[name] = true
			} else {
				refused[name] = o
			}
		}
	}
	if len(keys) == 0 || len(refused) == 0 && !q.suppressing.Load() {
		return nil
	}
	return q.cfg.Engine.View(ctx, func(r store.Reader) error {
		rows, err := r.GetMulti(ctx, keys)
		if err != nil {
			return err
		}
		for i, key := range keys {
			q.countRefusal(b, key, rows[i], refused[string(key[1:])], taken[string(key[1:])])
		}
		return nil
	})
}

func (q *QM) countRefusal(b *store.Batch, key, value []byte, refused *outcome, taken bool) {
	row := &suppressRow{}
	if value != nil {
		old, err := decodeSuppressed(value)
		if err != nil || old.active {
			return
		}
		row = old
	}
	now := q.now()
	switch {
	case taken:
		if value != nil {
			b.Ops = append(b.Ops, store.Delete(bytes.Clone(key)))
		}
		return
	case row.refusals > 0 && now.Sub(row.since) > forgetRefusals:
		row.refusals = 0
	}
	row.since, row.auto = now, true
	row.refusals++
	row.why = "it refused mail for good: " + refused.reply.String()
	if row.active = row.refusals >= q.cfg.SuppressAfter; row.active {
		q.cfg.Log.Warn("an address is suppressed", "address", string(key[1:]), "refusals", row.refusals, "reply", refused.reply.String())
	}
	b.Ops = append(b.Ops, store.Put(key, row.encode()))
	b.Deletes = false
	q.suppressing.Store(true)
}

// withoutSuppressed parts off those that are not to be written to, for what was queued before.
func (q *QM) withoutSuppressed(ctx context.Context, es []*entry) (outs []outcome, rest []*entry) {
	if !q.suppressing.Load() {
		return nil, es
	}
	for _, e := range es {
		refusal, err := q.suppressed(ctx, e.row.target.Address)
		if err != nil || refusal == nil || !e.row.target.Remote { // what cannot be read now delays no mail
			rest = append(rest, e)
			continue
		}
		outs = append(outs, outcome{e: e, reply: *refusal, own: true, at: q.now()})
	}
	return outs, rest
}

// allowed returns the targets of a recipient without those that are not to be written to; the refusal, if none is left.
func (q *QM) allowed(ctx context.Context, r *mail.Recipient) ([]mail.Target, error) {
	if !q.suppressing.Load() || r.Failed != nil {
		return r.Targets, nil
	}
	var left []mail.Target
	var last *mail.Reply
	for _, t := range r.Targets {
		if t.Remote {
			refusal, err := q.suppressed(ctx, t.Address)
			if err != nil {
				return nil, err
			}
			if refusal != nil {
				last = refusal
				continue
			}
		}
		left = append(left, t)
	}
	if len(left) == 0 && last != nil {
		return nil, last
	}
	return left, nil
}
