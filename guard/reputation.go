package guard

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"github.com/samotop/samotop/mail"
)

// Defaults and limits of Reputation.
const (
	DefaultReputationEntries  = 1 << 18 // names of senders that are remembered, 32 octets each
	DefaultReputationHalfLife = 30 * 24 * time.Hour

	reputationLife   = 180 * 24 * time.Hour // who was not seen for so long is forgotten
	reputationDoubt  = 3                    // so much must be known of somebody that half of the weight is given to it
	reputationWeight = 4                    // what a name that only sends spam, or only wanted mail, adds or takes off
	ownWeight        = 6                    // the same, by what the recipient himself has seen
)

// Verdict is what became of a message, for the reputation of its sender.
type Verdict uint8

const (
	Delivered   Verdict = iota // into the INBOX
	FiledAsJunk                // by its score
	Refused                    // by its score
	Junked                     // by its recipient, who moved it
	Wanted                     // by its recipient: he took it out of Junk, or wrote to the sender
	GuessedAt                  // its recipient is not there
)

// weights of verdicts: good, bad; what a person says counts most, and what the score said counts little, as it holds what
// is known here already.
var weights = [...][2]float32{Delivered: {0.3, 0}, FiledAsJunk: {0, 0.3}, Refused: {0, 0.3}, Junked: {0, 3}, Wanted: {5, 0}, GuessedAt: {0, 0.3}}

// Reputation learns what senders send, for all and for each account: by the network, and where the sender is authenticated
// by his domain and address. It keeps counters that fade, in a fixed amount of memory, and never looks at mail. It is safe for
// concurrent use.
type Reputation struct {
	table *table
	own   []netip.Prefix
	nets  mail.Networks
	now   func() time.Time
}

// Places of the counters, which fade with the half-life; what is told by a person about others fades in a day and is bounded.
const (
	repGood, repBad, repTold = 0, 1, 2

	maxTold = 50 // verdicts of one account in a day that count for all
)

// Kinds of names.
const (
	repNetwork = 'n' // as wide as HistoryConfig.Networks says
	repAddress = 'a' // /32 or /64
	repDomain  = 'd'
	repSender  = 's'
	repTeller  = 't' // an account that tells
)

// Sender is who a message is from, as far as reputation goes.
type Sender struct {
	Address mail.Address // reverse-path
	IP      netip.Addr   // may be zero
	Proven  bool         // it is his: SPF or DKIM says so
}

func (m *Message) sender() Sender { return Sender{m.From.Address, m.IP, m.Proven} }

// names calls fn with each name of a sender, for an account or, where that is zero, for all.
func (r *Reputation) names(s Sender, account mail.Address, fn func(kind byte, hash uint64)) {
	var room [700]byte
	scope := appendAddress(room[:0], account)
	tag := r.table.tag(scope)
	scope = append(scope, 0)
	if s.IP.IsValid() && !contains(r.own, s.IP) {
		n, a := r.nets.Of(s.IP).Addr().As16(), addressOf(s.IP).Addr().As16()
		fn(repNetwork, r.table.nameOf(tag, repNetwork, append(scope, n[:]...)))
		fn(repAddress, r.table.nameOf(tag, repAddress, append(scope, a[:]...)))
	}
	if s.Proven && s.Address.Domain != "" {
		fn(repDomain, r.table.nameOf(tag, repDomain, append(scope, strings.ToLower(s.Address.Domain)...)))
		fn(repSender, r.table.nameOf(tag, repSender, appendAddress(scope, s.Address)))
	}
}

func appendAddress(b []byte, a mail.Address) []byte {
	if a.Domain == "" {
		return b
	}
	return append(append(append(b, strings.ToLower(a.Local)...), '@'), strings.ToLower(a.Domain)...)
}

// Learn counts what became of a message of a sender to an account; zero: to nobody that is here.
func (r *Reputation) Learn(s Sender, account mail.Address, v Verdict) {
	now, w := r.now(), weights[v]
	delta := values{repGood: w[0], repBad: w[1]}
	if !account.IsNull() {
		r.names(s, account, func(_ byte, hash uint64) { r.table.add(hash, now, delta) })
	}
	if v == Junked || v == Wanted { // of others it is told, and nobody's word counts for more than that
		teller := appendAddress(nil, account)
		told := r.table.add(r.table.nameOf(r.table.tag(teller), repTeller, teller), now, values{repTold: 1})
		if told.values[repTold] > maxTold {
			return
		}
		delta[repGood], delta[repBad] = delta[repGood]/3, delta[repBad]/3
	}
	r.names(s, mail.Address{}, func(_ byte, hash uint64) { r.table.add(hash, now, delta) })
}

