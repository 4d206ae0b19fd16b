// Package msa is the message submission agent (RFC 6409): it takes mail from people who have logged in, makes it
// fit to travel, and hands it to the queue.
//
//	door, err := msa.New(msa.Config{Queue: queue.Door(), Senders: accounts, Hostname: "mx.example.org"})
//	srv := &smtp.Server{Door: door, ...}
//
// What it does to a message: it refuses whom it does not know (530 5.7.0), a reverse-path that is not one of the
// account's own addresses (553 5.7.1) and a From or Sender field that is not, or no From at all (550 5.7.1); it adds
// Date and Message-ID where they are missing (RFC 6409 section 8), takes out Bcc and Resent-Bcc (RFC 5322 section
// 3.6.3) and Return-Path (RFC 5321 section 4.4), and adds Received (the same). Everything else stays as it came. The
// null reverse-path is taken, as the reports of mail programs need it (RFC 8098 section 3): From says who sends.
//
// What Received shows of the client: that an authenticated user submitted here by ESMTP with TLS, and nothing more,
// neither address nor HELO name nor account, which are of no use to the recipient and tell where a person is. The
// queue's log has them under the same queue id. Config.ShowClient shows address and name as a relay would.
//
// Promises. The Door is safe for concurrent use. The header is held in memory up to its limit; the body streams.
package msa

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/samotop/samotop/mail"
)

// Senders says whose addresses are whose.
type Senders interface {
	// MaySendAs reports whether the account may send as the address. Both are given as they came.
	MaySendAs(ctx context.Context, account string, from mail.Address) (bool, error)
}

// Config of New. Queue, Senders and Hostname are required.
type Config struct {
	Queue    mail.Door
	Senders  Senders
	Hostname string // our name in Received and in made Message-IDs

	ShowClient bool // Received shows the client's address and HELO name

	MaxHeaderBytes int // header block held in memory; default 1 MiB; over it 552 5.3.4
	MaxHops        int // Received fields that a message may have; default 50; over it 554 5.4.6

	Clock func() time.Time // nil: time.Now
	Rand  io.Reader        // for Message-ID; nil: crypto/rand
	Log   *slog.Logger     // nil: none
}

// Defaults of Config.
const (
	DefaultMaxHeaderBytes = 1 << 20
	DefaultMaxHops        = 50
)

// New makes the Door.
func New(cfg Config) (mail.Door, error) {
	if cfg.Queue == nil || cfg.Senders == nil || cfg.Hostname == "" {
		return nil, errors.New("msa: Queue, Senders and Hostname are required")
	}
	if cfg.MaxHeaderBytes <= 0 {
		cfg.MaxHeaderBytes = DefaultMaxHeaderBytes
	}
	if cfg.MaxHops <= 0 {
		cfg.MaxHops = DefaultMaxHops
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &msa{cfg}, nil
}

// msa is the Door.
type msa struct{ cfg Config }

// Open lets everybody in: they have to be able to authenticate. Begin asks who they are.
func (m *msa) Open(ctx context.Context, s *mail.Session) (mail.Receiver, error) {
	if s.Login.Account == "" {
		return &receiver{m: m}, nil
	}
	q, err := m.cfg.Queue.Open(ctx, s)
	if err != nil {
		return nil, err
	}
	return &receiver{m: m, queue: q}, nil
}

// receiver is one session at one stage; queue is nil before the login.
type receiver struct {
	m     *msa
	queue mail.Receiver
}

// Close lets go of the queue.
func (r *receiver) Close() error {
	if c, ok := r.queue.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

func (r *receiver) Begin(ctx context.Context, s *mail.Session, from mail.Sender) (mail.Transaction, error) {
	if s.Login.Account == "" || r.queue == nil {
		return nil, mail.NewReply(530, mail.Enhanced{5, 7, 0}, "Authentication required") // RFC 4954 section 6
	}
	if !from.Address.IsNull() {
		may, err := r.m.cfg.Senders.MaySendAs(ctx, s.Login.Account, from.Address)
		if err != nil {
			return nil, err
		}
		if !may {
			return nil, mail.NewReply(553, mail.Enhanced{5, 7, 1}, "%s may not send as %s: use an address of your own", s.Login.Account, from.Address.Path())
		}
	}
	q, err := r.queue.Begin(ctx, s, from)
	if err != nil {
		return nil, err
	}
	return newTransaction(ctx, r.m, s, from, q)
}
