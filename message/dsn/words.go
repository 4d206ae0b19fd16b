package dsn

import (
	"fmt"
	"strings"
	"time"

	"github.com/samotop/samotop/mail"
)

// maxNamed is the most recipients that the plain words name; the machine's part has them all.
const maxNamed = 100

// words tells a person what happened.
func words(r *Report, o Options) string {
	var b strings.Builder
	fmt.Fprintf(&b, "This is the mail system at host %s.\n", r.ReportingMTA)
	for _, a := range []Action{Failed, Delayed, Delivered, Relayed, Expanded} {
		var of []*Recipient
		for i := range r.Recipients {
			if r.Recipients[i].action() == a {
				of = append(of, &r.Recipients[i])
			}
		}
		if len(of) > 0 {
			section(&b, a, of)
		}
	}
	if !r.Arrival.IsZero() {
		fmt.Fprintf(&b, "\nYour message arrived here on %s.\n", r.Arrival.Format("Monday, 2 January 2006 at 15:04:05 -0700"))
	}
	if o.Contact != "" {
		fmt.Fprintf(&b, "\nIf you need help, write to %s and attach this report.\n", oneLine(o.Contact))
	}
	return b.String()
}

func section(b *strings.Builder, a Action, of []*Recipient) {
	b.WriteString("\n" + opening(a, len(of) > 1) + "\n")
	for i, d := range of {
		if i == maxNamed {
			fmt.Fprintf(b, "\n  and %d more, listed in the delivery report below\n", len(of)-maxNamed)
			break
		}
		fmt.Fprintf(b, "\n  %s\n", oneLine(d.Final.Path()))
		if why := reason(d); why != "" {
			fmt.Fprintf(b, "    %s\n", why)
		}
		if d.Reply.Code != 0 && a != Delivered && a != Relayed && a != Expanded {
			said := "The mail system found"
			if d.RemoteMTA != "" {
				said = oneLine(d.RemoteMTA) + " said"
			}
			fmt.Fprintf(b, "    %s: %s\n", said, oneLine(diagnostic(d.Reply)))
		}
		if a == Delayed && !d.RetryUntil.IsZero() {
			fmt.Fprintf(b, "    It will be tried until %s.\n", d.RetryUntil.Format(time.RFC1123Z))
		}
	}
}

func opening(a Action, many bool) string {
	to := "this recipient"
	if many {
		to = "these recipients"
	}
	switch a {
	case Failed:
		return "Your message could not be delivered to " + to + ":"
	case Delayed:
		return "Your message has not been delivered yet to " + to + ".\nIt is still being tried; you need not send it again."
	case Delivered:
		return "Your message was delivered to " + to + ":"
	case Relayed:
		return "Your message was passed on for " + to + ", to a mail system that may\nnot report what becomes of it:"
	}
	return "Your message was passed on to everybody behind " + to + ":"
}

// reason gives the meaning of a status code in words (RFC 3463 section 3), for the codes that people meet.
func reason(d *Recipient) string {
	switch s := d.status(); (mail.Enhanced{0, s[1], s[2]}) {
	case mail.Enhanced{0, 1, 1}, mail.Enhanced{0, 1, 6}:
		return "There is no such mailbox."
	case mail.Enhanced{0, 1, 2}, mail.Enhanced{0, 4, 4}:
		return "There is no mail service for that domain."
	case mail.Enhanced{0, 1, 10}:
		return "That domain takes no mail at all."
	case mail.Enhanced{0, 2, 1}:
		return "The mailbox is disabled."
	case mail.Enhanced{0, 2, 2}:
		return "The mailbox is full."
	case mail.Enhanced{0, 2, 3}, mail.Enhanced{0, 3, 4}:
		return "The message is too big."
	case mail.Enhanced{0, 4, 1}, mail.Enhanced{0, 4, 2}:
		return "The host could not be reached."
	case mail.Enhanced{0, 4, 6}:
		return "The message went round in a circle."
	case mail.Enhanced{0, 4, 7}:
		return "It took too long: the mail system gave up."
	case mail.Enhanced{0, 6, 7}:
		return "The recipient's system does not take addresses like these."
	case mail.Enhanced{0, 7, 1}:
		return "The recipient's system does not accept the message."
	case mail.Enhanced{0, 7, 30}:
		return "The message asked for a protected way, and there is none."
	}
	return ""
}

func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 127 {
			return ' '
		}
		return r
	}, s)
}
