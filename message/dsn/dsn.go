// Package dsn writes and reads delivery status notifications: RFC 3464 reports in the multipart/report of RFC 6522,
// with the internationalised forms of RFC 6533.
//
//	err := dsn.Write(w, &dsn.Report{
//		ReportingMTA: "mx.example.org",
//		Arrival:      arrived,
//		Recipients: []dsn.Recipient{{
//			Final: rcpt, Action: dsn.Failed, Reply: reply, RemoteMTA: "mx.example.net",
//		}},
//	}, dsn.Options{To: sender, MessageID: id, Original: content})
//
// Promises. One report carries any number of recipients. Plain words come first, for people, then the machine's
// part, then the message or its header. The original is streamed: only its header is held, up to
// MaxOriginalHeaderBytes. Nothing that a peer said can add a field or a line of its own. Reading does not fail on a
// report that is broken: it gives what can be read, up to MaxStatusBytes.
package dsn

import (
	"errors"
	"io"
	"time"

	"github.com/samotop/samotop/mail"
)

// Limits of reports.
const (
	MaxOriginalHeaderBytes = 64 << 10  // of the original's header that is returned, in octets
	MaxDiagnosticOctets    = 900       // of one diagnostic code
	MaxStatusBytes         = 256 << 10 // of a delivery status that is read, in octets
	MaxRecipients          = 10000     // of a delivery status that is read
)

// Action is what became of a recipient (RFC 3464 section 2.3.3).
type Action string

const (
	Failed    Action = "failed"
	Delayed   Action = "delayed"
	Delivered Action = "delivered"
	Relayed   Action = "relayed"
	Expanded  Action = "expanded"
)

// Report is a delivery status notification about one message.
type Report struct {
	ReportingMTA string    // host name of who reports; written with type dns
	EnvelopeID   string    // ENVID (RFC 3461), decoded
	ReceivedFrom string    // host name the message came from, "" if not to be told
	Gateway      string    // DSN-Gateway, "" for none
	Arrival      time.Time // when the message came; zero if unknown
	Recipients   []Recipient
}

// Recipient is what happened to one recipient.
type Recipient struct {
	Original    string        // ORCPT as "type;address", xtext decoded; "" if not given
	Final       mail.Address  // where the message was to go
	Action      Action        // "" when written: made from Status
	Status      mail.Enhanced // zero when written: made from Reply or Action
	RemoteMTA   string        // host name of who answered; "" if it was us
	Reply       mail.Reply    // its answer, becomes Diagnostic-Code; Code 0: none
	LastAttempt time.Time
	RetryUntil  time.Time // Will-Retry-Until, of a delayed recipient
	LogID       string    // Final-Log-ID
}

// Options say how a report is sent.
type Options struct {
	From      mail.Address // header From; zero: MAILER-DAEMON at ReportingMTA. The envelope sender of a report is always <>
	FromName  string       // display name; "": Mail Delivery System
	To        mail.Address // whom the report goes to: the reverse-path of the original
	MessageID string       // Message-ID of the report, without brackets; "": one is made
	Date      time.Time    // zero: now
	UTF8      bool         // the report may be written with SMTPUTF8 (RFC 6533); else addresses are encoded
	EightBit  bool         // the report may hold 8-bit text (RFC 6152)
	Rand      io.Reader    // nil: crypto/rand
	Contact   string       // how to reach a human, such as postmaster@example.org; "" for none

	Original      io.Reader // the original message, nil for none; read to its end only when it is returned whole
	Ret           mail.Ret  // RetFull returns the message where its size and the way allow it, else its header
	OriginalUTF8  bool      // the original needed SMTPUTF8
	Original8Bit  bool      // the original has octets above 127
	OriginalBytes int64     // most octets of an original that is returned whole; default 1 MiB
	Size          int64     // octets of the original; 0 if unknown: only its header is returned
}

// ErrNotReport: the message is not a delivery status notification.
var ErrNotReport = errors.New("dsn: message has no delivery status")
