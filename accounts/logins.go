package accounts

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/sasl"
	"github.com/samotop/samotop/store"
)

var (
	_ sasl.Credentials  = (*Accounts)(nil)
	_ sasl.Certificates = (*Accounts)(nil)
)

// logins remembers passwords that were verified, as keyed hashes, so that the many connections of one mail program
// cost one argon2id. The key is of this process and is written nowhere.
type logins struct {
	key []byte
	ttl time.Duration
	now func() time.Time

	mu    sync.Mutex
	epoch uint64 // grows with each dropped password, so that no verification outlives it
	known *lru[uint64, login]
}

type login struct {
	mac   [sha256.Size]byte
	until time.Time
}

func (l *logins) init(c *Config) error {
	l.key = make([]byte, 32)
	l.ttl, l.now = c.LoginTTL, c.Clock
	l.known = newLRU[uint64, login](int64(c.MaxLogins))
	_, err := io.ReadFull(c.Rand, l.key)
	return err
}

func (l *logins) mac(id uint64, password string) (mac [sha256.Size]byte) {
	h := hmac.New(sha256.New, l.key)
	h.Write(keyID("", id))
	io.WriteString(h, password)
	h.Sum(mac[:0])
	return mac
}

// has reports whether the password was verified a while ago; epoch is for remember.
func (l *logins) has(id uint64, password string) (ok bool, epoch uint64) {
	if l.ttl < 0 {
		return false, 0
	}
	mac := l.mac(id, password)
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	known, ok := l.known.get(id)
	return ok && now.Before(known.until) && hmac.Equal(known.mac[:], mac[:]), l.epoch
}

func (l *logins) remember(id uint64, password string, epoch uint64) {
	if l.ttl < 0 {
		return
	}
	mac := l.mac(id, password)
	until := l.now().Add(l.ttl)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.epoch == epoch {
		l.known.put(id, login{mac, until}, 1)
	}
}

func (l *logins) drop(id uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.epoch++
	l.known.remove(id)
}

// user finds the account that a user name means: its address, in any case. ID 0: there is none that may log in.
func (a *Accounts) user(ctx context.Context, user string) (Account, error) {
	addr, err := mail.ParseAddress(user)
	if err != nil {
		return Account{}, nil
	}
	addr, ok := canonical(addr)
	if !ok {
		return Account{}, nil
	}
	d, ours := a.held.real(addr.Domain)
	if !ours {
		return Account{}, nil
	}
	addr.Domain = d.Name
	n, err := a.find(ctx, addr)
	if err != nil || n == nil || n.account == nil || !n.account.Enabled {
		return Account{}, err
	}
	return *n.account, nil
}

// secrets reads what is kept of a password; a zero result: the account has none.
func (a *Accounts) secrets(ctx context.Context, id uint64) (secrets, []byte, error) {
	row, err := a.get(ctx, keyID(tagPassword, id))
	if err != nil || row == nil {
		return secrets{}, nil, err
	}
	s, err := decodeSecrets(id, row)
	return s, row, err
}

// Password is of sasl.Credentials: it verifies the password of an account and returns its canonical address. The
// user name is the address of the account, in any case; an alias is none.
func (a *Accounts) Password(ctx context.Context, _ *mail.Session, user, password string) (string, error) {
	acc, err := a.user(ctx, user)
	if err != nil {
		return "", err
	}
	if len(password) > MaxPasswordOctets || password == "" {
		return "", mail.ErrCredentials
	}
	password = sasl.PreparePassword(password)
	known, epoch := a.logins.has(acc.ID, password)
	if known && acc.ID != 0 {
		return acc.Address.String(), nil
	}
	s, row, err := a.secrets(ctx, acc.ID)
	if err != nil {
		return "", err
	}
	hash := a.hasher.none
	if row != nil {
		if hash, err = parsePHC(s.phc); err != nil {
			return "", err
		}
	}
	right, err := a.hasher.verify(ctx, hash, password)
	if err != nil {
		return "", err
	}
	if !right || row == nil {
		return "", mail.ErrCredentials
	}
	a.logins.remember(acc.ID, password, epoch)
	if a.hasher.outdated(hash) || s.scram[sasl.SHA256].Iterations != a.c.Hash.ScramIterations {
		a.rehash(ctx, acc, password, row)
	}
	return acc.Address.String(), nil
}

// rehash brings what is kept of a password to the present parameters. That it fails is no trouble for the login.
func (a *Accounts) rehash(ctx context.Context, acc Account, password string, row []byte) {
	s, err := a.hasher.make(ctx, password)
	if err == nil {
		a.change.Lock()
		defer a.change.Unlock()
		key := keyID(tagPassword, acc.ID)
		err = a.commit(ctx, &store.Batch{
			Asserts: []store.Assert{{Key: key, Value: row}},
			Ops:     []store.Op{store.Put(key, encodeSecrets(s))},
		}, touched{})
	}
	if err != nil {
		a.c.Log.WarnContext(ctx, "password not hashed anew", "account", acc.Address.String(), "err", err)
	}
}

// Scram is of sasl.Credentials: it returns the SCRAM keys of an account and its canonical address.
func (a *Accounts) Scram(ctx context.Context, _ *mail.Session, user string, hash sasl.Hash) (sasl.ScramKeys, string, error) {
	acc, err := a.user(ctx, user)
	if err != nil {
		return sasl.ScramKeys{}, "", err
	}
	s, row, err := a.secrets(ctx, acc.ID) // also for ID 0, to take as long
	if err != nil {
		return sasl.ScramKeys{}, "", err
	}
	k, ok := s.scram[hash]
	if row == nil || !ok {
		name := ""
		if addr, err := mail.ParseAddress(user); err == nil {
			addr, _ = canonical(addr)
			name = addr.String()
		}
		return sasl.ScramKeys{}, name, mail.ErrCredentials
	}
	return k, acc.Address.String(), nil
}

// Certificate is of sasl.Certificates: a client certificate that was verified against a CA stands for the accounts
// whose addresses are among its rfc822Names. Authzid chooses one; without, there must be one alone.
func (a *Accounts) Certificate(ctx context.Context, s *mail.Session, leaf *x509.Certificate, authzid string) (string, error) {
	if s.TLS == nil || len(s.TLS.VerifiedChains) == 0 {
		return "", mail.ErrCredentials
	}
	var found []string
	for _, e := range leaf.EmailAddresses[:min(len(leaf.EmailAddresses), 100)] {
		acc, err := a.user(ctx, e)
		if err != nil {
			return "", err
		}
		if who := acc.Address.String(); acc.ID != 0 && !slices.Contains(found, who) {
			found = append(found, who)
		}
	}
	if authzid != "" {
		acc, err := a.user(ctx, strings.TrimSpace(authzid))
		if err != nil {
			return "", err
		}
		if acc.ID == 0 || !slices.Contains(found, acc.Address.String()) {
			return "", mail.ErrCredentials
		}
		return acc.Address.String(), nil
	}
	if len(found) != 1 {
		return "", mail.ErrCredentials
	}
	return found[0], nil
}
