package middleware

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"strconv"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/smtp/spool"
)

// Again hands a message over once more if the answer was lost (mail.ErrUnknownOutcome), under the same delivery ids, so that
// a next Door that knows those keeps it once. It belongs in front of a link to another process.
//
// It keeps a copy of the content until the answer is there: in memory up to a limit, beyond it in a file.
type Again struct {
	Patience          time.Duration // how long it tries; 0: 10 seconds
	SpoolMemoryOctets int           // of one message; 0: 256 KiB
	SpoolDir          string        // "": the directory for temporary files
}

const defaultAgainPatience = 10 * time.Second

// Wrap is the mail.Middleware.
func (m Again) Wrap(next mail.Door) mail.Door {
	if m.SpoolMemoryOctets <= 0 {
		m.SpoolMemoryOctets = defaultSpoolOctets
	}
	if m.Patience <= 0 {
		m.Patience = defaultAgainPatience
	}
	return transactions(next, func(ctx context.Context, s *mail.Session, from mail.Sender, r mail.Receiver) (mail.Transaction, error) {
		tx, err := r.Begin(ctx, s, from)
		if err != nil {
			return nil, err
		}
		return &handing{Transaction: tx, m: &m, s: s, from: from, r: r, id: rand.Text(),
			spool: spool.Buffer{MemoryOctets: m.SpoolMemoryOctets, Dir: m.SpoolDir}}, nil
	})
}

// handing is a message that is handed over, with all that is needed to do it again.
type handing struct {
	mail.Transaction
	m      *Again
	s      *mail.Session
	from   mail.Sender
	r      mail.Receiver
	id     string
	to     []mail.Recipient
	fields []mail.Field
	spool  spool.Buffer
}

func (h *handing) Recipient(ctx context.Context, r *mail.Recipient) error {
	if r.DeliveryID == "" {
		r.DeliveryID = h.id + "." + strconv.Itoa(len(h.to))
	}
	asked := *r
	if err := h.Transaction.Recipient(ctx, r); err != nil {
		return err
	}
	h.to = append(h.to, asked)
	return nil
}

func (h *handing) Trace(fields ...mail.Field) {
	h.fields = append(h.fields, fields...)
	h.Transaction.Trace(fields...)
}

func (h *handing) Write(p []byte) (int, error) {
	if _, err := h.spool.Write(p); err != nil {
		return 0, err
	}
	return h.Transaction.Write(p)
}

func (h *handing) Commit(ctx context.Context) ([]mail.Reply, error) {
	defer h.spool.Close()
	replies, err := h.Transaction.Commit(ctx)
	for end := time.Now().Add(h.m.Patience); errors.Is(err, mail.ErrUnknownOutcome) && time.Now().Before(end); {
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(againPause):
		}
		lost := err
		if replies, err = h.again(ctx); err != nil && mail.AsReply(err).Temporary() && !errors.Is(err, mail.ErrUnknownOutcome) {
			err = errors.Join(err, lost) // it is still not known what became of the first time
		}
	}
	return replies, err
}

// againPause is between two attempts.
const againPause = 50 * time.Millisecond

// again hands the whole message over.
func (h *handing) again(ctx context.Context) ([]mail.Reply, error) {
	tx, err := h.r.Begin(ctx, h.s, h.from)
	if err != nil {
		return nil, err
	}
	defer tx.Abort() //nolint:errcheck // committed or given up
	for i := range h.to {
		r := h.to[i]
		if err := tx.Recipient(ctx, &r); err != nil {
			return nil, err
		}
	}
	tx.Trace(h.fields...)
	text, err := h.spool.Reader()
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(tx, text); err != nil {
		return nil, err
	}
	return tx.Commit(ctx)
}

func (h *handing) Abort() error {
	h.spool.Close()
	return h.Transaction.Abort()
}
