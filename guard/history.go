package guard

import (
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"math"
	"net/netip"
	"strings"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store"
)

// HistoryConfig of OpenHistory. The zero value is usable, and keeps everything in memory alone.
type HistoryConfig struct {
	Engine store.Engine
	Own    []netip.Prefix // networks of ours, beside loopback: they have no reputation

	Networks mail.Networks // how wide the networks are that are known as a whole

	GreyDelay time.Duration // 0: DefaultGreyDelay
	GreyLeast float64       // score from which a new sender is put off; 0: GreySuspicious; below zero: everybody

	Entries  int           // of the reputation; 0: DefaultReputationEntries
	HalfLife time.Duration // of what is known of a sender; 0: DefaultReputationHalfLife

	Sent OutgoingConfig

	Clock func() time.Time // nil: time.Now
	Rand  io.Reader        // nil: crypto/rand
	Log   *slog.Logger     // nil: none
}

// History is what the guard remembers of senders and of our own people. It is kept behind the mail: after a crash the last
// half minute is forgotten. It is safe for concurrent use.
type History struct {
	Grey       *Greylist
	Reputation *Reputation
	Outgoing   *Outgoing
	keeper     keeper
}

// OpenHistory begins to remember. The context bounds only the opening.
func OpenHistory(ctx context.Context, c HistoryConfig) (*History, error) {
	c.setDefaults()
	h := &History{keeper: keeper{engine: c.Engine, log: c.Log}}
	tau := time.Duration(float64(c.HalfLife) / math.Ln2)
	rep, err := h.keeper.open(ctx, KeyReputation, c.Entries, reputationLife, [counters]time.Duration{repGood: tau, repBad: tau, repTold: 24 * time.Hour}, c.Rand)
	if err != nil {
		return nil, err
	}
	grey, err := h.keeper.open(ctx, KeyGrey, greyNames, greyLife, [counters]time.Duration{}, c.Rand)
	if err != nil {
		return nil, err
	}
	sent, err := h.keeper.open(ctx, KeyOutgoing, outgoingNames, 7*24*time.Hour, [counters]time.Duration{time.Hour, time.Hour, 24 * time.Hour, 24 * time.Hour}, c.Rand)
	if err != nil {
		return nil, err
	}
	habits, err := h.keeper.open(ctx, KeyHistory, habitNames, 2*habitTime, [counters]time.Duration{habitTime, habitTime, 24 * time.Hour}, c.Rand)
	if err != nil {
		return nil, err
	}
	h.Reputation = &Reputation{table: rep, own: c.Own, nets: c.Networks, now: c.Clock}
	h.Grey = &Greylist{table: grey, delay: c.GreyDelay, least: c.GreyLeast, now: c.Clock, rep: h.Reputation, nets: c.Networks}
	h.Outgoing = newOutgoing(c.Sent, c.Networks, sent, habits, c.Clock)
	h.keeper.run(ctx)
	return h, nil
}

func (c *HistoryConfig) setDefaults() {
	if c.GreyDelay <= 0 {
		c.GreyDelay = DefaultGreyDelay
	}
	switch {
	case c.GreyLeast == 0:
		c.GreyLeast = GreySuspicious
	case c.GreyLeast < 0:
		c.GreyLeast = math.Inf(-1)
	}
	if c.Entries <= 0 {
		c.Entries = DefaultReputationEntries
	}
	if c.HalfLife <= 0 {
		c.HalfLife = DefaultReputationHalfLife
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// Send counts a recipient of one of our people, if it may be sent to. To whom one writes is wanted when he writes back.
func (h *History) Send(s Sending) Allowance {
	a := h.Outgoing.Send(s)
	if account, err := mail.ParseAddress(s.Account); err == nil && a.Reply == nil && s.To.Domain != "" {
		h.Reputation.Learn(Sender{Address: s.To, Proven: true}, account, Wanted)
	}
	return a
}

// Wait returns when all that was kept is read.
func (h *History) Wait(ctx context.Context) error {
	return h.keeper.wait(ctx)
}

// Forget forgets all that is kept under the name of an account, such as one that was removed: what it has sent and whence, what it
// told of senders, and who has tried to write to it. What all accounts together know stays. It is on disk when Forget returns.
func (h *History) Forget(ctx context.Context, account mail.Address) error {
	if err := h.Wait(ctx); err != nil {
		return err
	}
	name, sender := appendAddress(nil, account), []byte(strings.ToLower(account.String())) // as Sending.Account has it
	for t, name := range map[*table][]byte{h.Reputation.table: name, h.Grey.table: name, h.Outgoing.sent: sender, h.Outgoing.habits: sender} {
		t.forget(t.tag(name))
	}
	return h.Save(ctx)
}

// Save writes what is not on disk yet.
func (h *History) Save(ctx context.Context) error {
	if h.keeper.engine == nil {
		return nil
	}
	return h.keeper.save(ctx)
}

// Close writes what is left. The engine stays open.
func (h *History) Close() error { return h.keeper.close() }

var _ Judge = (*Reputation)(nil)

// learn tells the reputation what becomes of a message to an account.
func (t *transaction) learn(to mail.Address, v Verdict) {
	if t.c.Reputation != nil {
		t.c.Reputation.Learn(t.m.sender(), to, v)
	}
}
