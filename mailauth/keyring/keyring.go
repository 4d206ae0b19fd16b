// Package keyring keeps the DKIM keys of our domains as files that only their owner can read.
//
//	ring := &keyring.Ring{Dir: "/var/lib/samotop/dkim"}
//	keys, err := ring.Make("example.org")            // an RSA and an Ed25519 key, where there is none
//	signers, err := ring.Signers("example.org")      // what signs now
//	done, err := ring.Rotate(ctx, "example.org", o)  // the next step of exchanging them
//
// A key is the file DIR/DOMAIN/SELECTOR.pem (PKCS #8) while it signs, SELECTOR.next.pem while it is only published,
// SELECTOR.old.pem while it is still published so that mail on its way can be verified. Moving a file is all it takes.
//
// Promises. A Ring is safe for concurrent use, also by several processes: what it knows is read again when the directory
// changes, looked at no more than every CheckTime. A key file is complete before it has its name. Keys that cannot be read
// are an error, never left out.
package keyring

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mailauth/dkim"
)

// Limits and defaults.
const (
	MaxKeys       = 20 // of one domain
	MaxFileOctets = 32 << 10
	RSABits       = 2048            // RFC 8301 section 3.2
	CheckTime     = 2 * time.Second // between two looks at a directory
)

// State is where a key is in its life.
type State string

const (
	Next   State = "next"   // published, and does not sign yet
	Active State = "active" // signs
	Old    State = "old"    // does not sign any more, and is still published
)

// Key is one key.
type Key struct {
	Domain    string
	Selector  string
	State     State
	Since     time.Time // in this state
	Algorithm string    // "rsa-sha256", "ed25519-sha256"
	Name      string    // of the TXT record
	Record    string    // to publish there

	signer crypto.Signer
}

// Ring keeps keys in a directory.
type Ring struct {
	Dir   string
	Clock func() time.Time // nil: time.Now
	Rand  io.Reader        // nil: crypto/rand

	mu    sync.Mutex
	known map[string]*known
}

// known is what was read of one domain.
type known struct {
	looked  time.Time // when the directory was last looked at
	changed time.Time // its time of change then
	signers []dkim.Signer
	err     error
}

func (r *Ring) now() time.Time {
	if r.Clock != nil {
		return r.Clock()
	}
	return time.Now()
}

func (r *Ring) rand() io.Reader {
	if r.Rand != nil {
		return r.Rand
	}
	return rand.Reader
}

var errDomain = errors.New("not a domain name")

