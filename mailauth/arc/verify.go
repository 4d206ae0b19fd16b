package arc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/samotop/samotop/mailauth/authres"
	"github.com/samotop/samotop/mailauth/internal/core"
)

// Result is what was found of a chain.
type Result struct {
	Status    Status
	Reason    string // why it fails
	Temporary bool   // it fails only because a key could not be fetched now
	Sets      []Set  // from instance 1; nil if the chain has no structure
	// OldestPass is the lowest instance since which the message was not changed (section 5.2, step 5): its
	// ARC-Message-Signature and all later ones verify. 0: none does.
	OldestPass int
	ended      bool // the newest seal says that the chain had failed
}

// Verifier verifies chains. It is safe for concurrent use.
type Verifier struct {
	Resolver core.TXT
	Keys     *core.Keys // remembers keys that were read; nil: each is read anew
}

// Message is one message on its way through a Verifier.
type Message struct {
	stream *core.Stream
	v      *Verifier
	sets   []set
	result Result
	keys   map[string]fetched
}

type fetched struct {
	key *core.Key
	err error
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

// Begin is of core.Reader: it looks at the structure (RFC 8617 section 5.2, steps 1 to 3).
func (m *Message) Begin(*core.Stream) {
	var highest int
	var err error
	if m.stream.TooLarge() {
		err = errHeaderBig
	} else {
		m.sets, highest, err = collect(m.stream.Fields)
	}
	switch {
	case err != nil:
		m.result.Status, m.result.Reason = Fail, err.Error()
		return
	case highest == 0:
		m.result.Status = None
		return
	}
	m.result.Sets = make([]Set, len(m.sets))
	for i := range m.sets {
		m.read(i)
	}
	m.structure()
}

// read parses one set and sets up what its body hash needs.
func (m *Message) read(i int) {
	s, out := &m.sets[i], &m.result.Sets[i]
	_, results, _ := strings.Cut(string(s.aar.Value()), ";")
	*out = Set{Instance: i + 1, Results: authres.Parse(results), Message: errNotTried, Seal: errNotTried}
	var err error
	if s.as, err = parseSeal(s.seal); err != nil {
		out.Seal = err
	}
	out.Domain, out.Selector, out.CV = s.as.domain, s.as.selector, s.as.cv
	if s.sig, err = parseSignature(s.ams); err != nil {
		out.Message = err
		return
	}
	// So that fifty lengths do not cost fifty hashes, l= counts only in the newest, which alone decides.
	if s.sig.length < 0 || i == len(m.sets)-1 {
		s.body = m.stream.Body(s.sig.body, s.sig.length)
	}
}

// structure checks what the seals say of each other (steps 2 and 3).
func (m *Message) structure() {
	last := len(m.sets) - 1
	if m.sets[last].as.cv == Fail {
		m.result.ended = true
		m.fail("the newest seal says that the chain had failed")
		return
	}
	for i := range m.sets {
		want := Pass
		if i == 0 {
			want = None
		}
		out := &m.result.Sets[i]
		switch {
		case !errors.Is(out.Seal, errNotTried):
			m.fail(fmt.Sprintf("i=%d: %v", i+1, out.Seal))
		case out.CV != want:
			m.fail(fmt.Sprintf("i=%d: the seal has cv=%s", i+1, out.CV))
		case !errors.Is(out.Message, errNotTried):
			m.fail(fmt.Sprintf("i=%d: %v", i+1, out.Message))
		}
	}
}

// fail keeps the first reason.
func (m *Message) fail(why string) {
	if m.result.Status == "" {
		m.result.Status, m.result.Reason = Fail, why
	}
}

// Close ends the message, fetches the keys and returns the result.
func (m *Message) Close(ctx context.Context) Result {
	m.stream.Close()
	if m.result.Status != "" {
		return m.result
	}
	m.keys = map[string]fetched{}
	m.messages(ctx)
	for i := len(m.sets) - 1; i >= 0 && m.result.Status == ""; i-- { // step 6
		out := &m.result.Sets[i]
		s := &m.sets[i]
		out.Seal = m.check(ctx, s.as.selector, s.as.domain, s.as.algorithm, s.as.sig, func() []byte { return sealDigest(m.sets[:i+1]) })
		m.judge(out.Seal, i, "seal")
	}
	if m.result.Status == "" {
		m.result.Status = Pass
	}
	return m.result
}

// messages checks the newest ARC-Message-Signature (step 4), and the older ones as far as they still hold (step 5).
func (m *Message) messages(ctx context.Context) {
	for i := len(m.sets) - 1; i >= 0; i-- {
		out := &m.result.Sets[i]
		out.Message = m.message(ctx, &m.sets[i])
		if i == len(m.sets)-1 {
			m.judge(out.Message, i, "message signature")
		}
		if out.Message != nil {
			return
		}
		m.result.OldestPass = i + 1
	}
}

func (m *Message) judge(err error, i int, what string) {
	if err != nil && m.result.Status == "" {
		m.result.Temporary = errors.Is(err, core.ErrUnreachable)
		m.fail(fmt.Sprintf("i=%d: %s: %v", i+1, what, err))
	}
}

func (m *Message) message(ctx context.Context, s *set) error {
	switch {
	case s.body == nil:
		return errNotTried
	case s.sig.length >= 0 && s.body.Total < s.sig.length:
		return errors.New("body is shorter than l=")
	case !bytes.Equal(s.body.Sum, s.sig.bodyHash):
		return errors.New("body hash does not match")
	}
	return m.check(ctx, s.sig.selector, s.sig.domain, s.sig.algorithm, s.sig.sig, func() []byte {
		return core.Digest(without(m.stream.Fields, s.ams), s.sig.names, s.ams, s.sig.header)
	})
}

// without leaves out the signature's own field, which h= may name and never means itself.
func without(fields []core.Field, own core.Field) []core.Field {
	for i := range fields {
		if &fields[i].Raw[0] == &own.Raw[0] {
			return append(append(make([]core.Field, 0, len(fields)-1), fields[:i]...), fields[i+1:]...)
		}
	}
	return fields
}

func (m *Message) check(ctx context.Context, selector, domain, algorithm string, sig []byte, digest func() []byte) error {
	name := selector + "._domainkey." + domain
	f, ok := m.keys[name]
	if !ok {
		f.key, f.err = core.FetchKey(ctx, m.v.Resolver, m.v.Keys, selector, domain)
		m.keys[name] = f
	}
	if f.err != nil {
		return f.err
	}
	if f.key.Algorithm() != algorithm {
		return errors.New("key is not of the signature's algorithm")
	}
	if err := f.key.Allows(); err != nil {
		return err
	}
	if f.key.Verify(digest(), sig) != nil {
		return errors.New("signature does not match")
	}
	return nil
}

// sealDigest hashes the sets that the last one seals, itself without its b= (RFC 8617 section 5.1.1).
func sealDigest(sets []set) []byte {
	var buf []byte
	for i := range sets {
		buf = core.AppendField(buf, core.Relaxed, sets[i].aar)
		buf = core.AppendField(buf, core.Relaxed, sets[i].ams)
		seal := sets[i].seal
		if i == len(sets)-1 {
			seal = core.Unsigned(seal)
		}
		buf = core.AppendField(buf, core.Relaxed, seal)
	}
	return core.SHA256(bytes.TrimSuffix(buf, core.CRLF))
}

// Method returns the result as Authentication-Results has it (RFC 8601, RFC 8617 section 7).
func (r Result) Method() authres.Method {
	m := authres.Method{Name: "arc", Result: string(r.Status), Reason: r.Reason}
	if r.Status == Pass {
		m.Comment = fmt.Sprintf("i=%d", len(r.Sets))
		m.Properties = []authres.Property{{Type: "header", Name: "oldest-pass", Value: fmt.Sprint(r.oldestPass())}}
	}
	return m
}

// oldestPass is header.oldest-pass, which is 0 if every signature verifies.
func (r Result) oldestPass() int {
	if r.OldestPass == 1 {
		return 0
	}
	return r.OldestPass
}
