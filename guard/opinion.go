package guard

import (
	"context"
	"net/netip"

	"github.com/samotop/samotop/mail"
)

// Opinion is what somebody thinks of a message or its sender. Opinions add up: the thresholds of Config decide what the
// sum does. The zero Opinion says nothing.
type Opinion struct {
	Score   float64  // against it; below zero: for it. by default 5 in all files a message as junk, 15 refuses it
	Reasons []string // in a few words each, such as "dnsbl:zen.example.org +4"; at most MaxReasons are kept
}

// MaxReasons is how many reasons of a verdict are kept and told.
const MaxReasons = 20

// add takes another opinion into account.
func (o *Opinion) add(x Opinion) {
	o.Score += x.Score
	o.Reasons = append(o.Reasons, x.Reasons[:min(len(x.Reasons), MaxReasons-min(len(o.Reasons), MaxReasons))]...)
}

// Message is what is known of a message before its content. It is not kept after the transaction.
type Message struct {
	Session *mail.Session
	From    mail.Sender
	IP      netip.Addr // whence it comes; the zero Addr if not by IP
	Proven  bool       // SPF has authenticated the sender's domain
}

// Reader is asked about the content of messages, such as a filter. It is safe for concurrent use.
type Reader interface {
	// Read is called when a message has at least one recipient whose mail is to be judged, before its content. An error
	// is logged and means that this reader has no opinion: no mail is lost over it.
	Read(ctx context.Context, m *Message) (Reading, error)
}

// Reading is one message on its way through a Reader. It belongs to one goroutine.
type Reading interface {
	// Write takes the content as mail.Transaction has it. After an error nothing more is asked of this reading.
	Write(p []byte) (int, error)
	// Opinion is asked for each local account, by its canonical address, once the content is complete; perhaps twice for
	// the same one. An error is logged and means no opinion.
	Opinion(ctx context.Context, to mail.Address) (Opinion, error)
	// Close lets go of what it holds; it comes always, and once.
	Close()
}
