package msa

import (
	"context"
	"crypto/tls"
	"strings"

	"github.com/samotop/samotop/mail"
)

// event is what all events about this message have in common.
func (t *transaction) event(kind string) mail.Event {
	e := mail.Event{Time: t.cfg.Clock(), Trace: t.session.ID, Room: "msa", Kind: kind, MessageID: strings.Trim(strings.TrimSpace(t.id), "<>"),
		From: t.from.Address.String()}
	if e.From == "" {
		e.From = "<>"
	}
	if ip, ok := mail.IPOf(t.session.RemoteAddr); ok {
		e.Peer = ip.String()
	}
	return e
}

// record tells what became of the message.
func (t *transaction) record(ctx context.Context, replies []mail.Reply, err error) {
	who := "sent by the account " + t.session.Login.Account
	if t.session.TLS != nil {
		who += " over " + tls.VersionName(t.session.TLS.Version)
	}
	for i, to := range t.all {
		r := mail.AsReply(err)
		if r == nil && i < len(replies) {
			r = &replies[i]
		}
		if r == nil {
			return
		}
		e := t.event("accepted")
		switch {
		case r.Temporary():
			e.Kind = "deferred"
		case r.Permanent():
			e.Kind = "refused"
		}
		e.To, e.Code, e.Text = to.String(), r.Code, who+": "+r.String()
		t.cfg.Journal.Record(ctx, e)
	}
}

// refused tells of a recipient who was refused before the content came.
func (t *transaction) refused(ctx context.Context, to mail.Address, err error) {
	r := mail.AsReply(err)
	e := t.event("refused")
	e.To, e.Code, e.Text = to.String(), r.Code, "asked by the account "+t.session.Login.Account+": "+r.String()
	t.cfg.Journal.Record(ctx, e)
}
