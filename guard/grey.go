package guard

import (
	"strings"
	"time"

	"github.com/samotop/samotop/mail"
)

// Limits of greylisting.
const (
	DefaultGreyDelay = time.Minute         // a new sender that comes again after that passes
	GreySuspicious   = 3                   // score from which somebody is suspicious
	greyLife         = 36 * 24 * time.Hour // who was not seen for so long is new again
	greyNames        = 1 << 17             // senders that are remembered; the oldest are forgotten
)

// Greylist puts off whom it has not met: hardly any spammer comes again. Who has passed once, from his network and with his
// domain, is not put off again; nor is an authenticated sender who has a good history. It is safe for concurrent use.
type Greylist struct {
	table *table
	delay time.Duration
	least float64 // score from which somebody is put off
	now   func() time.Time
	rep   *Reputation // nil: nobody has a history
	nets  mail.Networks
}

// Kinds of names in the table.
const (
	greyTriple = 't' // network, sender, recipient
	greyPassed = 'p' // network, domain of the sender
)

// Delay reports whether the sender is put off now.
func (g *Greylist) Delay(m *Message, to, account mail.Address, score float64) bool {
	if score < g.least || g.rep != nil && m.Proven && g.rep.good(m) {
		return false
	}
	now := g.now()
	var room [600]byte
	ip := g.nets.Of(m.IP).Addr().As16()
	network := append(room[:0], ip[:]...)
	domain := append(append(network, 0), strings.ToLower(m.From.Address.Domain)...)
	passed := g.table.name(greyPassed, domain)
	if k := g.table.get(passed, now); !k.first.IsZero() {
		g.table.add(passed, now, values{1})
		return false
	}
	triple := append(append(append(append(domain, 0), m.From.Address.Local...), 0), strings.ToLower(to.String())...)
	k := g.table.add(g.table.nameOf(g.table.tag(appendAddress(nil, account)), greyTriple, triple), now, values{1})
	if now.Sub(k.first) < g.delay {
		return true
	}
	g.table.add(passed, now, values{1})
	return false
}
