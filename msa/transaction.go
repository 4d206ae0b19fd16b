package msa

import (
	"context"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/message"
)

// transaction passes a message on to the queue, its header changed on the way.
type transaction struct {
	cfg     *Config
	ctx     context.Context // of MAIL: Write has none
	session *mail.Session
	from    mail.Sender
	next    mail.Transaction
	editor  *message.HeaderEditor
	refusal error // what the header met
	to      *mail.Address
	all     []mail.Address // recipients that were accepted
	rcpts   int
	traced  bool
	id      string // Message-ID, for the journal
}

// removed never leaves: Bcc tells what its reader must not know (RFC 5322 section 3.6.3), Return-Path is written by
// the host of final delivery (RFC 5321 section 4.4).
var removed = []string{"Bcc", "Resent-Bcc", "Return-Path"}

func newTransaction(ctx context.Context, cfg *Config, s *mail.Session, from mail.Sender, next mail.Transaction) *transaction {
	t := &transaction{cfg: cfg, ctx: ctx, session: s, from: from, next: next}
	t.editor = message.NewHeaderEditor(gate{t}, message.EditOptions{Remove: removed, Add: t.header, HeaderBytes: cfg.MaxHeaderBytes})
	return t
}

// gate lets nothing of a refused message through.
type gate struct{ t *transaction }

func (g gate) Write(p []byte) (int, error) {
	if g.t.refusal != nil {
		return 0, g.t.refusal
	}
	return g.t.next.Write(p)
}

func (t *transaction) Recipient(ctx context.Context, r *mail.Recipient) error {
	if err := t.next.Recipient(ctx, r); err != nil {
		t.refused(ctx, r.Address, err)
		return err
	}
	t.all = append(t.all, r.Address)
	if t.rcpts++; t.rcpts == 1 {
		a := r.Address
		t.to = &a
	} else {
		t.to = nil
	}
	return nil
}

func (t *transaction) Trace(fields ...mail.Field) { t.next.Trace(fields...) }

func (t *transaction) Write(p []byte) (int, error) {
	n, err := t.editor.Write(p)
	if errors.Is(err, message.ErrHeaderTooLong) {
		return n, mail.NewReply(552, mail.Enhanced{5, 3, 4}, "The header of the message is larger than the %d octets allowed here", t.cfg.MaxHeaderBytes)
	}
	return n, err
}

// Commit ends the content and adds Received.
func (t *transaction) Commit(ctx context.Context) ([]mail.Reply, error) {
	err := t.finish()
	var replies []mail.Reply
	if err == nil {
		t.wroteTo(ctx)
		replies, err = t.next.Commit(ctx)
	}
	t.record(ctx, replies, err)
	return replies, err
}

func (t *transaction) wroteTo(ctx context.Context) {
	if t.cfg.WroteTo == nil {
		return
	}
	if err := t.cfg.WroteTo(ctx, t.session.Login.Account, t.all, t.id); err != nil {
		t.cfg.Log.WarnContext(ctx, "recipients are not approved as contacts", "session", t.session.ID, "err", err)
	}
}

// Prepare does the same as far as the queue can without its final step.
func (t *transaction) Prepare(ctx context.Context) ([]mail.Reply, error) {
	if err := t.finish(); err != nil {
		return nil, err
	}
	if p, ok := t.next.(mail.Preparer); ok {
		return p.Prepare(ctx)
	}
	replies := make([]mail.Reply, t.rcpts)
	for i := range replies {
		replies[i] = mail.OK()
	}
	return replies, nil
}

func (t *transaction) finish() error {
	if t.traced {
		return nil
	}
	if err := t.editor.Close(); err != nil {
		return err
	}
	if t.refusal != nil {
		return t.refusal
	}
	t.traced = true
	t.next.Trace(t.received())
	return nil
}

func (t *transaction) Abort() error { return t.next.Abort() }

// received is the trace of this hop (RFC 5321 section 4.4).
func (t *transaction) received() mail.Field {
	s := t.session
	if !t.cfg.ShowClient {
		hidden := *s
		hidden.Hello, hidden.RemoteName, hidden.RemoteAddr = t.cfg.Hostname, "", nil
		s = &hidden
	}
	return mail.Received(s, t.cfg.Hostname, t.session.ID, t.to, t.from.UTF8, t.cfg.Clock())
}

// header looks at the header of the message and returns what it lacks.
func (t *transaction) header(h *message.Header) []mail.Field {
	if n := len(h.Values("Received")); n > t.cfg.MaxHops {
		t.refusal = mail.NewReply(554, mail.Enhanced{5, 4, 6}, "Too many hops: the message has %d Received fields", n)
		return nil
	}
	var add []mail.Field
	if !h.Has("Date") {
		add = append(add, mail.Field{Name: "Date", Value: message.FormatDate(t.cfg.Clock())})
	}
	t.id = strings.ToValidUTF8(string(h.Get("Message-ID")), "?")
	if !h.Has("Message-ID") {
		id, err := t.messageID()
		t.id = id
		if err != nil {
			t.refusal = err
			return nil
		}
		add = append(add, mail.Field{Name: "Message-ID", Value: id})
	}
	if !h.Has("From") && !t.from.Address.IsNull() {
		return append(add, mail.Field{Name: "From", Value: t.from.Address.String()})
	}
	t.refusal = t.author(h)
	return add
}

func (t *transaction) messageID() (string, error) {
	var b [20]byte
	if _, err := io.ReadFull(t.cfg.Rand, b[:]); err != nil {
		return "", fmt.Errorf("msa: randomness: %w", err)
	}
	return "<" + strings.ToLower(base32.StdEncoding.EncodeToString(b[:])) + "@" + t.cfg.Hostname + ">", nil
}

// author checks that From and Sender name the account's own addresses only (RFC 6409 section 6.1).
func (t *transaction) author(h *message.Header) error {
	for _, name := range []string{"From", "Sender"} {
		values := h.Values(name)
		switch {
		case len(values) == 0 && name == "Sender":
			continue
		case len(values) != 1: // RFC 5322 section 3.6
			return mail.NewReply(550, mail.Enhanced{5, 7, 1}, "The message must have one %s field; it has %d", name, len(values))
		}
		if err := t.own(name, message.ParseAddressList(values[0])); err != nil {
			return err
		}
	}
	return nil
}

func (t *transaction) own(field string, list []message.AddressOrGroup) error {
	n := 0
	for _, a := range list {
		addrs := []message.AddressOrGroup{a}
		if a.Group {
			addrs = a.Members
		}
		for _, a := range addrs {
			n++
			if n > maxAuthors {
				return mail.NewReply(550, mail.Enhanced{5, 7, 1}, "The %s field names more than %d addresses", field, maxAuthors)
			}
			if a.Address == t.from.Address && !a.Address.IsNull() {
				continue // asked at MAIL
			}
			ok, err := t.cfg.Senders.MaySendAs(t.ctx, t.session.Login.Account, a.Address)
			if err != nil {
				return err
			}
			if !ok {
				return mail.NewReply(550, mail.Enhanced{5, 7, 1}, "The %s field names %s, which is not an address of the account %s",
					field, a.Address.Path(), t.session.Login.Account)
			}
		}
	}
	if n == 0 {
		return mail.NewReply(550, mail.Enhanced{5, 7, 1}, "The %s field names no address", field)
	}
	return nil
}

// maxAuthors is how many addresses of From or Sender are looked at.
const maxAuthors = 20
