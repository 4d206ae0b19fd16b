package guard

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store"
)

// Limits of Abuse; in its Config zero means these, and below zero no limit. A network, which is an IPv4 /24 or an IPv6 /48,
// may do networkFactor times as much as an address, which is an IPv4 address or an IPv6 /64.
const (
	DefaultConnections       = 3000 // of an address in a minute
	DefaultMessages          = -1   // of an address in a minute: a large provider sends as much as it has
	DefaultUnknownRecipients = 50   // of an address in an hour, then it is banned if that is more than half of all it asked for
	DefaultWrongPasswords    = 50   // of an address in an hour, then it is banned
	DefaultBan               = time.Hour

	MaxBanTime    = 7 * 24 * time.Hour // of an automatic ban, which doubles with each one of the last weeks
	maxAddresses  = 64 << 10           // addresses and networks whose doings are counted, each kind; the oldest are forgotten
	networkFactor = 4

	tarpitFree  = 3                // unknown recipients of an address that cost it no time
	tarpitStep  = time.Second      // the first delay; each further one costs as much again
	tarpitMost  = 15 * time.Second // of one answer
	MaxTarpits  = 100              // peers that are kept waiting at the same time; more are not
	bannedTimes = 28 * 24 * time.Hour
)

// Deed is something that too much of is abuse.
type Deed uint8

const (
	Connection Deed = iota
	MessageBegun
	UnknownRecipient
	KnownRecipient // speaks for a peer
	WrongPassword
	deeds
)

var deedNames = [deeds]string{"connections", "messages", "unknown recipients", "known recipients", "wrong passwords"}

func (d Deed) String() string { return deedNames[d] }

// AbuseConfig of OpenAbuse. The zero value is usable.
type AbuseConfig struct {
	Engine store.Engine   // keeps bans; nil: they are somebody else's, see Bans.Replace
	Own    []netip.Prefix // networks that are never banned nor limited, beside loopback

	Networks mail.Networks // how wide the networks are that are counted as a whole
	// Zero: the default; below zero: no limit.
	Connections, Messages, UnknownRecipients, WrongPasswords int64
	Ban                                                      time.Duration // the first automatic one; below zero: none

	// Forward hears of each deed instead, where bans are made elsewhere; nil: they are made here. It must be quick.
	Forward func(d Deed, ip netip.Addr)

	Clock   func() time.Time // nil: time.Now
	Rand    io.Reader        // nil: crypto/rand
	Journal mail.Journal     // is told of automatic bans; nil: each is a line of Log
	Log     *slog.Logger     // nil: none
}

// Abuse counts what peers do, in a fixed amount of memory, and bans those who do too much of it. It is safe for concurrent
// use.
type Abuse struct {
	*Bans
	c      AbuseConfig
	rates  *table // by minutes: connections, messages
	guilt  *table // by hours: unknown recipients, known ones, wrong passwords; by weeks: bans
	limits [deeds]float32
	tarpit chan struct{}
	wg     sync.WaitGroup
	banned chan Ban
	stop   context.CancelFunc
}

// almost is what a count may have faded by and still be that count.
const almost = 0.5

// Places of the counters.
const (
	rateConnections, rateMessages      = 0, 1
	guiltUnknown, guiltKnown           = 0, 1
	guiltPasswords, guiltBans          = 2, 3
	kindAddress                   byte = 'a'
	kindNetwork                   byte = 'n'
)

// OpenAbuse reads the bans. The context bounds only the opening.
func OpenAbuse(ctx context.Context, c AbuseConfig) (*Abuse, error) {
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Journal == nil {
		c.Journal = mail.LogEvents(c.Log, nil)
	}
	if c.Ban == 0 {
		c.Ban = DefaultBan
	}
	var key [16]byte
	if _, err := io.ReadFull(c.Rand, key[:]); err != nil {
		return nil, fmt.Errorf("guard: open abuse: %w", err)
	}
	bans, bad, err := openBans(ctx, c.Engine, c.Own, c.Clock)
	if err != nil {
		return nil, fmt.Errorf("guard: read bans: %w", err)
	}
	if bad > 0 {
		c.Log.Error("bans that cannot be read do not hold; verify the database", "bans", bad)
	}
	a := &Abuse{Bans: bans, c: c, tarpit: make(chan struct{}, MaxTarpits), banned: make(chan Ban, 1000),
		rates: newTable(maxAddresses, key, time.Hour, [counters]time.Duration{time.Minute, time.Minute}),
		guilt: newTable(maxAddresses, key, bannedTimes, [counters]time.Duration{time.Hour, time.Hour, time.Hour, bannedTimes / 4})}
	a.limits = [deeds]float32{Connection: limit(c.Connections, DefaultConnections), MessageBegun: limit(c.Messages, DefaultMessages),
		UnknownRecipient: limit(c.UnknownRecipients, DefaultUnknownRecipients), WrongPassword: limit(c.WrongPasswords, DefaultWrongPasswords)}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	a.stop = stop
	a.wg.Go(func() { a.run(run) })
	return a, nil
}

func limit(v, def int64) float32 {
	if v == 0 {
		v = def
	}
	return float32(v)
}

// Close ends what goes on in the background. The engine stays open.
func (a *Abuse) Close() error {
	a.stop()
	a.wg.Wait()
	return nil
}

// run keeps automatic bans on disk, and forgets those that have ended.
func (a *Abuse) run(ctx context.Context) {
	tick := time.NewTicker(sweepInterval)
	defer tick.Stop()
	for {
		var err error
		select {
		case x := <-a.banned:
			err = a.Add(ctx, x)
		case <-tick.C:
			err = a.forget(ctx)
		case <-ctx.Done():
			for range len(a.banned) {
				if err := a.Add(context.WithoutCancel(ctx), <-a.banned); err != nil {
					a.c.Log.Error("ban not kept", "err", err)
				}
			}
			return
		}
		if err != nil {
			a.c.Log.Error("bans are not kept", "err", err)
		}
	}
}

