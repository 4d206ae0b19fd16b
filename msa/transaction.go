package msa

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/message"
)

// removed are the fields that do not leave with the message.
var removed = []string{"Bcc", "Resent-Bcc", "Return-Path"}

// transaction is a submission on its way to the queue.
type transaction struct {
	ctx     context.Context
	m       *msa
	s       *mail.Session
	from    mail.Sender
	queue   mail.Transaction
	id      string
	edit    *message.HeaderEditor
	to      []mail.Address
	started bool
	refused error // what is wrong with the header
}

func newTransaction(ctx context.Context, m *msa, s *mail.Session, from mail.Sender, q mail.Transaction) (*transaction, error) {
	var id [10]byte
	if _, err := io.ReadFull(m.cfg.Rand, id[:]); err != nil {
		q.Abort() //nolint:errcheck // nothing was done
		return nil, err
	}
	t := &transaction{ctx: ctx, m: m, s: s, from: from, queue: q, id: hex.EncodeToString(id[:])}
	t.edit = message.NewHeaderEditor(q, message.EditOptions{Remove: removed, Add: t.complete, HeaderBytes: m.cfg.MaxHeaderBytes})
	return t, nil
}

func (t *transaction) Recipient(ctx context.Context, r *mail.Recipient) error {
	if err := t.queue.Recipient(ctx, r); err != nil {
		return err
	}
	t.to = append(t.to, r.Address)
	return nil
}

func (t *transaction) Trace(fields ...mail.Field) { t.queue.Trace(fields...) }

// start adds the Received field, when it is known how many recipients there are.
func (t *transaction) start() {
	if !t.started {
		t.started = true
		t.queue.Trace(t.received())
	}
}

func (t *transaction) Write(p []byte) (int, error) {
	t.start()
	if t.refused != nil {
		return 0, t.refused
	}
	n, err := t.edit.Write(p)
	switch {
	case t.refused != nil:
		return 0, t.refused
	case errors.Is(err, message.ErrHeaderTooLong):
		t.refused = mail.NewReply(552, mail.Enhanced{5, 3, 4}, "Header is longer than %d octets", t.m.cfg.MaxHeaderBytes)
		return 0, t.refused
	}
	return n, err
}

func (t *transaction) Commit(ctx context.Context) ([]mail.Reply, error) {
	if err := t.finish(); err != nil {
		return nil, err
	}
	return t.queue.Commit(ctx)
}

// finish ends the content.
func (t *transaction) finish() error {
	t.start()
	if t.refused == nil {
		if err := t.edit.Close(); err != nil && t.refused == nil {
			return err
		}
	}
	return t.refused
}

func (t *transaction) Abort() error { return t.queue.Abort() }

// complete looks at the header as it came and returns the fields that it lacks. What is wrong goes to t.refused.
func (t *transaction) complete(h *message.Header) []mail.Field {
	if t.refused = t.check(h); t.refused != nil {
		return nil
	}
	var add []mail.Field
	now := t.m.cfg.Clock()
	if !h.Has("Date") {
		add = append(add, mail.Field{Name: "Date", Value: message.FormatDate(now)})
	}
	if !h.Has("Message-ID") {
		add = append(add, mail.Field{Name: "Message-ID", Value: "<" + now.UTC().Format("20060102150405") + "." + t.id + "@" + t.m.cfg.Hostname + ">"})
	}
	return add
}

// check refuses a header that loops, or that claims to be from somebody else (RFC 6409 section 6.1).
func (t *transaction) check(h *message.Header) error {
	if len(h.Values("Received")) > t.m.cfg.MaxHops {
		return mail.NewReply(554, mail.Enhanced{5, 4, 6}, "Too many hops: this message is looping")
	}
	authors := 0
	for _, name := range []string{"From", "Sender", "Resent-From", "Resent-Sender"} {
		for _, v := range h.Values(name) {
			n, err := t.own(name, message.ParseAddressList(v))
			if err != nil {
				return err
			}
			if name == "From" {
				authors += n
			}
		}
	}
	if authors == 0 {
		return mail.NewReply(550, mail.Enhanced{5, 7, 1}, "The message has no From address: it must say who it is from")
	}
	return nil
}

// own counts the addresses of a list, and refuses one that the account may not send as.
func (t *transaction) own(name string, list []message.AddressOrGroup) (int, error) {
	n := 0
	for i := range list {
		if list[i].Group {
			m, err := t.own(name, list[i].Members)
			if err != nil {
				return 0, err
			}
			n += m
			continue
		}
		n++
		may, err := t.m.cfg.Senders.MaySendAs(t.ctx, t.s.Login.Account, list[i].Address)
		if err != nil {
			return 0, err
		}
		if !may {
			return 0, mail.NewReply(550, mail.Enhanced{5, 7, 1}, "%s may not send as %s, which stands in %s: use an address of your own",
				t.s.Login.Account, list[i].Address.Path(), name)
		}
	}
	return n, nil
}

// received makes the Received field: what it shows of the client is told in the package's comment.
func (t *transaction) received() mail.Field {
	var to *mail.Address
	if len(t.to) == 1 {
		to = &t.to[0]
	}
	now := t.m.cfg.Clock()
	if t.m.cfg.ShowClient {
		return mail.Received(t.s, t.m.cfg.Hostname, t.id, to, t.from.UTF8, now)
	}
	v := "by " + t.m.cfg.Hostname + " with " + t.s.With(t.from.UTF8) + " id " + t.id
	if to != nil && (t.from.UTF8 || !to.UTF8()) {
		v += "\r\n\tfor " + to.Path()
	}
	return mail.Field{Name: "Received", Value: v + ";\r\n\t" + now.Format(time.RFC1123Z)}
}