// dir is the directory of a domain.
func (r *Ring) dir(domain string) (string, error) {
	if !mail.IsDomain(domain) || strings.HasPrefix(domain, "[") || strings.ContainsAny(domain, `/\`) {
		return "", fmt.Errorf("keys of %q: %w", domain, errDomain)
	}
	return filepath.Join(r.Dir, strings.ToLower(domain)), nil
}

// Signers returns what signs for a domain now: the active keys of the domain, or of the closest domain above it that has
// any, which aligns as far as DMARC is relaxed (RFC 9989 section 4.4). None: the mail is not signed.
func (r *Ring) Signers(domain string) ([]dkim.Signer, error) {
	for name := strings.ToLower(domain); strings.Contains(name, "."); {
		signers, err := r.signersOf(name)
		if err != nil || len(signers) > 0 {
			return signers, err
		}
		_, name, _ = strings.Cut(name, ".")
	}
	return nil, nil
}

// maxKnown bounds the domains remembered: those without keys are remembered too.
const maxKnown = 10_000

func (r *Ring) signersOf(domain string) ([]dkim.Signer, error) {
	dir, err := r.dir(domain)
	if err != nil {
		return nil, nil //nolint:nilerr // what is no domain has no keys
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	k := r.known[domain]
	if k != nil && now.Sub(k.looked) < CheckTime && !now.Before(k.looked) {
		return k.signers, k.err
	}
	var changed time.Time
	if fi, err := os.Stat(dir); err == nil {
		changed = fi.ModTime()
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if k != nil && k.changed.Equal(changed) && k.err == nil {
		k.looked = now
		return k.signers, nil
	}
	k = &known{looked: now, changed: changed}
	if !changed.IsZero() {
		k.signers, k.err = r.read(domain)
	}
	if r.known == nil || len(r.known) >= maxKnown {
		r.known = map[string]*known{}
	}
	r.known[domain] = k
	return k.signers, k.err
}

func (r *Ring) read(domain string) ([]dkim.Signer, error) {
	keys, err := r.keys(domain)
	if err != nil {
		return nil, err
	}
	var out []dkim.Signer
	for _, k := range keys {
		if k.State == Active {
			out = append(out, dkim.Signer{Domain: k.Domain, Selector: k.Selector, Key: k.signer})
		}
	}
	return out, nil
}

// List returns the keys of a domain, or of all with "", in the order of domains, states and selectors.
func (r *Ring) List(domain string) ([]Key, error) {
	if domain != "" {
		return r.keys(domain)
	}
	entries, err := os.ReadDir(r.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var out []Key
	for _, e := range entries {
		if !e.IsDir() || !mail.IsDomain(e.Name()) {
			continue
		}
		keys, err := r.keys(e.Name())
		if err != nil {
			return nil, err
		}
		out = append(out, keys...)
	}
	return out, nil
}

// keys reads the files of one domain.
func (r *Ring) keys(domain string) ([]Key, error) {
	dir, err := r.dir(domain)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []Key
	for _, e := range entries {
		selector, state, ok := parseName(e.Name())
		if !ok {
			continue
		}
		if len(out) == MaxKeys {
			return nil, fmt.Errorf("%s: more than %d keys", dir, MaxKeys)
		}
		k, err := readKey(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		k.Domain, k.Selector, k.State = filepath.Base(dir), selector, state
		k.Name = selector + "._domainkey." + k.Domain
		out = append(out, *k)
	}
	order := []State{Active, Next, Old}
	slices.SortStableFunc(out, func(a, b Key) int {
		if c := slices.Index(order, a.State) - slices.Index(order, b.State); c != 0 {
			return c
		}
		return strings.Compare(b.Algorithm, a.Algorithm) // RSA first: everybody verifies it
	})
	return out, nil
}

// parseName reads SELECTOR[.next|.old].pem.
func parseName(file string) (selector string, s State, ok bool) {
	name, ok := strings.CutSuffix(file, ".pem")
	if !ok || strings.HasPrefix(file, ".") {
		return "", "", false
	}
	s = Active
	for _, x := range []State{Next, Old} {
		if n, cut := strings.CutSuffix(name, "."+string(x)); cut {
			name, s = n, x
		}
	}
	return name, s, mail.IsDomain(name) && !strings.HasPrefix(name, "[")
}

func fileName(selector string, s State) string {
	if s == Active {
		return selector + ".pem"
	}
	return selector + "." + string(s) + ".pem"
}

func readKey(name string) (*Key, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(f, MaxFileOctets))
	if err != nil {
		return nil, err
	}
	signer, err := parseKey(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	k := &Key{Since: fi.ModTime(), signer: signer, Algorithm: "rsa-sha256"}
	if _, ok := signer.(ed25519.PrivateKey); ok {
		k.Algorithm = "ed25519-sha256"
	}
	if k.Record, err = dkim.Record(signer.Public()); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return k, nil
}

var errKey = errors.New("not a private key in PEM form, RSA of 1024 to 8192 bits or Ed25519")

// parseKey reads PKCS #8, and PKCS #1 as other programs write it.
func parseKey(text []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errKey
	}
	var k any
	k, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		k, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errKey, err)
	}
	switch k := k.(type) {
	case *rsa.PrivateKey:
		if n := k.N.BitLen(); n >= dkim.MinRSABits && n <= dkim.MaxRSABits {
			return k, nil
		}
	case ed25519.PrivateKey:
		return k, nil
	}
	return nil, errKey
}