var repNames = map[byte]string{repNetwork: "network", repAddress: "address", repDomain: "domain", repSender: "sender"}

// Judge says what is known of the sender: for all, or for the account.
func (r *Reputation) Judge(_ context.Context, m *Message, account mail.Address) (o Opinion) {
	now, weight, who := r.now(), float64(reputationWeight), "here"
	if !account.IsNull() {
		weight, who = ownWeight, "to this recipient"
	}
	best, worst := Opinion{}, Opinion{}
	r.names(m.sender(), account, func(kind byte, hash uint64) {
		v := r.table.get(hash, now).values
		good, bad := float64(v[repGood]), float64(v[repBad])
		score := score(weight, good, bad)
		// Only the strongest word on either side counts: they are about the same messages.
		switch x := (Opinion{}); {
		case score > max(worst.Score, 0.2):
			x.Say(score, "%s of bad repute %s", repNames[kind], who)
			worst = x
		case score < min(best.Score, -0.2):
			x.Say(score, "%s of good repute %s", repNames[kind], who)
			best = x
		}
	})
	if worst.Score > 0 {
		o.add(worst)
	}
	if best.Score < 0 {
		o.add(best)
	}
	return o
}

// good reports whether an authenticated sender has a good history here.
func (r *Reputation) good(m *Message) (good bool) {
	now := r.now()
	r.names(m.sender(), mail.Address{}, func(kind byte, hash uint64) {
		if kind == repDomain || kind == repSender {
			v := r.table.get(hash, now).values
			good = good || v[repGood] >= 1 && v[repGood] > 4*v[repBad]
		}
	})
	return good
}

// Reputed is what is known under one name of a sender.
type Reputed struct {
	Name      string // network, address, domain, sender
	Of        string // which
	Since     time.Time
	Good, Bad float64 // faded counts of verdicts
	Score     float64 // that it is worth
}

// Show tells what is known of a sender, for an account or for all.
func (r *Reputation) Show(s Sender, account mail.Address) (out []Reputed) {
	now, weight := r.now(), float64(reputationWeight)
	if !account.IsNull() {
		weight = ownWeight
	}
	s.Proven = true // as what is known only of those who prove it
	r.names(s, account, func(kind byte, hash uint64) {
		if k := r.table.get(hash, now); !k.first.IsZero() && !(kind == repSender && s.Address.Local == "") {
			good, bad := float64(k.values[repGood]), float64(k.values[repBad])
			out = append(out, Reputed{Name: repNames[kind], Of: r.of(s, kind), Since: k.first, Good: good, Bad: bad, Score: score(weight, good, bad)})
		}
	})
	return out
}

// of writes a name of a sender.
func (r *Reputation) of(s Sender, kind byte) string {
	switch kind {
	case repNetwork:
		return r.nets.Of(s.IP).String()
	case repAddress:
		if s.IP.Unmap().Is4() {
			return s.IP.Unmap().String()
		}
		return addressOf(s.IP).String()
	case repDomain:
		return "@" + strings.ToLower(s.Address.Domain)
	}
	return s.Address.String()
}

// Forget forgets what is known under the name that a sender has of his own: his address, all of a domain where there is no local
// part, an IP address or, with wide, its network. It returns how many counts that were.
func (r *Reputation) Forget(s Sender, account mail.Address, network bool) (n int) {
	own := byte(repAddress)
	switch {
	case network:
		own = repNetwork
	case s.Address.Local != "":
		own = repSender
	case s.Address.Domain != "":
		own = repDomain
	}
	s.Proven = true
	r.names(s, account, func(kind byte, hash uint64) {
		if kind == own && r.table.remove(hash) {
			n++
		}
	})
	return n
}

func score(weight, good, bad float64) float64 {
	return weight * (bad - good) / (good + bad + reputationDoubt)
}
