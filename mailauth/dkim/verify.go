package dkim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/samotop/samotop/mailauth/internal/core"
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
	// Partial is set if l= leaves the end of the body core.Unsigned: anything may have been added there.
	Partial bool
}

// Verifier verifies messages. It is safe for concurrent use.
type Verifier struct {
	Resolver      TXT
	MaxSignatures int              // 0: MaxSignatures
	Clock         func() time.Time // nil: time.Now
	Keys          *Keys            // remembers keys that were read; nil: each is read anew
}

// Message is one message on its way through a Verifier.
type Message struct {
	stream *core.Stream
	v      *Verifier
	sigs   []checked
}

// checked is a signature with what is known of it so far.
type checked struct {
	*signature
	body   *core.BodyHash
	result Result
}

// Message begins a message: what is written to it is verified at Close.
func (v *Verifier) Message() *Message { return v.Of(new(core.Stream)) }

// Of verifies a message that others read too.
func (v *Verifier) Of(s *core.Stream) *Message {
	m := &Message{stream: s, v: v}
	s.Tell(m)
	return m
}

// Write takes the next octets of the message. It never fails.
func (m *Message) Write(p []byte) (int, error) { return m.stream.Write(p) }

// Begin is of core.Reader: it reads the signatures, and sets up one hash for each kind of body.
func (m *Message) Begin(*core.Stream) {
	limit := m.v.MaxSignatures
	if limit <= 0 {
		limit = MaxSignatures
	}
	for _, f := range m.stream.Fields {
		if f.Name != "dkim-signature" {
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
			c.body = m.stream.Body(s.body, s.length)
		}
		m.sigs = append(m.sigs, c)
	}
}

func (s *signature) result() Result {
	return Result{Domain: s.domain, Selector: s.selector, Identity: s.identity, Algorithm: s.algorithm, Names: s.names, Signature: s.short}
}

func (m *Message) now() time.Time {
	if m.v.Clock != nil {
		return m.v.Clock()
	}
	return time.Now()
}

// Close ends the message, fetches the keys and returns a result for each signature; nil if there is none.
func (m *Message) Close(ctx context.Context) []Result {
	m.stream.Close()
	if len(m.sigs) == 0 {
		return nil
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
	if c.length >= 0 && c.body.Total < c.length {
		return PermError, "body is shorter than l="
	}
	c.result.Partial = c.length >= 0 && c.body.Total > c.length
	if !bytes.Equal(c.body.Sum, c.bodyHash) {
		return Fail, "body hash does not match"
	}
	key, status, err := m.v.key(ctx, c.signature)
	if key != nil {
		c.result.Testing = key.Testing
	}
	if err != nil {
		return status, err.Error()
	}
	if key.Algorithm() != c.algorithm {
		return PermError, "key is not of the signature's algorithm"
	}
	if err := key.Allows(); err != nil {
		return PermError, err.Error()
	}
	if host := c.identity[1+bytes.LastIndexByte([]byte(c.identity), '@'):]; key.Strict && !equalFold(host, c.domain) {
		return PermError, "key is strict, and i= is of a subdomain"
	}
	if err := key.Verify(core.Digest(m.stream.Fields, c.names, c.field, c.header), c.sig); err != nil {
		return Fail, "signature does not match"
	}
	return Pass, ""
}

func equalFold(a, b string) bool { return bytes.EqualFold([]byte(a), []byte(b)) }

// key fetches the key of a signature.
func (v *Verifier) key(ctx context.Context, s *signature) (*Key, Status, error) {
	key, err := core.FetchKey(ctx, v.Resolver, v.Keys, s.selector, s.domain)
	switch {
	case errors.Is(err, core.ErrUnreachable):
		return nil, TempError, err
	case errors.Is(err, core.ErrKeyShort):
		return nil, Policy, err
	}
	return key, PermError, err
}