// addressOf is what counts as one address: of IPv6 a /64, in which a machine may take any.
func addressOf(ip netip.Addr) netip.Prefix { return mail.Networks{IPv4Bits: 32, IPv6Bits: 64}.Of(ip) }

func (t *table) prefix(kind byte, p netip.Prefix) uint64 {
	ip := p.Addr().As16()
	return t.name(kind, ip[:])
}

// free reports whether an address is ours, or no address at all.
func (a *Abuse) free(ip netip.Addr) bool { return !ip.IsValid() || contains(a.c.Own, ip) }

// Did counts a deed of an address. It reports whether there are too many of them for now: then a connection or message is
// put off. Too much guessing bans.
func (a *Abuse) Did(ctx context.Context, d Deed, ip netip.Addr) (tooMany bool) {
	if a.free(ip) {
		return false
	}
	switch d {
	case Connection, MessageBegun:
		return a.hurries(d, ip)
	}
	if d != KnownRecipient { // docs/guard.md promises this line to fail2ban
		a.c.Log.LogAttrs(ctx, slog.LevelInfo, "abuse", slog.String("ip", ip.Unmap().String()), slog.String("deed", d.String()))
	}
	if a.c.Forward != nil {
		a.c.Forward(d, ip)
		return false
	}
	a.guess(ctx, d, ip)
	return false
}

// hurries counts what is limited by the minute.
func (a *Abuse) hurries(d Deed, ip netip.Addr) bool {
	delta, at := values{}, rateConnections
	if d == MessageBegun {
		at = rateMessages
	}
	delta[at] = 1
	now, most := a.c.Clock(), a.limits[d]
	one := a.rates.add(a.rates.prefix(kindAddress, addressOf(ip)), now, delta)
	all := a.rates.add(a.rates.prefix(kindNetwork, a.c.Networks.Of(ip)), now, delta)
	return most > 0 && (one.values[at] > most || all.values[at] > networkFactor*most)
}

// guess counts what is guessed, and bans who guesses too much.
func (a *Abuse) guess(ctx context.Context, d Deed, ip netip.Addr) {
	delta, at := values{}, guiltPasswords
	switch d {
	case UnknownRecipient:
		at = guiltUnknown
	case KnownRecipient:
		at = guiltKnown
	}
	delta[at] = 1
	now, most := a.c.Clock(), a.limits[d]
	for _, x := range [2]struct {
		kind byte
		p    netip.Prefix
		most float32
	}{{kindAddress, addressOf(ip), most}, {kindNetwork, a.c.Networks.Of(ip), networkFactor * most}} {
		h := a.guilt.prefix(x.kind, x.p)
		v := a.guilt.add(h, now, delta).values
		if most <= 0 || v[at]+almost < x.most || a.c.Ban < 0 || d == UnknownRecipient && v[guiltUnknown] < v[guiltKnown] {
			continue
		}
		a.guilt.add(h, now, values{guiltUnknown: -v[guiltUnknown], guiltPasswords: -v[guiltPasswords], guiltBans: 1})
		a.ban(ctx, ip, x.p, v, d, now)
	}
}

// ban bans a network for a while, which doubles with each time. It holds at once, and is on disk soon.
func (a *Abuse) ban(ctx context.Context, ip netip.Addr, p netip.Prefix, v values, d Deed, now time.Time) {
	length := a.c.Ban
	for range int(v[guiltBans] + almost) {
		length = min(2*length, MaxBanTime)
	}
	x := Ban{Network: p, Reason: fmt.Sprintf("%.0f %s within an hour", v[guiltOf(d)], d), Since: now, Until: now.Add(length), Automatic: true}
	if _, own := a.overlapsOwn(p); own {
		return // an address beside ours: it is only slowed
	}
	a.Bans.mu.Lock()
	old, known := a.all[p]
	if len(a.all) < MaxBans && (!known || !old.holds(now)) {
		a.put(x)
		a.tell()
	}
	a.Bans.mu.Unlock()
	if known && old.holds(now) {
		return // of a person, or a moment ago
	}
	a.c.Log.LogAttrs(ctx, slog.LevelWarn, "banned", slog.String("ip", ip.String()), slog.String("network", p.String()), slog.String("reason", x.Reason), slog.Time("until", x.Until))
	a.c.Journal.Record(ctx, mail.Event{Time: now, Room: "guard", Kind: "banned", Peer: p.String(), Text: x.Reason + ", so until " + x.Until.UTC().Format(time.RFC3339)})
	select {
	case a.banned <- x:
	default: // it holds, but not over a restart
	}
}

func guiltOf(d Deed) int {
	if d == UnknownRecipient {
		return guiltUnknown
	}
	return guiltPasswords
}

// Tarpit keeps a peer waiting who has asked for many recipients that are not there. It returns when that is over, or ctx
// ends.
func (a *Abuse) Tarpit(ctx context.Context, ip netip.Addr) {
	if a.free(ip) {
		return
	}
	v := a.guilt.get(a.guilt.prefix(kindAddress, addressOf(ip)), a.c.Clock()).values
	times := int(v[guiltUnknown]+almost) - tarpitFree
	if times <= 0 || v[guiltUnknown] < v[guiltKnown] {
		return
	}
	select {
	case a.tarpit <- struct{}{}:
	default:
		return
	}
	defer func() { <-a.tarpit }()
	wait := time.NewTimer(min(time.Duration(times)*tarpitStep, tarpitMost))
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ctx.Done():
	}
}
