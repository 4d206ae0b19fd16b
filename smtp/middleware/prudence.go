package middleware

import (
	"context"
	"strconv"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/smtp"
)

// Prudence looks twice at strangers: it keeps the banner back and sends away who talks before it, and who asks for too
// many recipients that do not exist. Timeouts of commands and their errors are fields of smtp.Server. The Door must be
// served by smtp.Server directly for early talkers to be noticed.
type Prudence struct {
	Delay       time.Duration            // before the banner; 0: none
	Tolerate    bool                     // early talkers are let in, with the fact "early-talker"
	MaxRefusals int                      // recipients refused for good in one session; 0: 20
	Exempt      func(*mail.Session) bool // nil: those who are trusted or have logged in
}

// Wrap is the mail.Middleware.
func (m Prudence) Wrap(next mail.Door) mail.Door {
	if m.MaxRefusals <= 0 {
		m.MaxRefusals = 20
	}
	if m.Exempt == nil {
		m.Exempt = func(s *mail.Session) bool { return s.Trusted || s.Login.Account != "" }
	}
	inner := transactions(next, m.begin)
	return &wrapped{next: next, open: func(ctx context.Context, s *mail.Session) (mail.Receiver, error) {
		if s.Stage == mail.StageConnect && m.Delay > 0 && !m.Exempt(s) {
			if err := m.wait(ctx, s); err != nil {
				return nil, err
			}
		}
		return inner.Open(ctx, s)
	}}
}

// wait is RFC 5321 section 4.3.1: a client that is one waits for the greeting.
func (m Prudence) wait(ctx context.Context, s *mail.Session) error {
	early, err := smtp.WaitQuiet(ctx, m.Delay)
	switch {
	case err != nil:
		return err
	case early && m.Tolerate:
		s.SetFact("early-talker", "yes")
	case early:
		return mail.NewReply(554, mail.Enhanced{5, 5, 1}, "You talk before it is your turn")
	}
	return nil
}

const refusals = "refused-recipients"

func (m Prudence) begin(ctx context.Context, s *mail.Session, from mail.Sender, r mail.Receiver) (mail.Transaction, error) {
	tx, err := r.Begin(ctx, s, from)
	if err != nil || m.Exempt(s) {
		return tx, err
	}
	return like(&counted{Transaction: tx, s: s, max: m.MaxRefusals}, tx), nil
}

// counted counts refusals as a fact of the session, so that they add up over its transactions.
type counted struct {
	mail.Transaction
	s   *mail.Session
	max int
}

func (tx *counted) Recipient(ctx context.Context, r *mail.Recipient) error {
	err := tx.Transaction.Recipient(ctx, r)
	if err == nil || !mail.AsReply(err).Permanent() {
		return err
	}
	n, _ := strconv.Atoi(tx.s.Fact(refusals))
	n++
	tx.s.SetFact(refusals, strconv.Itoa(n))
	if n > tx.max {
		return mail.NewReply(421, mail.Enhanced{4, 7, 0}, "Too many recipients that do not exist").Because(err)
	}
	return err
}
