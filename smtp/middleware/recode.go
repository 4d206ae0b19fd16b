package middleware

import (
	"context"
	"errors"
	"io"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/message"
	"github.com/samotop/samotop/smtp/spool"
)

// Recode makes messages fit for hosts that take less, before they are signed: binary content (BINARYMIME, RFC 3030) and
// lines over 998 octets become quoted-printable or base64, see message.Recoding. What a host has to offer for the
// message is lowered accordingly. A message that is signed inside (multipart/signed) and would have to be changed is
// refused with 554 5.6.3; so is one that cannot be re-encoded.
//
// It holds the content back until Prepare or Commit: in memory up to a limit, beyond it in a file.
type Recode struct {
	SevenBit          bool   // 8-bit content, too: for a next host that may not offer 8BITMIME
	BinaryOnly        bool   // only what came as BINARYMIME, and that no further than 8-bit: for a host that delivers
	SpoolMemoryOctets int    // of one message; 0: 256 KiB
	SpoolDir          string // "": the directory for temporary files
}

const defaultSpoolOctets = 256 << 10

// Wrap is the mail.Middleware.
func (m Recode) Wrap(next mail.Door) mail.Door {
	if m.SpoolMemoryOctets <= 0 {
		m.SpoolMemoryOctets = defaultSpoolOctets
	}
	return transactions(next, func(ctx context.Context, s *mail.Session, from mail.Sender, r mail.Receiver) (mail.Transaction, error) {
		if m.BinaryOnly && from.Body != mail.BodyBinary {
			return r.Begin(ctx, s, from)
		}
		outer := &recoding{spool: spool.Buffer{MemoryOctets: m.SpoolMemoryOctets, Dir: m.SpoolDir}, parser: message.NewParser(message.Limits{})}
		outer.to, from.Body = m.target(&from)
		if outer.to.binary {
			from.Size = 0 // it will be another
		}
		tx, err := r.Begin(ctx, s, from)
		if err != nil {
			return nil, err
		}
		outer.Transaction = tx
		switch t := like(outer, tx).(type) {
		case canPrepare:
			return canPrepare{outer, recodingPreparer{t.Preparer, outer}}, nil
		case canBoth:
			return canBoth{outer, recodingPreparer{t.Preparer, outer}, t.Amender}, nil
		default:
			return t, nil
		}
	})
}

type target struct {
	message.Recoding
	binary bool // the content came as BINARYMIME
}

// target says what a message becomes, and what is said of it then. Headers of SMTPUTF8 stay 8-bit (RFC 6531 section 3.1
// asks for 8BITMIME).
func (m Recode) target(from *mail.Sender) (target, mail.Body) {
	t := target{binary: from.Body == mail.BodyBinary}
	switch {
	case t.binary && (from.UTF8 || m.BinaryOnly):
		t.EightBit = true
		return t, mail.Body8Bit
	case from.UTF8:
		t.EightBit = true
		return t, from.Body
	case m.SevenBit, t.binary:
		return t, mail.Body7Bit
	}
	t.EightBit = true
	return t, from.Body
}

type recoding struct {
	mail.Transaction
	to     target
	spool  spool.Buffer
	parser *message.Parser
	sent   bool
	err    error
}

func (tx *recoding) Write(p []byte) (int, error) {
	_, _ = tx.parser.Write(p) // never fails
	return tx.spool.Write(p)
}

// pass hands the content on.
func (tx *recoding) pass() error {
	if tx.sent {
		return tx.err
	}
	tx.sent = true
	root := tx.parser.Close()
	content, err := tx.spool.Reader()
	if err != nil {
		return err
	}
	if tx.to.Needed(root) {
		err = tx.to.Copy(tx.Transaction, content, root)
	} else {
		_, err = io.Copy(struct{ io.Writer }{tx.Transaction}, content)
	}
	tx.spool.Close()
	switch {
	case errors.Is(err, message.ErrSigned):
		err = mail.NewReply(554, mail.Enhanced{5, 6, 3}, "Message is signed and holds binary content, 8-bit octets or lines "+
			"over 998 octets that would have to be changed: please sign it in a 7-bit form").Because(err)
	case errors.Is(err, message.ErrNoRecoding):
		err = mail.NewReply(554, mail.Enhanced{5, 6, 3}, "Message has content that cannot be re-encoded").Because(err)
	}
	tx.err = err
	return err
}

func (tx *recoding) Commit(ctx context.Context) ([]mail.Reply, error) {
	if err := tx.pass(); err != nil {
		return nil, err
	}
	return tx.Transaction.Commit(ctx)
}

func (tx *recoding) Abort() error {
	tx.sent = true
	tx.spool.Close()
	return tx.Transaction.Abort()
}

type recodingPreparer struct {
	mail.Preparer
	tx *recoding
}

func (p recodingPreparer) Prepare(ctx context.Context) ([]mail.Reply, error) {
	if err := p.tx.pass(); err != nil {
		return nil, err
	}
	return p.Preparer.Prepare(ctx)
}
