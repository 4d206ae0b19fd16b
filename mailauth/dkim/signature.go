package dkim

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// signature is a DKIM-Signature field (RFC 6376 section 3.5).
type signature struct {
	field     field
	algorithm string
	sig       []byte
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
func parseSignature(f field) (*signature, error) {
	s := &signature{field: f, length: -1}
	if len(f.raw) > MaxSignatureOctets {
		return s, errors.New("signature field is too long")
	}
	tags, err := parseTags(string(f.value()))
	if err != nil {
		return s, err
	}
	s.domain, _ = get(tags, "d")
	s.domain = strings.ToLower(s.domain)
	s.selector, _ = get(tags, "s")
	s.algorithm, _ = get(tags, "a")
	for _, name := range []string{"v", "a", "b", "bh", "d", "h", "s"} {
		if v, _ := get(tags, name); v == "" {
			return s, fmt.Errorf("signature has no %s=", name)
		}
	}
	if v, _ := get(tags, "v"); v != "1" {
		return s, errors.New("signature has an unknown version")
	}
	switch s.algorithm {
	case "rsa-sha256", "ed25519-sha256":
	case "rsa-sha1":
		return s, errSHA1
	default:
		return s, errors.New("signature has an unknown algorithm")
	}
	for _, step := range []func([]tag) error{s.values, s.canonicalizations, s.who, s.when, s.what} {
		if err := step(tags); err != nil {
			return s, err
		}
	}
	return s, nil
}

func (s *signature) values(tags []tag) (err error) {
	b, _ := get(tags, "b")
	if s.sig, err = decodeBase64(b); err != nil {
		return errors.New("b= is not base64")
	}
	bh, _ := get(tags, "bh")
	if s.bodyHash, err = decodeBase64(bh); err != nil || len(s.bodyHash) != 32 {
		return errors.New("bh= is not the base64 of a SHA-256 hash")
	}
	return nil
}

func (s *signature) canonicalizations(tags []tag) error {
	c, ok := get(tags, "c")
	if !ok {
		return nil
	}
	header, body, _ := strings.Cut(strings.ToLower(c), "/")
	for _, x := range []struct {
		name string
		to   *Canonicalization
	}{{header, &s.header}, {body, &s.body}} {
		switch x.name {
		case "simple", "":
		case "relaxed":
			*x.to = Relaxed
		default:
			return errors.New("c= is unknown")
		}
	}
	return nil
}

func (s *signature) who(tags []tag) error {
	if !isHost(s.domain) || !isHost(s.selector) {
		return errors.New("d= or s= is not a domain name")
	}
	s.identity = "@" + s.domain
	if i, ok := get(tags, "i"); ok {
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
	if q, ok := get(tags, "q"); ok && !contains(colonList(q), "dns/txt") {
		return errors.New("q= has no known method")
	}
	return nil
}

func (s *signature) when(tags []tag) error {
	for _, x := range []struct {
		name string
		to   *time.Time
	}{{"t", &s.made}, {"x", &s.expires}} {
		v, ok := get(tags, x.name)
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

func (s *signature) what(tags []tag) error {
	if l, ok := get(tags, "l"); ok {
		n, err := strconv.ParseInt(l, 10, 64)
		if err != nil || n < 0 {
			return errors.New("l= is not a length")
		}
		s.length = n
	}
	h, _ := get(tags, "h")
	s.names = colonList(strings.ToLower(h))
	if len(s.names) > MaxHeaderNames {
		return errors.New("h= names too many fields")
	}
	if !contains(s.names, "from") { // RFC 6376 section 5.4
		return errors.New("From is not signed")
	}
	return nil
}

// isHost accepts what can be put into a DNS question.
func isHost(s string) bool {
	if s == "" || len(s) > 253 || s[0] == '.' || s[len(s)-1] == '.' || strings.Contains(s, "..") {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c <= ' ' || c == 0x7f || c == '@' || c == '/' || c == ':' || c == ';' {
			return false
		}
	}
	return true
}

// unsigned returns the signature's own field with an empty b=, as it was when it was signed (RFC 6376 section 3.7).
func unsigned(f field) field {
	raw := f.raw
	at := bytes.IndexByte(raw, ':') + 1
	for at < len(raw) {
		end := bytes.IndexByte(raw[at:], ';')
		if end < 0 {
			end = len(raw) - at
		}
		part := raw[at : at+end]
		if eq := bytes.IndexByte(part, '='); eq >= 0 && string(bytes.Trim(part[:eq], wsp)) == "b" {
			tail := raw[at+end:]
			if len(tail) == 0 { // b= is the last tag: the line end stays
				tail = crlf
			}
			cut := append(append([]byte(nil), raw[:at+eq+1]...), tail...)
			return field{cut, f.name}
		}
		at += end + 1
	}
	return f
}

// digest hashes the signed fields and the signature's own one, which has no line end.
func digest(fields []field, names []string, own field, c Canonicalization) []byte {
	var buf []byte
	for _, f := range pick(fields, names) {
		buf = appendField(buf, c, f)
	}
	buf = appendField(buf, c, unsigned(own))
	return sha256Sum(bytes.TrimSuffix(buf, crlf))
}
