package house

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/samotop/samotop/internal/drop"
	"github.com/samotop/samotop/mail"
)

// take hands on what was dropped while nobody served. Who is refused then is told by a report.
func (d *localDoor) take(ctx context.Context, m *drop.Item) error {
	s := &mail.Session{ID: rand.Text(), Service: "local", Hello: d.h.conf.Hostname, Extended: true, RemoteAddr: peerAddr{m.UID}, Start: time.Now()}
	from, err := d.sender(m)
	if err != nil {
		return err
	}
	r, err := d.Open(ctx, s)
	if err != nil {
		return err
	}
	tx, err := r.Begin(ctx, s, from)
	if err != nil {
		return err
	}
	defer tx.Abort() //nolint:errcheck // committed or given up
	for _, to := range m.To {
		if err := d.recipient(ctx, tx, m, to); err != nil {
			return err
		}
	}
	if _, err := io.Copy(tx, m.Content); err != nil {
		return err
	}
	replies, err := tx.Commit(ctx)
	if err != nil {
		return err
	}
	for _, r := range replies {
		if !r.Positive() {
			return &r
		}
	}
	d.h.log.Info("dropped mail is taken", "session", s.ID, "uid", m.UID, "waited", time.Since(m.Written).Round(time.Second))
	return nil
}

func (d *localDoor) sender(m *drop.Item) (mail.Sender, error) {
	from := mail.Sender{EnvelopeID: drop.TokenPrefix + m.Token + ":" + m.EnvelopeID, UTF8: m.UTF8}
	if m.EightBit || m.UTF8 {
		from.Body = mail.Body8Bit
	}
	switch strings.ToLower(m.Ret) {
	case "full":
		from.Ret = mail.RetFull
	case "hdrs":
		from.Ret = mail.RetHeaders
	}
	switch m.From {
	case "<>":
	case "":
		from.Address = d.h.localUser(m.UID).address
	default:
		a, err := drop.Address(m.From, d.h.conf.MSA.LocalDomain)
		if err != nil {
			return from, mail.NewReply(553, mail.Enhanced{5, 1, 7}, "The sender %q is no address", m.From)
		}
		from.Address = a
	}
	return from, nil
}

func (d *localDoor) recipient(ctx context.Context, tx mail.Transaction, m *drop.Item, to string) error {
	a, err := drop.Address(to, d.h.conf.MSA.LocalDomain)
	if err != nil {
		return mail.NewReply(553, mail.Enhanced{5, 1, 3}, "The recipient %q is no address", to)
	}
	notify := notifyOf(m.Notify)
	err = tx.Recipient(ctx, &mail.Recipient{Address: a, Notify: notify})
	var refused *mail.Reply
	if !errors.As(err, &refused) || !refused.Permanent() {
		return err
	}
	if err := tx.Recipient(ctx, &mail.Recipient{Address: a, Notify: notify, Failed: refused}); err != nil {
		return fmt.Errorf("%w (after %w)", err, refused)
	}
	return nil
}

// notifyOf reads the value of NOTIFY (RFC 3461 section 4.1); what is not known counts as not given.
func notifyOf(s string) (n mail.Notify) {
	for _, w := range strings.Split(s, ",") {
		n |= map[string]mail.Notify{"never": mail.NotifyNever, "success": mail.NotifySuccess, "failure": mail.NotifyFailure,
			"delay": mail.NotifyDelay}[strings.ToLower(strings.TrimSpace(w))]
	}
	if n&mail.NotifyNever != 0 {
		return mail.NotifyNever
	}
	return n
}
