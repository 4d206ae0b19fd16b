package accounts

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store"
)

// Limits of the lists of senders who are allowed and denied.
const (
	MaxListed           = 100_000 // entries, all lists together; they are held in memory
	MaxListedOfAccount  = 10_000
	maxListedNoteOctets = 500
)

// tagListed is the tag of e/<id><entry>, an entry of an account's list; id 0 is the list for all.
const tagListed = "e/"

func listedKey(id uint64, entry string) []byte { return append(keyID(tagListed, id), entry...) }

// ListedSender is an entry of a list.
type ListedSender struct {
	Account string // canonical address; "" for all accounts
	// Entry is user@example.org, @example.org, @.example.org for all domains below that one, or a network.
	Entry string
	Allow bool // else: deny
	Since time.Time
	Note  string
}

// ListedQuestion is what the lists are asked.
type ListedQuestion struct {
	To   mail.Address // canonical, of an account
	From mail.Address // reverse-path
	IP   netip.Addr   // may be zero
}

// Listed is what they say.
type Listed struct {
	Found  bool
	Allow  bool
	Entry  string
	ByName bool // the entry is an address or domain, not a network
}

// listed is all lists in memory.
type listed struct {
	mu    sync.RWMutex
	of    map[uint64]*listedOf
	count int
	latch sync.Mutex // one change at a time
}

// listedOf is one list.
type listedOf struct {
	names map[string]bool // whether it allows
	nets  map[netip.Prefix]bool
	bits  [2][129]int // how many networks have that length: IPv4, IPv6
}

func (l *listedOf) len() int { return len(l.names) + len(l.nets) }

func (l *listedOf) put(entry string, allow bool) {
	p, err := netip.ParsePrefix(entry)
	if err != nil {
		l.names[entry] = allow
		return
	}
	if _, known := l.nets[p]; !known {
		l.bits[ipFamily(p.Addr())][p.Bits()]++
	}
	l.nets[p] = allow
}

func (l *listedOf) drop(entry string) {
	delete(l.names, entry)
	if p, err := netip.ParsePrefix(entry); err == nil {
		if _, known := l.nets[p]; known {
			l.bits[ipFamily(p.Addr())][p.Bits()]--
			delete(l.nets, p)
		}
	}
}

func ipFamily(ip netip.Addr) int {
	if ip.Is4() {
		return 0
	}
	return 1
}

// find looks for the closest entry: the address, its domain, the domains above, the narrowest network.
func (l *listedOf) find(sender string, ip netip.Addr) (r Listed) {
	if len(l.names) > 0 && sender != "" {
		if allow, ok := l.names[sender]; ok {
			return Listed{true, allow, sender, true}
		}
		domain := sender[strings.LastIndexByte(sender, '@')+1:]
		if allow, ok := l.names["@"+domain]; ok {
			return Listed{true, allow, "@" + domain, true}
		}
		for i := strings.IndexByte(domain, '.'); i >= 0; i = strings.IndexByte(domain, '.') {
			if allow, ok := l.names["@"+domain[i:]]; ok {
				return Listed{true, allow, "@" + domain[i:], true}
			}
			domain = domain[i+1:]
		}
	}
	ip = ip.Unmap().WithZone("")
	if len(l.nets) == 0 || !ip.IsValid() {
		return r
	}
	bits := &l.bits[ipFamily(ip)]
	for n := ip.BitLen(); n >= 0; n-- {
		if bits[n] == 0 {
			continue
		}
		p, _ := ip.Prefix(n) // n fits
		if allow, ok := l.nets[p]; ok {
			return Listed{true, allow, p.String(), false}
		}
	}
	return r
}

// Listed says whether a sender is allowed or denied for an account: by its own list, or else by the one for all. In a list the
// closest entry counts.
func (a *Accounts) Listed(ctx context.Context, q ListedQuestion) (r Listed, err error) {
	a.listed.mu.RLock()
	some := len(a.listed.of) > 0
	a.listed.mu.RUnlock()
	if !some {
		return r, nil
	}
	id, err := a.ownID(ctx, q.To)
	if err != nil {
		return r, err
	}
	sender := ""
	if !q.From.IsNull() {
		sender = NormalSender(q.From, q.To)
	}
	a.listed.mu.RLock()
	defer a.listed.mu.RUnlock()
	for _, of := range []uint64{id, 0} {
		if l := a.listed.of[of]; l != nil && !r.Found {
			r = l.find(sender, q.IP)
		}
	}
	return r, nil
}

