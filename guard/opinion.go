package guard

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/samotop/samotop/mail"
)

// Opinion is what somebody thinks of a message or its sender. Opinions add up: the Thresholds of Config decide what the
// sum does. The zero Opinion says nothing.
type Opinion struct {
	Score   float64  // against it; below zero: for it. By default 5 in all files a message as junk, 15 refuses it
	Reasons []string // in a few words each, such as "listed by zen.example.org +4"; at most MaxReasons are kept

	Defer  bool         // the content is to be put off, whatever the score: 451 4.7.1
	Text   string       // what the sender is told if the content is refused or put off, in one line; "": words of ours
	Fields []mail.Field // to be added to the header, at most MaxFields
}

// MaxFields is how many header fields the opinions on a message may add.
const MaxFields = 20

// MaxReasons is how many reasons of a verdict are kept and told.
const MaxReasons = 20

// Say adds a reason with its share of the score.
func (o *Opinion) Say(score float64, format string, args ...any) {
	o.Score += score
	if len(o.Reasons) < MaxReasons {
		o.Reasons = append(o.Reasons, fmt.Sprintf(format, args...)+fmt.Sprintf(" %+.1f", score))
	}
}

// add takes another opinion into account.
func (o *Opinion) add(x Opinion) {
	o.Score += x.Score
	o.Defer = o.Defer || x.Defer
	if o.Text == "" {
		o.Text = x.Text
	}
	o.Fields = append(slices.Clip(o.Fields), x.Fields[:min(len(x.Fields), max(0, MaxFields-len(o.Fields)))]...)
	room := max(0, MaxReasons-len(o.Reasons))
	o.Reasons = append(slices.Clip(o.Reasons), x.Reasons[:min(len(x.Reasons), room)]...)
}

func (o *Opinion) String() string {
	if len(o.Reasons) == 0 {
		return fmt.Sprintf("score %.1f", o.Score)
	}
	return fmt.Sprintf("score %.1f: %s", o.Score, strings.Join(o.Reasons, ", "))
}

// note is the opinion as the field X-Samotop-Junk has it.
func (o *Opinion) note(junk bool) string {
	yes := map[bool]string{true: "yes", false: "no"}[junk]
	var b strings.Builder
	fmt.Fprintf(&b, "%s; score=%.1f; %s", yes, o.Score, strings.Join(o.Reasons, ", "))
	for _, f := range o.Fields { // a line each, see mail.Target
		fmt.Fprintf(&b, "\n%s: %s", f.Name, strings.Join(strings.Fields(f.Value), " "))
	}
	return b.String()
}

// Thresholds say from which score on something is done. Zero: the default; below zero: never.
type Thresholds struct {
	Junk   float64 // into the folder Junk; 0: DefaultJunk
	Defer  float64 // 450 4.7.1 at RCPT, so that what is new to blocklists is known to them when it comes again; 0: never
	Refuse float64 // 550 5.7.1; 0: DefaultRefuse
}

// Defaults of Thresholds.
const (
	DefaultJunk   = 5
	DefaultRefuse = 15
)

func (t Thresholds) withDefaults() Thresholds {
	if t.Junk == 0 {
		t.Junk = DefaultJunk
	}
	if t.Refuse == 0 {
		t.Refuse = DefaultRefuse
	}
	return t
}

// over reports whether a score reaches a threshold.
func over(score, threshold float64) bool { return threshold > 0 && score >= threshold }

// Message is what is known of a message before its content. It is not kept after the transaction.
type Message struct {
	Session *mail.Session
	From    mail.Sender
	IP      netip.Addr     // whence it comes; the zero Addr if not by IP
	Proven  bool           // SPF has authenticated the sender's domain
	To      []mail.Address // of Reader: the accounts, by their canonical addresses, whose mail is to be judged
}

// Judge has an opinion about a sender before the content. It is safe for concurrent use, quick, and bounded in time: it
// is asked while the peer waits for the answer to RCPT.
type Judge interface {
	// Judge is asked once for each message with the zero Address, and then for each account about what is particular to
	// it. What goes wrong is no opinion.
	Judge(ctx context.Context, m *Message, to mail.Address) Opinion
}

// Reader is asked about the content of messages, such as a filter. It is safe for concurrent use.
type Reader interface {
	// Read is called when a message has at least one recipient whose mail is to be judged, before its content. An error
	// is logged and means that this reader has no opinion: no mail is lost over it. A nil Reading is none either.
	Read(ctx context.Context, m *Message) (Reading, error)
}

// A Chooser is a Reader that knows before the content whether it will have anything to say about a message to an account. Where
// no Reader wants to, the verdict is said at RCPT, and in a house that is split the content does not travel to the guard.
type Chooser interface {
	// Wants is asked at RCPT, as quickly as a Judge. That it cannot be known is true.
	Wants(ctx context.Context, m *Message, to mail.Address) bool
}

// Reading is one message on its way through a Reader. It belongs to one goroutine.
type Reading interface {
	// Write takes the content as mail.Transaction has it. After an error nothing more is asked of this reading.
	Write(p []byte) (int, error)
	// Opinion is asked once for each local account, by its canonical address, when the content is complete. An error is
	// logged and means no opinion.
	Opinion(ctx context.Context, to mail.Address) (Opinion, error)
	// Close lets go of what it holds; it comes always, and once.
	Close()
}
