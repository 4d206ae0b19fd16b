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
// What Received shows of the client: that an authenticated user submitted here, by which protocol and cipher, and
// nothing more: the client's place is taken by our own name. His address, HELO name and account are of no use to the
// recipient and tell where a person is; our log has them under the session's id. Config.ShowClient shows address and
// name as a relay would.
//
// Several authors in From are taken if all are the account's own. A message without From gets one from its
// reverse-path. Two From fields, or one that names nobody, are refused: programs differ in which they show.
//
// Promises. The Door is safe for concurrent use. The header is held in memory up to its limit; the body streams.
package msa

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
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
	// Journal is told of each message that was taken or refused; nil: each is a line of Log.
	Journal mail.Journal
	// WroteTo is told to whom an account writes, before the message is queued, so that they may answer, and by which Message-ID,
	// so that reports about it are known; nil: nobody is.
	// What goes wrong there keeps no mail back.
	WroteTo func(ctx context.Context, account string, to []mail.Address, messageID string) error
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
	if c, ok := cfg.Queue.(mail.Checker); ok {
		if err := c.Check(); err != nil {
			return nil, fmt.Errorf("msa: %w", err)
		}
	}
	if cfg.MaxHeaderBytes <= 0 {
		cfg.MaxHeaderBytes = 1 << 20
	}
	if cfg.MaxHops <= 0 {
		cfg.MaxHops = 50
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
	if cfg.Journal == nil {
		cfg.Journal = mail.LogEvents(cfg.Log, nil)
	}
	return &door{cfg}, nil
}

type door struct{ cfg Config }

var errLogin = mail.NewReply(530, mail.Enhanced{5, 7, 0}, "Authentication required")

// Open lets everybody in up to MAIL, so that a client can say EHLO, STARTTLS and AUTH. Who it is may become known
// only with MAIL, where the session's facts come over a link of ours; so the queue is opened there.
func (d *door) Open(context.Context, *mail.Session) (mail.Receiver, error) {
	return &receiver{d: d}, nil
}

type receiver struct {
	d    *door
	next mail.Receiver // nil before the first message
}

// Close closes the queue's Receiver, if it wants that.
func (r *receiver) Close() error {
	if c, ok := r.next.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// Begin checks the reverse-path (RFC 6409 section 6.1). The null one is anybody's: read receipts have it (RFC 8098
// section 2.1).
func (r *receiver) Begin(ctx context.Context, s *mail.Session, from mail.Sender) (mail.Transaction, error) {
	if s.Login.Account == "" {
		return nil, errLogin // RFC 4954 section 6
	}
	if !from.Address.IsNull() {
		ok, err := r.d.cfg.Senders.MaySendAs(ctx, s.Login.Account, from.Address)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, mail.NewReply(553, mail.Enhanced{5, 7, 1}, "%s is not an address of the account %s, as which you have logged in",
				from.Address.Path(), s.Login.Account)
		}
	}
	if r.next == nil {
		next, err := r.d.cfg.Queue.Open(ctx, s)
		if err != nil {
			return nil, err
		}
		r.next = next
	}
	next, err := r.next.Begin(ctx, s, from)
	if err != nil {
		return nil, err
	}
	return newTransaction(ctx, &r.d.cfg, s, from, next), nil
}
