package accounts

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"unicode"
	"unicode/utf8"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/sasl"
)

// hasher bounds how many password hashes are computed at once: each takes its memory (19 MiB by default) and a CPU.
type hasher struct {
	params HashParams
	slots  chan struct{}
	queued atomic.Int64
	most   int64
	rand   io.Reader
	none   phc // compared with for users who do not exist
}

func (h *hasher) init(c *Config) {
	h.params, h.rand, h.most = c.Hash, c.Rand, int64(c.MaxHashesQueued)
	h.slots = make(chan struct{}, c.MaxHashes)
	h.none = phc{memoryKiB: c.Hash.MemoryKiB, passes: c.Hash.Passes, threads: c.Hash.Threads,
		salt: make([]byte, saltOctets), hash: make([]byte, hashOctets)}
}

// acquire waits for a turn.
func (h *hasher) acquire(ctx context.Context) error {
	defer h.queued.Add(-1)
	if h.queued.Add(1) > h.most { // RFC 4954 section 6, RFC 3463 section 3.8
		return mail.NewReply(454, mail.Enhanced{4, 7, 0}, "Too many logins at once, please try again later")
	}
	select {
	case h.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *hasher) release() { <-h.slots }

func (h *hasher) verify(ctx context.Context, p phc, password string) (bool, error) {
	if err := h.acquire(ctx); err != nil {
		return false, err
	}
	defer h.release()
	return p.verify(password), nil
}

// make derives all that is kept of a password.
func (h *hasher) make(ctx context.Context, password string) (secrets, error) {
	if err := h.acquire(ctx); err != nil {
		return secrets{}, err
	}
	defer h.release()
	salts := make([]byte, 3*saltOctets)
	if _, err := io.ReadFull(h.rand, salts); err != nil {
		return secrets{}, err
	}
	p := h.none
	p.salt = salts[:saltOctets:saltOctets]
	p.hash = p.compute(password, hashOctets)
	s := secrets{phc: p.String(), scram: map[sasl.Hash]sasl.ScramKeys{}}
	for i, hash := range []sasl.Hash{sasl.SHA256, sasl.SHA1} {
		salt := salts[(i+1)*saltOctets : (i+2)*saltOctets]
		k, err := sasl.NewScramKeys(hash, password, salt, h.params.ScramIterations)
		if err != nil {
			return secrets{}, err
		}
		s.scram[hash] = k
	}
	return s, nil
}

// outdated reports whether a hash was made with other parameters than new ones are.
func (h *hasher) outdated(p phc) bool {
	return p.memoryKiB != h.params.MemoryKiB || p.passes != h.params.Passes || p.threads != h.params.Threads
}

func (a *Accounts) makeSecrets(ctx context.Context, who mail.Address, password string) (secrets, error) {
	if err := checkPassword(who, password); err != nil {
		return secrets{}, err
	}
	s, err := a.hasher.make(ctx, sasl.PreparePassword(password))
	if err != nil {
		return secrets{}, fmt.Errorf("hash the password of %s: %w", who, err)
	}
	return s, nil
}

// checkPassword refuses what could not be typed at a login.
func checkPassword(who mail.Address, password string) error {
	switch {
	case password == "":
		return refuse(ErrInvalid, "password of %s is empty: give one", who)
	case len(password) > MaxPasswordOctets:
		return refuse(ErrInvalid, "password of %s is longer than %d octets: choose a shorter one", who, MaxPasswordOctets)
	case !utf8.ValidString(password):
		return refuse(ErrInvalid, "password of %s is not UTF-8: give it in that encoding", who)
	case strings.ContainsFunc(password, unicode.IsControl):
		return refuse(ErrInvalid, "password of %s holds a control character, such as a line end: leave it out", who)
	case sasl.PreparePassword(password) == "":
		return refuse(ErrInvalid, "password of %s has no visible character: choose another", who)
	}
	return nil
}

// passwordAlphabet has 32 letters and digits that are not mistaken for one another.
const passwordAlphabet = "abcdefghijkmnpqrstuvwxyz23456789"

// GeneratePassword makes a password of 120 random bits from Config.Rand, in five groups of letters and digits.
func (a *Accounts) GeneratePassword() (string, error) {
	raw := make([]byte, 24)
	if _, err := io.ReadFull(a.c.Rand, raw); err != nil {
		return "", fmt.Errorf("generate a password: %w", err)
	}
	var b strings.Builder
	for i, c := range raw {
		if i > 0 && i%6 == 0 {
			b.WriteByte('-')
		}
		b.WriteByte(passwordAlphabet[c%32])
	}
	return b.String(), nil
}
