// Package srs is the Sender Rewriting Scheme: a message that is sent on to another host leaves with a reverse-path of our
// own, so that SPF (RFC 7208) does not take us for a forger, and a report to that path finds its way back.
//
//	r := &srs.Rewriter{Keys: [][]byte{key}}
//	path, err := r.Forward(sender, "our.example")  // SRS0=hash=time=far.example=bob@our.example
//	sender, err = r.Reverse(path)                  // bob@far.example
//
// The forms are those of http://www.openspf.org/srs.pdf: SRS0 holds the sender; SRS1, made of what another host has
// rewritten already, holds that host and its SRS0, so that a path does not grow with each hop.
//
// Promises. A Rewriter is safe for concurrent use and keeps nothing. Reverse gives back only what Forward of the same keys
// made, not older than MaxAge: nobody can make a path that leads where he likes. Neither depends on case, which other hosts
// may change.
package srs

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"strings"
	"time"

	"github.com/samotop/samotop/mail"
)

// Rewriter rewrites reverse-paths, and undoes it.
type Rewriter struct {
	// Keys are secrets of 16 octets at least. The first makes hashes; all verify them, so that a key can be replaced.
	Keys       [][]byte
	HashOctets int              // letters and digits of a hash, 5 bits each; 0: 8; 4 to 32
	MaxAge     time.Duration    // of an SRS0 path that is undone, in whole days; 0: 21 days; at most 1000 days
	Clock      func() time.Time // nil: time.Now
}

// Errors of Forward and Reverse.
var (
	ErrNotSRS  = errors.New("srs: not a rewritten reverse-path")
	ErrHash    = errors.New("srs: the hash is wrong: this path was not made here, or was changed")
	ErrExpired = errors.New("srs: the path is too old")
	ErrAddress = errors.New("srs: this address cannot be rewritten")
	ErrKey     = errors.New("srs: there is no key of 16 octets or more")
)

const (
	defaultHashOctets = 8
	minHashOctets     = 4
	maxHashOctets     = 32
	minKeyOctets      = 16
	defaultMaxAge     = 21 * day
	maxMaxAge         = 1000 * day
	day               = 24 * time.Hour
	slots             = 1024 // days that two letters tell apart
)

// letters are those of base 32 (RFC 4648 section 6), which survive a change of case.
const letters = "abcdefghijklmnopqrstuvwxyz234567"

var alphabet = base32.NewEncoding(letters).WithPadding(base32.NoPadding)

// Is reports whether an address looks like a rewritten one; only Reverse knows whether it is.
func Is(a mail.Address) bool { return kind(a.Local) >= 0 }

// kind is 0 for SRS0, 1 for SRS1, -1 for anything else. After the tag comes one of the separators = + -.
func kind(local string) int {
	if len(local) < 6 || !strings.EqualFold(local[:3], "srs") || !strings.ContainsRune("=+-", rune(local[4])) {
		return -1
	}
	switch local[3] {
	case '0':
		return 0
	case '1':
		return 1
	}
	return -1
}

// Forward returns the reverse-path, in domain, under which a message of sender is sent on. The null path and one without a
// domain give ErrAddress. The local part may be longer than the 64 octets of RFC 5321 section 4.5.3.1.1, if that of the
// sender is long.
func (r *Rewriter) Forward(sender mail.Address, domain string) (mail.Address, error) {
	key, err := r.key()
	if err != nil {
		return mail.Address{}, err
	}
	if sender.Domain == "" || sender.Local == "" || strings.ContainsRune(sender.Domain, '=') {
		return mail.Address{}, ErrAddress
	}
	if host, rest, ok := foreign(sender); ok {
		hash := r.hash(key, "1", host, rest)
		return mail.Address{Local: "SRS1=" + hash + "=" + host + "=" + rest, Domain: domain}, nil
	}
	stamp := encodeDay(r.today())
	hash := r.hash(key, "0", stamp, sender.Domain, sender.Local)
	return mail.Address{Local: "SRS0=" + hash + "=" + stamp + "=" + sender.Domain + "=" + sender.Local, Domain: domain}, nil
}

// foreign takes apart what another host has rewritten: the host that made the SRS0, and what follows its tag, with the
// separator.
func foreign(sender mail.Address) (host, rest string, ok bool) {
	switch kind(sender.Local) {
	case 0:
		return sender.Domain, sender.Local[4:], true
	case 1:
		_, host, rest, ok = parseGuarded(sender.Local)
		return host, rest, ok
	}
	return "", "", false
}

