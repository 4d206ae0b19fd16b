package accounts

import (
	"context"
	"crypto/rand"
	"net/netip"
	"strings"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store"
)

// A suffix makes an address of an account, such as alice+x7k2m9qp@example.org, at which one sender may write for a time: for
// the code or the receipt that comes from an address nobody knows before. Whoever writes to it first is that sender, by his
// domain; others are judged as ever, and so is everybody once the time is over.

const (
	tagSuffix        = "t/"
	suffixLetters    = "abcdefghijkmnpqrstuvwxyz23456789" // 32; no l, o, 0, 1
	suffixOctets     = 10                                 // 50 bits: not to be guessed
	MaxSuffixes      = 100                                // of one account at a time
	MaxSuffixTime    = 30 * 24 * time.Hour
	DefaultSuffixFor = time.Hour
)

// Suffix is one.
type Suffix struct {
	Address mail.Address
	Until   time.Time
	Domain  string // of the sender who wrote first; "" nobody yet

	proven  bool
	network netip.Prefix
}

func suffixKey(id uint64, token string) []byte { return append(keyID(tagSuffix, id), token...) }

func encodeSuffix(s *Suffix) []byte {
	b := appendString(appendTime([]byte{1}, s.Until), s.Domain)
	flag := byte(0)
	if s.proven {
		flag = 1
	}
	network := ""
	if s.network.IsValid() {
		network = s.network.String()
	}
	return appendString(append(b, flag), network)
}

func decodeSuffix(row []byte) (s Suffix, err error) {
	d := decoder{b: row}
	d.version()
	s.Until, s.Domain = d.time(), d.string()
	s.proven = d.byte() == 1
	if network := d.string(); network != "" {
		s.network, err = netip.ParsePrefix(network)
		d.fail = d.fail || err != nil
	}
	return s, d.end("suffix")
}

// AddSuffix makes an address at which one sender may write for a time; 0 is DefaultSuffixFor.
func (a *Accounts) AddSuffix(ctx context.Context, address string, d time.Duration) (s Suffix, err error) {
	acc, err := a.account(ctx, address)
	if err != nil {
		return s, err
	}
	if d == 0 {
		d = DefaultSuffixFor
	}
	if d < 0 || d > MaxSuffixTime {
		return s, refuse(ErrInvalid, "a suffix can be good for %s at most", MaxSuffixTime)
	}
	separator, err := a.separatorFor(ctx, acc.Address.Domain)
	if err != nil {
		return s, err
	}
	a.contacts.latch.Lock()
	defer a.contacts.latch.Unlock()
	b := &store.Batch{}
	live, err := a.endSuffixes(ctx, acc.ID, b)
	if err != nil {
		return s, err
	}
	if live >= MaxSuffixes {
		return s, refuse(ErrInvalid, "%s has %d suffixes, which is the limit: the first ends within %s", acc.Address, live, MaxSuffixTime)
	}
	var random [suffixOctets]byte
	rand.Read(random[:])
	for i := range random {
		random[i] = suffixLetters[random[i]%32]
	}
	token := string(random[:])
	s = Suffix{Address: mail.Address{Local: acc.Address.Local + separator + token, Domain: acc.Address.Domain}, Until: a.c.Clock().Add(d).Truncate(time.Millisecond)}
	if len(s.Address.Local) > mail.MaxLocalOctets {
		return s, refuse(ErrInvalid, "%s is too long to have a suffix", acc.Address)
	}
	b.Ops = append(b.Ops, store.Put(suffixKey(acc.ID, token), encodeSuffix(&s)))
	return s, a.commitContacts(ctx, acc.ID, b)
}

// separatorFor is what stands before a suffix in a domain.
func (a *Accounts) separatorFor(ctx context.Context, domain string) (string, error) {
	d, err := a.Domain(ctx, domain)
	if err != nil {
		return "", err
	}
	all := a.separators(&d)
	switch {
	case all == "":
		return "", refuse(ErrInvalid, "the domain %s has no separators, so its addresses have no suffixes: see `samotop domain set`", domain)
	case strings.Contains(all, "+"):
		return "+", nil
	}
	return all[:1], nil
}

// endSuffixes removes those that have ended, and counts the others.
func (a *Accounts) endSuffixes(ctx context.Context, id uint64, b *store.Batch) (live int, err error) {
	now := a.c.Clock()
	err = a.scan(ctx, keyID(tagSuffix, id), func(kv store.KV) error {
		s, err := decodeSuffix(kv.Value)
		if err != nil || !now.Before(s.Until) {
			b.Ops = append(b.Ops, store.Delete(append([]byte(nil), kv.Key...)))
		} else {
			live++
		}
		return nil
	})
	return live, err
}

// suffixOf is what could be a suffix at the end of an address.
func suffixOf(via mail.Address) string {
	local := strings.ToLower(via.Local)
	if len(local) <= suffixOctets+1 {
		return ""
	}
	token := local[len(local)-suffixOctets:]
	for i := range token {
		if strings.IndexByte(suffixLetters, token[i]) < 0 {
			return ""
		}
	}
	if c := local[len(local)-suffixOctets-1]; c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
		return ""
	}
	return token
}

// bySuffix lets a sender in who writes to a suffix: Refuse says that it has nothing to say about him.
func (a *Accounts) bySuffix(ctx context.Context, id uint64, q Question) (Decision, error) {
	token := suffixOf(q.Via)
	domain := strings.ToLower(q.Sender.Domain)
	if token == "" || domain == "" {
		return Refuse, nil
	}
	key := suffixKey(id, token)
	row, err := a.get(ctx, key)
	if err != nil || row == nil {
		return Refuse, err
	}
	a.contacts.latch.Lock()
	defer a.contacts.latch.Unlock()
	if row, err = a.get(ctx, key); err != nil || row == nil {
		return Refuse, err
	}
	s, err := decodeSuffix(row)
	switch {
	case err != nil:
		return Refuse, err
	case !a.c.Clock().Before(s.Until):
		return Refuse, nil
	case s.Domain == "":
		s.Domain, s.proven = domain, q.Proven
		if !q.Proven {
			s.network = a.c.Networks.Of(q.IP)
		}
		return Known, a.commitContacts(ctx, id, &store.Batch{Ops: []store.Op{store.Put(key, encodeSuffix(&s))}})
	case s.Domain != domain:
		return Refuse, nil
	case q.Proven, !s.proven && s.network.IsValid() && s.network.Contains(q.IP.Unmap()):
		return Known, nil
	}
	return Prove, nil
}
