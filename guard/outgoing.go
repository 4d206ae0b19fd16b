package guard

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/samotop/samotop/mail"
)

// Limits of what one account may send; in OutgoingConfig zero means these, and below zero no limit. They fade: who has sent as
// much as he may in an hour may send a tenth of it again six minutes later.
const (
	DefaultMessagesPerHour   = 20_000 // what no person sends: a program gone wild. Less is the owner's choice, and he is told of bursts
	DefaultMessagesPerDay    = 50_000
	DefaultRecipientsPerHour = 50_000
	DefaultRecipientsPerDay  = 200_000

	outgoingNames = 1 << 14 // accounts whose sending is counted; those that have not sent for longest are forgotten
	habitNames    = 1 << 16 // accounts and networks from which they send
	habitTime     = 14 * 24 * time.Hour

	habitKnown   = 3 * 24 * time.Hour // so long an account has to be known before something is unusual
	burstLeast   = 50                 // messages in a day that are no burst whatever was before
	burstFactor  = 5                  // times the usual of a day that is a burst
	unusualLeast = 20                 // recipients in an hour from a network that was not used before
)

// OutgoingConfig says how much one account may send.
type OutgoingConfig struct {
	MessagesPerHour, MessagesPerDay, RecipientsPerHour, RecipientsPerDay int64
	Quiet                                                                bool // nobody is told of unusual things
}

// Sending is one recipient of a message that one of our people submits.
type Sending struct {
	Account string     // canonical address
	IP      netip.Addr // whence; may be zero
	First   bool       // it is the first recipient of the message
	To      mail.Address
}

// Allowance answers a Sending.
type Allowance struct {
	Reply *mail.Reply // nil: it may be sent
	// Alarm, in words, is what the owner should be told, once a day at most; "": nothing.
	Alarm string
}

// Outgoing limits what our own people send, who may have lost their password. It is safe for concurrent use.
type Outgoing struct {
	c      OutgoingConfig
	limits values
	sent   *table // messages and recipients of an hour and of a day
	habits *table // messages and days of two weeks; alarms of a day
	nets   mail.Networks
	now    func() time.Time
}

// Places of the counters of sent, and of habits.
const (
	sentMessagesHour, sentRecipientsHour, sentMessagesDay, sentRecipientsDay = 0, 1, 2, 3
	habitMessages, habitAlarms                                               = 0, 2
)

// Kinds of names.
const (
	sentAccount  = 'a'
	habitAccount = 'a'
	habitNetwork = 'n'
)

func newOutgoing(c OutgoingConfig, nets mail.Networks, sent, habits *table, now func() time.Time) *Outgoing {
	return &Outgoing{c: c, nets: nets, sent: sent, habits: habits, now: now, limits: values{
		limit(c.MessagesPerHour, DefaultMessagesPerHour), limit(c.RecipientsPerHour, DefaultRecipientsPerHour),
		limit(c.MessagesPerDay, DefaultMessagesPerDay), limit(c.RecipientsPerDay, DefaultRecipientsPerDay)}}
}

var sentNames = [counters]string{"messages in an hour", "recipients in an hour", "messages in a day", "recipients in a day"}

// Send counts a recipient, if it may be sent to.
func (o *Outgoing) Send(s Sending) Allowance {
	now, account := o.now(), []byte(strings.ToLower(s.Account))
	name := o.sent.nameOf(o.sent.tag(account), sentAccount, account)
	delta := values{sentRecipientsHour: 1, sentRecipientsDay: 1}
	if s.First {
		delta[sentMessagesHour], delta[sentMessagesDay] = 1, 1
	}
	before := o.sent.get(name, now).values
	for i, most := range o.limits {
		if most > 0 && delta[i] > 0 && before[i]+delta[i] > most+almost {
			return o.refuse(account, i, most, now)
		}
	}
	v := o.sent.add(name, now, delta).values
	if alarm := o.unusual(s, account, v, now); alarm != "" && !o.c.Quiet {
		return Allowance{Alarm: alarm}
	}
	return Allowance{}
}

// refuse puts off, and says to whom it is told. A message that has some recipients already may go to those.
func (o *Outgoing) refuse(account []byte, i int, most float32, now time.Time) Allowance {
	text := fmt.Sprintf("%.0f %s", most, sentNames[i])
	a := Allowance{Reply: mail.NewReply(450, mail.Enhanced{4, 7, 1}, "You have sent as much as you may: %s; please try again later", text)}
	if i == sentRecipientsHour || i == sentRecipientsDay {
		a.Reply.Code = 452
	}
	if o.alarm(account, now) && !o.c.Quiet {
		a.Alarm = "the account has sent as much as it may: " + text
	}
	return a
}

// alarm reports whether the owner is to be told: once in a day.
func (o *Outgoing) alarm(account []byte, now time.Time) bool {
	name := o.habits.nameOf(o.habits.tag(account), habitAccount, account)
	if o.habits.get(name, now).values[habitAlarms] > almost {
		return false
	}
	o.habits.add(name, now, values{habitAlarms: 1.3}) // over almost for a day
	return true
}

// unusual compares with what the account did before.
func (o *Outgoing) unusual(s Sending, account []byte, v values, now time.Time) string {
	name := o.habits.nameOf(o.habits.tag(account), habitAccount, account)
	before := o.habits.get(name, now)
	if s.First {
		o.habits.add(name, now, values{habitMessages: 1})
	}
	isNew, network := false, netip.Prefix{}
	if s.IP.IsValid() {
		network = o.nets.Of(s.IP)
		ip := network.Addr().As16()
		n := o.habits.nameOf(o.habits.tag(account), habitNetwork, append(append(account[:len(account):len(account)], 0), ip[:]...))
		k := o.habits.get(n, now)
		isNew = k.first.IsZero() || now.Sub(k.first) < 24*time.Hour
		if s.First || k.first.IsZero() {
			o.habits.add(n, now, values{habitMessages: 1})
		}
	}
	if before.first.IsZero() || now.Sub(before.first) < habitKnown {
		return ""
	}
	usual := float64(before.values[habitMessages]) / min(now.Sub(before.first), habitTime).Hours() * 24
	switch {
	case s.First && float64(v[sentMessagesDay]) >= max(burstLeast, burstFactor*usual) && o.alarm(account, now):
		return fmt.Sprintf("the account has sent %.0f messages within a day, where %.0f are usual", v[sentMessagesDay], usual)
	case isNew && v[sentRecipientsHour] >= unusualLeast && o.alarm(account, now):
		return fmt.Sprintf("mail to %.0f recipients was sent within an hour, from the network %s, from which it was not used before", v[sentRecipientsHour], network)
	}
	return ""
}
