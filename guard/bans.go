package guard

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/row"
)

// Limits of bans.
const (
	MaxBans         = 100_000 // over it an automatic ban pushes out the automatic one that ends first
	maxReasonOctets = 500
	sweepInterval   = time.Minute // bans that have ended are forgotten after that
)

// Ban is a network that may not speak to us at all.
type Ban struct {
	Network   netip.Prefix
	Reason    string
	Since     time.Time
	Until     time.Time // zero: for ever
	Automatic bool      // by a threshold, not by a person
}

// Errors of Bans.
var (
	ErrOwnNetwork = errors.New("is or holds a network of our own")
	ErrNoBan      = errors.New("is not banned")
	ErrManyBans   = errors.New("there are too many bans")
)

// Bans knows who is banned. Asking costs no disk read; a ban and its end are on disk when Add and Remove return. Without
// an engine it is a copy of somebody else's, see Replace. It is safe for concurrent use.
//
// Rows: KeyBan, the network as text -> flags, since, until, reason.
type Bans struct {
	engine store.Engine
	own    []netip.Prefix
	now    func() time.Time

	change sync.Mutex // one change at a time

	mu      sync.RWMutex
	all     map[netip.Prefix]Ban
	bits    [2][129]int // how many bans have prefixes of that length: IPv4, IPv6
	swept   time.Time
	watched []chan struct{}
}

// openBans reads them. What cannot be read is left out and said.
func openBans(ctx context.Context, e store.Engine, own []netip.Prefix, now func() time.Time) (b *Bans, bad int, err error) {
	b = &Bans{engine: e, own: own, now: now, all: map[netip.Prefix]Ban{}}
	if e == nil {
		return b, 0, nil
	}
	err = e.View(ctx, func(r store.Reader) error {
		for kv, err := range r.Scan(ctx, []byte{KeyBan}, []byte{KeyBan + 1}, false) {
			if err != nil {
				return err
			}
			x, ok := readBan(kv.Key, kv.Value)
			if !ok {
				bad++
				continue
			}
			b.put(x)
		}
		return nil
	})
	return b, bad, err
}

func banKey(p netip.Prefix) []byte { return append([]byte{KeyBan}, p.String()...) }

func appendBan(b []byte, x Ban) []byte {
	flags := byte(0)
	if x.Automatic {
		flags = 1
	}
	b = append(b, flags)
	until := int64(0)
	if !x.Until.IsZero() {
		until = x.Until.Unix()
	}
	return row.AppendText(binary.AppendVarint(binary.AppendVarint(b, x.Since.Unix()), until), x.Reason)
}

func readBan(key, value []byte) (x Ban, ok bool) {
	r := row.Reader{B: value}
	flags, since, until := r.Byte(), r.Int(), r.Int()
	x.Reason = r.Text()
	if r.Bad || len(r.B) > 0 || flags > 1 || len(key) == 0 {
		return x, false
	}
	p, err := netip.ParsePrefix(string(key[1:]))
	if err != nil || p != p.Masked() {
		return x, false
	}
	x.Network, x.Automatic, x.Since = p, flags == 1, time.Unix(since, 0)
	if until != 0 {
		x.Until = time.Unix(until, 0)
	}
	return x, true
}

func family(p netip.Prefix) int {
	if p.Addr().Is4() {
		return 0
	}
	return 1
}

// put and drop change the memory; b.mu is held, or nobody else knows b.
func (b *Bans) put(x Ban) {
	if _, known := b.all[x.Network]; !known {
		b.bits[family(x.Network)][x.Network.Bits()]++
	}
	b.all[x.Network] = x
}

func (b *Bans) drop(p netip.Prefix) {
	if _, known := b.all[p]; known {
		b.bits[family(p)][p.Bits()]--
		delete(b.all, p)
	}
}