// AnyListed says whether there is any list that Listed would look into for mail to an address: most accounts have none, and who
// keeps that (until Changes tells of another) need not ask for every sender.
func (a *Accounts) AnyListed(ctx context.Context, to mail.Address) (bool, error) {
	a.listed.mu.RLock()
	some, all := len(a.listed.of) > 0, a.listed.of[0] != nil
	a.listed.mu.RUnlock()
	if !some || all {
		return some, nil
	}
	id, err := a.ownID(ctx, to)
	if err != nil {
		return false, err
	}
	a.listed.mu.RLock()
	defer a.listed.mu.RUnlock()
	return a.listed.of[id] != nil, nil
}

// readListed reads all lists.
func (a *Accounts) readListed(ctx context.Context) error {
	a.listed.of = map[uint64]*listedOf{}
	return a.scan(ctx, []byte(tagListed), func(kv store.KV) error {
		id, x, err := decodeListed(kv)
		if err == nil {
			a.listed.put(id, x.Entry, x.Allow)
		}
		return err
	})
}

func (l *listed) put(id uint64, entry string, allow bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	of := l.of[id]
	if of == nil {
		of = &listedOf{names: map[string]bool{}, nets: map[netip.Prefix]bool{}}
		l.of[id] = of
	}
	before := of.len()
	of.put(entry, allow)
	l.count += of.len() - before
}

func (l *listed) drop(id uint64, entry string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if of := l.of[id]; of != nil {
		before := of.len()
		of.drop(entry)
		if l.count += of.len() - before; of.len() == 0 {
			delete(l.of, id)
		}
	}
}

// dropAll forgets the list of an account that is gone.
func (l *listed) dropAll(id uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if of := l.of[id]; of != nil {
		l.count -= of.len()
		delete(l.of, id)
	}
}

func encodeListed(x ListedSender) []byte {
	b := []byte{1, 0}
	if x.Allow {
		b[1] = 1
	}
	return appendString(appendTime(b, x.Since), x.Note)
}

func decodeListed(kv store.KV) (id uint64, x ListedSender, err error) {
	if len(kv.Key) <= len(tagListed)+8 {
		return 0, x, fmt.Errorf("accounts: key of a listed sender: %w", store.ErrCorrupt)
	}
	id = binary.BigEndian.Uint64(kv.Key[len(tagListed):])
	x.Entry = string(kv.Key[len(tagListed)+8:])
	d := decoder{b: kv.Value}
	d.version()
	x.Allow = d.byte() == 1
	x.Since, x.Note = d.time(), d.string()
	return id, x, d.end("listed sender " + x.Entry)
}

// ParseListed brings an entry to its normal form: user@example.org, @example.org, @.example.org, 192.0.2.1, 192.0.2.0/24.
func ParseListed(s string) (string, error) {
	s = strings.TrimSpace(s)
	if below, ok := strings.CutPrefix(s, "@."); ok {
		d, ok := CanonicalDomain(below)
		if !ok || strings.HasPrefix(d, "[") {
			return "", refuse(ErrInvalid, "%q is not a domain: write @.example.org for all below it", s)
		}
		return "@." + d, nil
	}
	if strings.Contains(s, "@") {
		return parseContact(s)
	}
	p, err := netip.ParsePrefix(s)
	if ip, aerr := netip.ParseAddr(strings.Trim(s, "[]")); aerr == nil && ip.Zone() == "" {
		ip = ip.Unmap()
		p, err = ip.Prefix(ip.BitLen())
	}
	if err != nil || p.Addr().Is4In6() {
		return "", refuse(ErrInvalid, "%q is no sender: write user@example.org, @example.org, @.example.org for all domains below it, 192.0.2.1 or 192.0.2.0/24", s)
	}
	return p.Masked().String(), nil
}

// listOf finds the list of an account; "" is the one for all.
func (a *Accounts) listOf(ctx context.Context, account string) (id uint64, name string, err error) {
	if account == "" {
		return 0, "", nil
	}
	acc, err := a.account(ctx, account)
	return acc.ID, acc.Address.String(), err
}

