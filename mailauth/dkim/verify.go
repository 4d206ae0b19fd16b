package dkim

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/samotop/samotop/resolver"
)

// Status is a result of RFC 8601 section 2.7.1.
type Status string

const (
	Pass      Status = "pass"
	Fail      Status = "fail"      // the signature does not fit the message
	Policy    Status = "policy"    // it may fit, but is not acceptable here
	Neutral   Status = "neutral"   // it could not be processed
	TempError Status = "temperror" // the key could not be fetched now
	PermError Status = "permerror" // it will never verify
)

// Result is what came of one signature.
type Result struct {
	Status    Status
	Reason    string // why it is not pass
	Domain    string // d=
	Selector  string // s=
	Identity  string // i=, or @ and d=
	Algorithm string // a=
	Signature string // the first characters of b=, which tell signatures apart (RFC 6008)
	Testing   bool   // the key says t=y
	Names     []string
	// Partial is set if l= leaves the end of the body unsigned: anything may have been added there.
	Partial bool
}

// Verifier verifies messages. It is safe for concurrent use.
type Verifier struct {
	Resolver      TXT
	MaxSignatures int              // 0: MaxSignatures
	Clock         func() time.Time // nil: time.Now
}

// Message is one message on its way through a Verifier.
type Message struct {
	v      *Verifier
	head   head
	fields []field
	sigs   []checked
	hashes []*bodyHash
	begun  bool
}

// checked is a signature with what is known of it so far.
type checked struct {
	*signature
	body   *bodyHash
	result Result
}

// Message begins a message.
func (v *Verifier) Message() *Message { return &Message{v: v} }

// Write takes the next octets of the message. It never fails.
func (m *Message) Write(p []byte) (int, error) {
	n := len(p)
	p = m.head.write(p)
	if m.head.done && !m.begun {
		m.begin()
	}
	for _, h := range m.hashes {
		h.write(p)
	}
	return n, nil
}

// begin reads the signatures, when the header is complete, and sets up one hash for each kind of body.
func (m *Message) begin() {
	m.begun = true
	m.fields = splitHeader(m.head.buf)
	limit := m.v.MaxSignatures
	if limit <= 0 {
		limit = MaxSignatures
	}
	for _, f := range m.fields {
		if f.name != "dkim-signature" {
			continue
		}
		if len(m.sigs) == limit {
			m.sigs = append(m.sigs, checked{result: Result{Status: Policy, Reason: fmt.Sprintf("more than %d signatures", limit)}})
			return
		}
		s, err := parseSignature(f)
		c := checked{signature: s, result: s.result()}
		switch {
		case errors.Is(err, errSHA1):
			c.result.Status, c.result.Reason = Policy, err.Error()
		case err != nil:
			c.result.Status, c.result.Reason = PermError, err.Error()
		case !s.expires.IsZero() && m.now().After(s.expires):
			c.result.Status, c.result.Reason = Fail, "signature has expired"
		default:
			c.body = m.bodyFor(s)
		}
		m.sigs = append(m.sigs, c)
	}
}

func (s *signature) result() Result {
	r := Result{Domain: s.domain, Selector: s.selector, Identity: s.identity, Algorithm: s.algorithm, Names: s.names}
	if b, ok := tagOf(s.field, "b"); ok {
		r.Signature = unspace(b)[:min(8, len(unspace(b)))]
	}
	return r
}

func tagOf(f field, name string) (string, bool) {
	tags, err := parseTags(string(f.value()))
	if err != nil {
		return "", false
	}
	return get(tags, name)
}

func (m *Message) bodyFor(s *signature) *bodyHash {
	for _, h := range m.hashes {
		if h.canon == s.body && h.limit == s.length {
			return h
		}
	}
	h := newBodyHash(s.body, sha256.New(), s.length)
	m.hashes = append(m.hashes, h)
	return h
}

func (m *Message) now() time.Time {
	if m.v.Clock != nil {
		return m.v.Clock()
	}
	return time.Now()
}

// Close ends the message, fetches the keys and returns a result for each signature; nil if there is none.
func (m *Message) Close(ctx context.Context) []Result {
	if !m.begun && !m.head.tooLarge { // there is no empty line: all of it is header
		m.head.done = true
		m.begin()
	}
	for _, h := range m.hashes {
		h.close()
	}
	results := make([]Result, len(m.sigs))
	for i := range m.sigs {
		c := &m.sigs[i]
		if c.result.Status == "" {
			c.result.Status, c.result.Reason = m.check(ctx, c)
		}
		results[i] = c.result
	}
	return results
}

// check does what needs the whole message and the key (RFC 6376 section 6.1).
func (m *Message) check(ctx context.Context, c *checked) (Status, string) {
	if c.length >= 0 && c.body.total < c.length {
		return PermError, "body is shorter than l="
	}
	c.result.Partial = c.length >= 0 && c.body.total > c.length
	if !bytes.Equal(c.body.sum, c.bodyHash) {
		return Fail, "body hash does not match"
	}
	key, status, err := m.v.key(ctx, c.signature)
	if key != nil {
		c.result.Testing = key.Testing
	}
	if err != nil {
		return status, err.Error()
	}
	if key.algorithm() != c.algorithm {
		return PermError, "key is not of the signature's algorithm"
	}
	if err := key.allows(); err != nil {
		return PermError, err.Error()
	}
	if host := c.identity[1+bytes.LastIndexByte([]byte(c.identity), '@'):]; key.Strict && !equalFold(host, c.domain) {
		return PermError, "key is strict, and i= is of a subdomain"
	}
	if err := key.verify(digest(m.fields, c.names, c.field, c.header), c.sig); err != nil {
		return Fail, "signature does not match"
	}
	return Pass, ""
}

func equalFold(a, b string) bool { return bytes.EqualFold([]byte(a), []byte(b)) }

// key fetches the key of a signature.
func (v *Verifier) key(ctx context.Context, s *signature) (*Key, Status, error) {
	if v.Resolver == nil {
		return nil, TempError, errors.New("no resolver")
	}
	records, _, err := v.Resolver.TXT(ctx, s.selector+"._domainkey."+s.domain)
	switch {
	case errors.Is(err, resolver.ErrNoName), errors.Is(err, resolver.ErrNoData), err == nil && len(records) == 0:
		return nil, PermError, errors.New("there is no key")
	case err != nil:
		return nil, TempError, errors.New("key could not be fetched")
	}
	// Several records are undefined (RFC 6376 section 3.6.2.2): the first that is a key is taken.
	var key *Key
	for _, r := range records[:min(len(records), 10)] {
		if key, err = ParseKey(r); err == nil || errors.Is(err, errKeyRevoked) {
			break
		}
	}
	if errors.Is(err, errKeyShort) {
		return nil, Policy, err
	}
	return key, PermError, err
}
