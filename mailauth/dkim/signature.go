package dkim

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/samotop/samotop/mailauth/internal/core"
)

// signature is a DKIM-Signature field (RFC 6376 section 3.5).
type signature struct {
	field     core.Field
	algorithm string
	sig       []byte
	short     string // the first characters of b=
	bodyHash  []byte
	header    Canonicalization
	body      Canonicalization
	domain    string
	identity  string // i=, or @d
	names     []string
	length    int64 // l=; -1: none
	selector  string
	made      time.Time // t=; zero: not said
	expires   time.Time // x=; zero: never
}

var errSHA1 = errors.New("rsa-sha1 is not accepted (RFC 8301 section 3.1)")

// parseSignature reads the field. What it could read is returned with an error too, for the report.
func parseSignature(f core.Field) (*signature, error) {
	s := &signature{field: f, length: -1}
	if len(f.Raw) > MaxSignatureOctets {
		return s, errors.New("signature field is too long")
	}
	tags, err := core.ParseTags(string(f.Value()))
	if err != nil {
		return s, err
	}
	s.domain, _ = core.Get(tags, "d")
	s.domain = strings.ToLower(s.domain)
	s.selector, _ = core.Get(tags, "s")
	s.algorithm, _ = core.Get(tags, "a")
	b, _ := core.Get(tags, "b")
	b = core.Unspace(b[:min(len(b), 64)])
	s.short = b[:min(len(b), 8)]
	for _, name := range []string{"v", "a", "b", "bh", "d", "h", "s"} {
		if v, _ := core.Get(tags, name); v == "" {
			return s, fmt.Errorf("signature has no %s=", name)
		}
	}
	if v, _ := core.Get(tags, "v"); v != "1" {
		return s, errors.New("signature has an unknown version")
	}
	switch s.algorithm {
	case "rsa-sha256", "ed25519-sha256":
	case "rsa-sha1":
		return s, errSHA1
	default:
		return s, errors.New("signature has an unknown algorithm")
	}
	for _, step := range []func([]core.Tag) error{s.values, s.canonicalizations, s.who, s.when, s.what} {
		if err := step(tags); err != nil {
			return s, err
		}
	}
	return s, nil
}

func (s *signature) values(tags []core.Tag) (err error) {
	b, _ := core.Get(tags, "b")
	if s.sig, err = core.DecodeBase64(b); err != nil {
		return errors.New("b= is not base64")
	}
	bh, _ := core.Get(tags, "bh")
	if s.bodyHash, err = core.DecodeBase64(bh); err != nil || len(s.bodyHash) != 32 {
		return errors.New("bh= is not the base64 of a SHA-256 hash")
	}
	return nil
}

func (s *signature) canonicalizations(tags []core.Tag) error {
	c, ok := core.Get(tags, "c")
	if !ok {
		return nil
	}
	if s.header, s.body, ok = core.ParseCanonicalizations(c); !ok {
		return errors.New("c= is unknown")
	}
	return nil
}

func (s *signature) who(tags []core.Tag) error {
	if !core.IsHost(s.domain) || !core.IsHost(s.selector) {
		return errors.New("d= or s= is not a domain name")
	}
	s.identity = "@" + s.domain
	if i, ok := core.Get(tags, "i"); ok {
		at := strings.LastIndexByte(i, '@')
		if at < 0 {
			return errors.New("i= has no domain")
		}
		host := strings.ToLower(i[at+1:])
		if host != s.domain && !strings.HasSuffix(host, "."+s.domain) {
			return errors.New("i= is not below d=")
		}
		s.identity = i
	}
	if q, ok := core.Get(tags, "q"); ok && !core.Contains(core.ColonList(q), "dns/txt") {
		return errors.New("q= has no known method")
	}
	return nil
}

func (s *signature) when(tags []core.Tag) error {
	for _, x := range []struct {
		name string
		to   *time.Time
	}{{"t", &s.made}, {"x", &s.expires}} {
		v, ok := core.Get(tags, x.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n < 0 || n > 1<<40 {
			return fmt.Errorf("%s= is not a time", x.name)
		}
		*x.to = time.Unix(n, 0)
	}
	if !s.expires.IsZero() && !s.made.IsZero() && s.expires.Before(s.made) {
		return errors.New("x= is before t=")
	}
	return nil
}

func (s *signature) what(tags []core.Tag) error {
	if l, ok := core.Get(tags, "l"); ok {
		n, err := strconv.ParseInt(l, 10, 64)
		if err != nil || n < 0 {
			return errors.New("l= is not a length")
		}
		s.length = n
	}
	h, _ := core.Get(tags, "h")
	s.names = core.ColonList(strings.ToLower(h))
	if len(s.names) > MaxHeaderNames {
		return errors.New("h= names too many fields")
	}
	if !core.Contains(s.names, "from") { // RFC 6376 section 5.4
		return errors.New("From is not signed")
	}
	return nil
}
