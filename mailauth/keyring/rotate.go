package keyring

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// DefaultOverlap is how long old keys stay published: longer than any queue keeps mail.
const DefaultOverlap = 14 * 24 * time.Hour

// RotateOptions of Rotate.
type RotateOptions struct {
	// Live reports why a key's record cannot be seen in DNS; nil: it can.
	Live    func(ctx context.Context, k Key) error
	Force   bool          // change over without asking Live
	Overlap time.Duration // 0: DefaultOverlap
}

// Rotated is what Rotate did.
type Rotated struct {
	Made    []Key // publish them; they do not sign yet
	Active  []Key // they sign from now on
	Old     []Key // they have ceased to sign; keep them published for the overlap
	Removed []Key // their records can be taken out of DNS
}

// NotLiveError: the next keys cannot be seen in DNS.
type NotLiveError struct {
	Keys  []Key // what has to be published
	Cause error
}

func (e *NotLiveError) Error() string {
	return "the next keys are not published yet, so nothing was changed: " + e.Cause.Error()
}

func (e *NotLiveError) Unwrap() error { return e.Cause }

// Make gives a domain its first keys, which sign at once. A domain that has keys keeps them.
func (r *Ring) Make(domain string) ([]Key, error) {
	have, err := r.keys(domain)
	if err != nil || len(have) > 0 {
		return have, err
	}
	return r.make(domain, Active)
}

// Rotate does the next step: it makes the first keys, which sign at once, or the next keys where there are none; otherwise, if they are published, it lets them
// sign in place of the active ones. Keys that have been old for the overlap are removed.
func (r *Ring) Rotate(ctx context.Context, domain string, o RotateOptions) (Rotated, error) {
	var done Rotated
	keys, err := r.keys(domain)
	if err != nil {
		return done, err
	}
	if len(keys) == 0 {
		done.Active, err = r.make(domain, Active)
		return done, err
	}
	if o.Overlap <= 0 {
		o.Overlap = DefaultOverlap
	}
	var next, active []Key
	for _, k := range keys {
		switch {
		case k.State == Next:
			next = append(next, k)
		case k.State == Active:
			active = append(active, k)
		case r.now().Sub(k.Since) >= o.Overlap:
			if err := r.remove(k); err != nil {
				return done, err
			}
			done.Removed = append(done.Removed, k)
		}
	}
	if len(next) == 0 {
		done.Made, err = r.make(domain, Next)
		return done, err
	}
	if !o.Force && o.Live != nil {
		for _, k := range next {
			if err := o.Live(ctx, k); err != nil {
				return done, &NotLiveError{Keys: next, Cause: fmt.Errorf("%s: %w", k.Name, err)}
			}
		}
	}
	return done, r.change(&done, next, active)
}

// change lets the next keys sign, and only then retires the others: what signs is published at every moment.
func (r *Ring) change(done *Rotated, next, active []Key) error {
	for _, k := range next {
		if err := r.move(&k, Active); err != nil {
			return err
		}
		done.Active = append(done.Active, k)
	}
	for _, k := range active {
		if err := r.move(&k, Old); err != nil {
			return err
		}
		done.Old = append(done.Old, k)
	}
	return nil
}

func (r *Ring) path(k Key) string {
	return filepath.Join(r.Dir, k.Domain, fileName(k.Selector, k.State))
}

func (r *Ring) move(k *Key, to State) error {
	from := r.path(*k)
	k.State, k.Since = to, r.now()
	if err := os.Chtimes(from, k.Since, k.Since); err != nil {
		return err
	}
	if err := os.Rename(from, r.path(*k)); err != nil {
		return err
	}
	r.forget(k.Domain)
	return syncDir(filepath.Dir(from))
}

func (r *Ring) remove(k Key) error {
	r.forget(k.Domain)
	if err := os.Remove(r.path(k)); err != nil {
		return err
	}
	return syncDir(filepath.Join(r.Dir, k.Domain))
}

func (r *Ring) forget(domain string) {
	r.mu.Lock()
	delete(r.known, domain)
	r.mu.Unlock()
}

// make makes an RSA and an Ed25519 key (RFC 8463 section 3 asks for both, as not everybody verifies the latter).
func (r *Ring) make(domain string, s State) ([]Key, error) {
	dir, err := r.dir(domain)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	slow, err := rsa.GenerateKey(r.rand(), RSABits)
	if err != nil {
		return nil, err
	}
	_, fast, err := ed25519.GenerateKey(r.rand())
	if err != nil {
		return nil, err
	}
	day := r.now().UTC().Format("20060102")
	for _, k := range []struct {
		prefix string
		key    crypto.Signer
	}{{"r", slow}, {"e", fast}} {
		selector, err := freeSelector(dir, k.prefix+day)
		if err != nil {
			return nil, err
		}
		if err := writeKey(dir, fileName(selector, s), k.key); err != nil {
			return nil, err
		}
	}
	r.forget(strings.ToLower(domain))
	all, err := r.keys(domain)
	var out []Key
	for _, k := range all {
		if k.State == s {
			out = append(out, k)
		}
	}
	return out, err
}

// freeSelector finds a name that no key of the domain has or, as far as we know, had.
func freeSelector(dir, name string) (string, error) {
	for i := range MaxKeys {
		try := name
		if i > 0 {
			try += string(rune('a' + i - 1))
		}
		taken := false
		for _, s := range []State{Active, Next, Old} {
			_, err := os.Stat(filepath.Join(dir, fileName(try, s)))
			taken = taken || err == nil
		}
		if !taken {
			return try, nil
		}
	}
	return "", errors.New("too many keys were made today")
}

// writeKey writes a file that is complete, and on disk, before it has its name.
func writeKey(dir, name string, key crypto.Signer) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // renamed by then, or half written
	err = pem.Encode(f, &pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, name))
	}
	if err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