// ListSender puts a sender into a list, or changes its entry. Account "" is the list for all.
func (a *Accounts) ListSender(ctx context.Context, x ListedSender) (ListedSender, error) {
	entry, err := ParseListed(x.Entry)
	if err != nil {
		return x, err
	}
	id, name, err := a.listOf(ctx, x.Account)
	if err != nil {
		return x, err
	}
	x.Account, x.Entry, x.Since = name, entry, a.c.Clock().UTC()
	if x.Note = strings.Join(strings.Fields(x.Note), " "); len(x.Note) > maxListedNoteOctets {
		return x, refuse(ErrInvalid, "the note is longer than %d octets", maxListedNoteOctets)
	}
	a.listed.latch.Lock()
	defer a.listed.latch.Unlock()
	if err := a.listed.room(id, entry); err != nil {
		return x, err
	}
	if err := a.commitListed(ctx, id, store.Put(listedKey(id, entry), encodeListed(x))); err != nil {
		return x, err
	}
	a.listed.put(id, entry, x.Allow)
	return x, nil
}

// room refuses one entry too many.
func (l *listed) room(id uint64, entry string) error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	of := l.of[id]
	if of != nil {
		_, name := of.names[entry]
		p, _ := netip.ParsePrefix(entry)
		if _, network := of.nets[p]; name || network {
			return nil
		}
	}
	switch {
	case l.count >= MaxListed:
		return refuse(ErrInvalid, "the lists have %d entries, and that is the limit: remove some, or list domains and networks instead", l.count)
	case id != 0 && of != nil && of.len() >= MaxListedOfAccount:
		return refuse(ErrInvalid, "the list has %d entries, and that is the limit: remove some, or list domains and networks instead", of.len())
	}
	return nil
}

// UnlistSender takes a sender out of a list.
func (a *Accounts) UnlistSender(ctx context.Context, account, entry string) error {
	normal, err := ParseListed(entry)
	if err != nil {
		return err
	}
	id, name, err := a.listOf(ctx, account)
	if err != nil {
		return err
	}
	a.listed.latch.Lock()
	defer a.listed.latch.Unlock()
	row, err := a.get(ctx, listedKey(id, normal))
	if err != nil {
		return err
	}
	if row == nil {
		list := "the list for all accounts"
		if name != "" {
			list = "the list of " + name
		}
		return refuse(ErrUnknown, "%s is not in %s: see \"samotop sender list\"", normal, list)
	}
	if err := a.commitListed(ctx, id, store.Delete(listedKey(id, normal))); err != nil {
		return err
	}
	a.listed.drop(id, normal)
	return nil
}

// commitListed changes the list of an account that is still there. The latch is held.
func (a *Accounts) commitListed(ctx context.Context, id uint64, op store.Op) error {
	b := &store.Batch{Ops: []store.Op{op}}
	if id != 0 {
		return a.commitContacts(ctx, id, b)
	}
	return store.Commit(context.WithoutCancel(ctx), a.c.Engine, b)
}

// ListedSenders yields the entries of a list; of all lists with every.
func (a *Accounts) ListedSenders(ctx context.Context, account string, every bool) iter.Seq2[ListedSender, error] {
	return func(yield func(ListedSender, error) bool) {
		id, _, err := a.listOf(ctx, account)
		if err != nil {
			yield(ListedSender{}, err)
			return
		}
		lo, hi := keyID(tagListed, id), keyID(tagListed, id+1)
		if every {
			lo, hi = []byte(tagListed), after([]byte(tagListed))
		}
		names := map[uint64]string{0: ""}
		err = a.scanRange(ctx, lo, hi, func(kv store.KV) error {
			of, x, err := decodeListed(kv)
			if err != nil {
				return err
			}
			if _, known := names[of]; !known {
				acc, err := a.AccountByID(ctx, of)
				if err != nil {
					return err
				}
				names[of] = acc.Address.String()
			}
			x.Account = names[of]
			if !yield(x, nil) {
				return errEnough
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			yield(ListedSender{}, err)
		}
	}
}

// verifyListed looks for lists of nobody.
func (v *verifier) listed(ctx context.Context, kv store.KV) error {
	id, x, err := decodeListed(kv)
	if err != nil {
		return v.fault("%v", err)
	}
	if entry, err := ParseListed(x.Entry); err != nil || entry != x.Entry {
		return v.fault("listed sender %q is not in its normal form", x.Entry)
	}
	if id == 0 || id == v.listing {
		return nil
	}
	row, err := v.a.get(ctx, keyID(tagAccount, id))
	if err != nil {
		return err
	}
	if row == nil {
		return v.fault("listed sender %s is of account %d, which is not there", x.Entry, id)
	}
	v.listing = id
	return nil
}