// Banned returns the ban that an address is under, the widest first. Our own networks are under none.
func (b *Bans) Banned(ip netip.Addr) (Ban, bool) {
	ip = ip.Unmap().WithZone("")
	if !ip.IsValid() {
		return Ban{}, false
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	if len(b.all) == 0 || contains(b.own, ip) {
		return Ban{}, false
	}
	f := 1
	if ip.Is4() {
		f = 0
	}
	for n := 0; n <= ip.BitLen(); n++ {
		if b.bits[f][n] == 0 {
			continue
		}
		p, _ := ip.Prefix(n) // n fits
		if x, ok := b.all[p]; ok && x.holds(b.now()) {
			return x, true
		}
	}
	return Ban{}, false
}

func (x Ban) holds(now time.Time) bool { return x.Until.IsZero() || now.Before(x.Until) }

// Add bans a network, or changes its ban. It refuses by ErrOwnNetwork what would shut out ourselves.
func (b *Bans) Add(ctx context.Context, x Ban) error {
	x.Network = netip.PrefixFrom(x.Network.Addr().Unmap(), x.Network.Bits()).Masked()
	if !x.Network.IsValid() {
		return errors.New("guard: ban: not a network")
	}
	if o, ok := b.overlapsOwn(x.Network); ok {
		return fmt.Errorf("%s %w (%s)", x.Network, ErrOwnNetwork, o)
	}
	x.Reason = cleanReason(x.Reason)
	if x.Since.IsZero() {
		x.Since = b.now()
	}
	b.change.Lock()
	defer b.change.Unlock()
	batch := &store.Batch{}
	b.sweep(batch, true)
	if gone, ok := b.makeRoom(x); !ok {
		return ErrManyBans
	} else if gone.IsValid() {
		batch.Ops = append(batch.Ops, store.Delete(banKey(gone)))
		b.mu.Lock()
		b.drop(gone)
		b.mu.Unlock()
	}
	batch.Ops = append(batch.Ops, store.Put(banKey(x.Network), appendBan(nil, x)))
	b.mu.Lock() // at once, whatever becomes of the disk
	b.put(x)
	b.tell()
	b.mu.Unlock()
	return b.commit(ctx, batch)
}

func (b *Bans) commit(ctx context.Context, batch *store.Batch) error {
	if b.engine == nil || len(batch.Ops) == 0 {
		return nil
	}
	if err := store.Commit(context.WithoutCancel(ctx), b.engine, batch); err != nil {
		return fmt.Errorf("guard: keep ban: %w", err)
	}
	return nil
}

// makeRoom finds the automatic ban that has to go for x.
func (b *Bans) makeRoom(x Ban) (gone netip.Prefix, ok bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if _, known := b.all[x.Network]; known || len(b.all) < MaxBans {
		return gone, true
	}
	var ends time.Time
	for p, y := range b.all {
		if y.Automatic && !y.Until.IsZero() && (ends.IsZero() || y.Until.Before(ends)) {
			gone, ends = p, y.Until
		}
	}
	return gone, gone.IsValid()
}

// overlapsOwn names the network of our own that a ban would reach.
func (b *Bans) overlapsOwn(p netip.Prefix) (netip.Prefix, bool) {
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	for _, o := range append(loopback, b.own...) {
		if o.Overlaps(p) {
			return o, true
		}
	}
	return p, false
}

// Remove ends a ban. It gives ErrNoBan if there is none of that very network.
func (b *Bans) Remove(ctx context.Context, p netip.Prefix) error {
	b.change.Lock()
	defer b.change.Unlock()
	p = p.Masked()
	b.mu.Lock()
	x, known := b.all[p]
	b.drop(p)
	b.tell()
	b.mu.Unlock()
	if !known || !x.holds(b.now()) {
		return fmt.Errorf("%s %w", p, ErrNoBan)
	}
	return b.commit(ctx, &store.Batch{Ops: []store.Op{store.Delete(banKey(p))}})
}

// List returns the bans that hold, in the order of networks.
func (b *Bans) List() []Ban {
	b.mu.RLock()
	defer b.mu.RUnlock()
	out := make([]Ban, 0, len(b.all))
	for _, x := range b.all {
		if x.holds(b.now()) {
			out = append(out, x)
		}
	}
	slices.SortFunc(out, func(x, y Ban) int {
		return x.Network.Compare(y.Network)
	})
	return out
}

// Replace takes over the bans of another process.
func (b *Bans) Replace(all []Ban) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all, b.bits = map[netip.Prefix]Ban{}, [2][129]int{}
	for _, x := range all[:min(len(all), MaxBans)] {
		if x.Network.IsValid() {
			b.put(x)
		}
	}
	b.tell()
}

// Watch returns a channel that is written to, once or more, after a change.
func (b *Bans) Watch() <-chan struct{} {
	c := make(chan struct{}, 1)
	b.mu.Lock()
	b.watched = append(b.watched, c)
	b.mu.Unlock()
	return c
}

// tell wakes those who watch.
func (b *Bans) tell() {
	for _, c := range b.watched {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// sweep forgets bans that have ended, now and then.
func (b *Bans) sweep(batch *store.Batch, careful bool) {
	now := b.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if careful && now.Sub(b.swept) < sweepInterval {
		return
	}
	b.swept = now
	for p, x := range b.all {
		if !x.holds(now) {
			batch.Ops = append(batch.Ops, store.Delete(banKey(p)))
			b.drop(p)
		}
	}
}

// forget sweeps, and keeps that.
func (b *Bans) forget(ctx context.Context) error {
	b.change.Lock()
	defer b.change.Unlock()
	batch := &store.Batch{Deletes: true}
	b.sweep(batch, false)
	return b.commit(ctx, batch)
}

// cleanReason makes one line of what somebody wrote.
func cleanReason(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	return strings.TrimSpace(strings.ToValidUTF8(s[:min(len(s), maxReasonOctets)], ""))
}
