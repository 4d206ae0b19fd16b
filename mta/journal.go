package mta

import (
	"context"
	"crypto/tls"
	"fmt"
	"strings"

	"github.com/samotop/samotop/mail"
)

// pathOf is a reverse-path as the journal has it.
func pathOf(a mail.Address) string {
	if a.IsNull() {
		return "<>"
	}
	return a.String()
}

// peerOf names who is at the other end.
func peerOf(s *mail.Session) string {
	ip, ok := mail.IPOf(s.RemoteAddr)
	switch {
	case !ok:
		return "local"
	case s.RemoteName != "":
		return s.RemoteName + " [" + ip.String() + "]"
	}
	return ip.String()
}

// connected tells once for each session who it is, when the first message begins.
func (r *receiver) connected(ctx context.Context, s *mail.Session) {
	if r.told {
		return
	}
	r.told = true
	text := "said it is " + s.Hello
	if s.TLS != nil {
		text += ", with " + tls.VersionName(s.TLS.Version)
	} else {
		text += ", without TLS"
	}
	if s.Login.Account != "" {
		text += ", logged in as " + s.Login.Account
	}
	r.mta.c.Journal.Record(ctx, mail.Event{Time: r.mta.c.Clock(), Trace: s.ID, Room: "mta", Kind: "connected", Peer: peerOf(s), Text: text})
}

// event is what all events about this message have in common.
func (t *transaction) event(kind string) mail.Event {
	return mail.Event{Time: t.config().Clock(), Trace: t.s.ID, Room: "mta", Kind: kind, ID: t.id, MessageID: t.hops.id,
		From: pathOf(t.from.Address), Peer: peerOf(t.s)}
}

// refusedAtRCPT tells of a recipient who was refused before the content came.
func (t *transaction) refusedAtRCPT(ctx context.Context, to mail.Address, err error) {
	r := mail.AsReply(err)
	e := t.event("refused")
	if r.Temporary() {
		e.Kind = "deferred"
	}
	e.To, e.Code, e.Text = to.String(), r.Code, causeText(r)
	t.config().Journal.Record(ctx, e)
}

func causeText(r *mail.Reply) string {
	if r.Cause != nil {
		return r.String() + " (" + r.Cause.Error() + ")"
	}
	return r.String()
}

// record tells what became of the message for each recipient.
func (t *transaction) record(ctx context.Context, replies []mail.Reply, err error) {
	if err != nil {
		r := mail.AsReply(err)
		e := t.event("refused")
		if r.Temporary() {
			e.Kind = "deferred"
		}
		e.Code, e.Text = r.Code, causeText(r)
		for i := range t.recipients {
			e.To = t.recipients[i].Address.String()
			t.config().Journal.Record(ctx, e)
		}
		return
	}
	for i := range t.recipients {
		rec := &t.recipients[i]
		if rec.dropped || i >= len(replies) {
			continue
		}
		e := t.event("accepted")
		switch r := &replies[i]; {
		case r.Temporary():
			e.Kind = "deferred"
		case r.Permanent():
			e.Kind = "refused"
		}
		e.To, e.Code = rec.Address.String(), replies[i].Code
		e.Text = fmt.Sprintf("%s; %d octets%s", causeText(&replies[i]), t.size, t.where(rec))
		t.config().Journal.Record(ctx, e)
	}
}

// where says in words where a recipient's mail goes.
func (t *transaction) where(rec *recipient) string {
	var b strings.Builder
	for i, at := range rec.targets {
		if i == 10 {
			fmt.Fprintf(&b, ", and %d more", len(rec.targets)-i)
			break
		}
		x := &t.targets[at]
		switch {
		case x.unused:
		case x.part == &t.queue:
			b.WriteString("; by the queue to " + x.Address.String())
		case x.Folder != "":
			b.WriteString("; to the mailbox of " + x.Address.String() + ", folder " + x.Folder)
		default:
			b.WriteString("; to the mailbox of " + x.Address.String())
		}
	}
	return b.String()
}
