package mailauth

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mailauth/arc"
	"github.com/samotop/samotop/mailauth/authres"
	"github.com/samotop/samotop/mailauth/dkim"
	"github.com/samotop/samotop/message"
)

// Signer signs what leaves the house: with DKIM what our own people send, by the keys of the domain in From; with an ARC
// set what we only pass on. Its Middleware stands in front of the queue, behind everything that changes the content.
type Signer struct {
	// Keys returns what signs for a domain, itself or one above it; none: it is not signed. An error is temporary.
	Keys func(domain string) ([]dkim.Signer, error)
	Host string // our name: whose keys seal, and sign the reports; also our authserv-id
	DKIM bool   // sign what our own people send
	Seal bool   // seal what is passed on

	Clock func() time.Time // nil: time.Now
	Log   *slog.Logger     // nil: none
}

func (s *Signer) now() time.Time {
	if s.Clock != nil {
		return s.Clock()
	}
	return time.Now()
}

func (s *Signer) log() *slog.Logger {
	if s.Log != nil {
		return s.Log
	}
	return slog.New(slog.DiscardHandler)
}

// Middleware signs the messages that pass to a Door: a message of somebody who has logged in with DKIM, any other that
// carries an Authentication-Results field of ours with ARC. The fields are added after the content.
func (s *Signer) Middleware() mail.Middleware {
	return func(next mail.Door) mail.Door { return &signDoor{s: s, next: next} }
}

type signDoor struct {
	s    *Signer
	next mail.Door
}

// Check is of mail.Checker.
func (d *signDoor) Check() error {
	if c, ok := d.next.(mail.Checker); ok {
		return c.Check()
	}
	return nil
}

func (d *signDoor) Open(ctx context.Context, s *mail.Session) (mail.Receiver, error) {
	r, err := d.next.Open(ctx, s)
	if err != nil || r == nil {
		return r, err
	}
	if c, ok := r.(io.Closer); ok {
		return signClosing{signReceiver{d.s, r}, c}, nil
	}
	return signReceiver{d.s, r}, nil
}

type signReceiver struct {
	s    *Signer
	next mail.Receiver
}

type signClosing struct {
	signReceiver
	io.Closer
}

func (r signReceiver) Begin(ctx context.Context, s *mail.Session, from mail.Sender) (mail.Transaction, error) {
	next, err := r.next.Begin(ctx, s, from)
	if err != nil {
		return nil, err
	}
	t := &signTransaction{Transaction: next, s: r.s}
	switch {
	case s.Login.Account != "" && r.s.DKIM:
		t.dkim = dkim.NewSigning(r.s.now())
	case s.Login.Account == "" && r.s.Seal:
		t.arc = r.s.sealing()
	}
	if t.dkim == nil && t.arc == nil {
		return next, nil
	}
	p, prepares := next.(mail.Preparer)
	a, amends := next.(mail.Amender)
	switch {
	case prepares && amends:
		return signBoth{signPreparing{t, p}, a}, nil
	case prepares:
		return signPreparing{t, p}, nil
	case amends:
		return signAmending{t, a}, nil
	}
	return t, nil
}

// sealing begins an ARC set; nil: we have no key for it.
func (s *Signer) sealing() *arc.Sealing {
	signers, err := s.Keys(s.Host)
	if err != nil {
		s.log().Warn("what is passed on is not sealed: the keys cannot be read", "host", s.Host, "err", err)
	}
	if len(signers) == 0 {
		return nil
	}
	return arc.NewSealing(s.now(), arc.Sealer{Domain: signers[0].Domain, Selector: signers[0].Selector, Key: signers[0].Key, ID: s.Host})
}

// signTransaction is one message.
type signTransaction struct {
	mail.Transaction
	s      *Signer
	dkim   *dkim.Signing // nil: not signed
	arc    *arc.Sealing  // nil: not sealed
	found  *authres.Results
	signed bool
}

type signPreparing struct {
	*signTransaction
	next mail.Preparer
}

type signAmending struct {
	*signTransaction
	mail.Amender
}

type signBoth struct {
	signPreparing
	mail.Amender
}

func (p signPreparing) Prepare(ctx context.Context) ([]mail.Reply, error) {
	if err := p.finish(); err != nil {
		return nil, err
	}
	return p.next.Prepare(ctx)
}

// Trace looks for what was found when the message came in.
func (t *signTransaction) Trace(fields ...mail.Field) {
	for _, f := range fields {
		if t.arc != nil && strings.EqualFold(f.Name, authres.FieldName) {
			if r := authres.Parse(f.Value); strings.EqualFold(r.ID, t.s.Host) {
				t.found = &r
			}
		}
	}
	t.Transaction.Trace(fields...)
}

func (t *signTransaction) Write(p []byte) (int, error) {
	if t.dkim != nil {
		t.dkim.Write(p)
	}
	if t.arc != nil {
		t.arc.Write(p)
	}
	return t.Transaction.Write(p)
}

func (t *signTransaction) Commit(ctx context.Context) ([]mail.Reply, error) {
	if err := t.finish(); err != nil {
		return nil, err
	}
	return t.Transaction.Commit(ctx)
}

// finish signs once. A message that cannot be sealed, because its chain has ended, goes without a seal.
func (t *signTransaction) finish() error {
	if t.signed {
		return nil
	}
	t.signed = true
	if t.dkim != nil {
		fields, err := t.s.sign(t.dkim)
		if err != nil {
			return err
		}
		t.Transaction.Trace(fields...)
	}
	if t.arc != nil && t.found != nil {
		fields, err := t.arc.Close(arc.Result{Status: t.chain()}, *t.found)
		if err != nil {
			t.s.log().Debug("a message is passed on without a seal", "err", err)
			return nil
		}
		for i := len(fields) - 1; i >= 0; i-- { // the last added stands on top
			t.Transaction.Trace(fields[i])
		}
	}
	return nil
}

// chain is the status of the chain that the message came with.
func (t *signTransaction) chain() arc.Status {
	for _, m := range t.found.Methods {
		if m.Name == "arc" {
			return arc.Status(m.Result)
		}
	}
	return arc.None
}

// sign chooses the keys by From and signs.
func (s *Signer) sign(m *dkim.Signing) ([]mail.Field, error) {
	h := message.ParseHeader(m.Header())
	for _, domain := range authors(&h) {
		signers, err := s.Keys(domain)
		if err != nil {
			return nil, err
		}
		if len(signers) > 0 {
			m.Add(signers...)
			break
		}
	}
	return m.Close()
}

// Message begins a message of the house's own, such as a report: what is written is signed by the domain of its From
// field, or by that of Host if it has no keys.
func (s *Signer) Message() *OwnMessage { return &OwnMessage{s: s, m: dkim.NewSigning(s.now())} }

// OwnMessage is a message of our own on its way to be signed.
type OwnMessage struct {
	s *Signer
	m *dkim.Signing
}

// Write takes the next octets. It never fails.
func (o *OwnMessage) Write(p []byte) (int, error) { return o.m.Write(p) }

// Close ends the message and returns the fields to be put in front of it. One whose keys cannot be read goes without:
// a report is better unsigned than not at all.
func (o *OwnMessage) Close() ([]mail.Field, error) {
	if !o.s.DKIM {
		return nil, nil
	}
	fields, err := o.s.sign(o.m)
	if err != nil {
		o.s.log().Warn("a message of our own is not signed", "err", err)
		return nil, nil
	}
	return fields, nil
}