// parseGuarded reads SRS1=hash=host=rest, where rest begins with the separator of the SRS0.
func parseGuarded(local string) (hash, host, rest string, ok bool) {
	hash, tail, ok1 := strings.Cut(local[5:], "=")
	host, rest, ok2 := strings.Cut(tail, "=")
	if !ok1 || !ok2 || host == "" || len(rest) < 2 || !strings.ContainsRune("=+-", rune(rest[0])) {
		return "", "", "", false
	}
	return hash, host, rest, true
}

// Reverse returns the address that a report to a rewritten path goes to: the sender, or the host that rewrote it before us.
// ErrNotSRS, ErrHash, ErrExpired.
func (r *Rewriter) Reverse(a mail.Address) (mail.Address, error) {
	if _, err := r.key(); err != nil {
		return mail.Address{}, err
	}
	switch kind(a.Local) {
	case 0:
		return r.reverseSender(a.Local)
	case 1:
		hash, host, rest, ok := parseGuarded(a.Local)
		if !ok {
			return mail.Address{}, ErrNotSRS
		}
		if !r.verify(hash, "1", host, rest) {
			return mail.Address{}, ErrHash
		}
		return legal(mail.Address{Local: "SRS0" + rest, Domain: host})
	}
	return mail.Address{}, ErrNotSRS
}

// reverseSender reads SRS0=hash=time=domain=local.
func (r *Rewriter) reverseSender(local string) (mail.Address, error) {
	parts := strings.SplitN(local[5:], "=", 4)
	if len(parts) != 4 || parts[2] == "" || parts[3] == "" {
		return mail.Address{}, ErrNotSRS
	}
	made, ok := decodeDay(parts[1])
	if !ok {
		return mail.Address{}, ErrNotSRS
	}
	if !r.verify(parts[0], "0", parts[1], parts[2], parts[3]) {
		return mail.Address{}, ErrHash
	}
	age := (r.today() - made + slots) % slots
	if age > r.days() && age != slots-1 { // made tomorrow: the clock was set back, or another machine's is ahead
		return mail.Address{}, ErrExpired
	}
	return legal(mail.Address{Local: parts[3], Domain: parts[2]})
}

// legal makes sure that what was hidden in a local part can be an address.
func legal(a mail.Address) (mail.Address, error) {
	if back, err := mail.ParseAddress(a.String()); err != nil || back != a {
		return mail.Address{}, ErrAddress
	}
	return a, nil
}

func (r *Rewriter) key() ([]byte, error) {
	for _, k := range r.Keys {
		if len(k) < minKeyOctets {
			return nil, ErrKey
		}
	}
	if len(r.Keys) == 0 {
		return nil, ErrKey
	}
	return r.Keys[0], nil
}

func (r *Rewriter) hash(key []byte, parts ...string) string {
	m := hmac.New(sha256.New, key)
	for _, p := range parts {
		m.Write([]byte(strings.ToLower(p)))
		m.Write([]byte{0}) // in no address
	}
	return alphabet.EncodeToString(m.Sum(nil))[:r.hashOctets()]
}

func (r *Rewriter) verify(hash string, parts ...string) bool {
	ok := false
	for _, k := range r.Keys {
		ok = hmac.Equal([]byte(strings.ToLower(hash)), []byte(r.hash(k, parts...))) || ok
	}
	return ok
}

func (r *Rewriter) hashOctets() int {
	if r.HashOctets == 0 {
		return defaultHashOctets
	}
	return min(max(r.HashOctets, minHashOctets), maxHashOctets)
}

func (r *Rewriter) days() int {
	if r.MaxAge <= 0 {
		return int(defaultMaxAge / day)
	}
	return int(min(r.MaxAge, maxMaxAge) / day)
}

// today counts days since 1970, around a circle.
func (r *Rewriter) today() int {
	now := time.Now
	if r.Clock != nil {
		now = r.Clock
	}
	d := now().Unix() / int64(day/time.Second) % slots
	return int((d + slots) % slots)
}

func encodeDay(d int) string { return string([]byte{letters[d>>5&31], letters[d&31]}) }

func decodeDay(s string) (int, bool) {
	if len(s) != 2 {
		return 0, false
	}
	s = strings.ToLower(s)
	hi, lo := strings.IndexByte(letters, s[0]), strings.IndexByte(letters, s[1])
	return hi<<5 | lo, hi >= 0 && lo >= 0
}
