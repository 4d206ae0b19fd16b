package arc

import (
	"crypto"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mailauth/authres"
	"github.com/samotop/samotop/mailauth/internal/core"
)

// Sealer seals for one domain with one key. It is safe for concurrent use if Key is.
type Sealer struct {
	Domain   string // A-labels
	Selector string
	Key      crypto.Signer // *rsa.PrivateKey or ed25519.PrivateKey
	ID       string        // our authserv-id
}

// Reasons for not sealing.
var (
	ErrEnded = errors.New("arc: the chain has failed and been sealed as failed; it must not be continued (RFC 8617 section 5.1)")
	ErrFull  = fmt.Errorf("arc: the chain has %d instances already", MaxInstances)
)

// signedNames are signed where they are present, as often as they are.
var signedNames = []string{
	"From", "To", "Cc", "Subject", "Date", "Message-ID", "Reply-To", "Sender", "In-Reply-To", "References",
	"MIME-Version", "Content-Type", "Content-Transfer-Encoding", "Content-Disposition", "Content-ID",
	"List-Id", "List-Unsubscribe", "List-Unsubscribe-Post", "List-Post", "Autocrypt", "DKIM-Signature",
}

// Sealing is one message on its way to be sealed.
type Sealing struct {
	now    time.Time
	sealer Sealer
	stream core.Stream
	body   *core.BodyHash
}

// NewSealing begins a message.
func NewSealing(now time.Time, s Sealer) *Sealing {
	m := &Sealing{now: now, sealer: s}
	m.body = m.stream.Body(core.Relaxed, -1)
	return m
}

// Write takes the next octets of the message, as it will be sent on. It never fails.
func (s *Sealing) Write(p []byte) (int, error) {
	return s.stream.Write(p)
}

// Close ends the message and returns the three fields of our set, to be put in front of the message in this order.
// chain is what a Verifier found when the message came in, of which only Status is needed; results what else was found
// then.
func (s *Sealing) Close(chain Result, results authres.Results) ([]mail.Field, error) {
	s.stream.Close()
	if s.stream.TooLarge() {
		return nil, fmt.Errorf("arc: %w", errHeaderBig)
	}
	fields := s.stream.Fields
	sets, highest, err := collect(fields)
	switch {
	case chain.ended || err == nil && endsIn(sets):
		return nil, ErrEnded
	case highest >= MaxInstances:
		return nil, ErrFull
	case err == nil && highest > 0 && chain.Status == None, highest == 0 && err == nil && chain.Status != None:
		return nil, errors.New("arc: the result is not of this message")
	}
	if chain.Status == Fail {
		sets = nil // section 5.1.2: only our own set is sealed
	}
	i := highest + 1
	results.ID = s.sealer.ID
	aar := mail.Field{Name: "ARC-Authentication-Results", Value: fmt.Sprintf("i=%d; %s", i, results.Value())}
	ams, err := s.message(i, fields)
	if err != nil {
		return nil, fmt.Errorf("arc: sealing for %s: %w", s.sealer.Domain, err)
	}
	seal, err := s.seal(i, chain.Status, append(sets, set{aar: ownField(aar), ams: ownField(ams)}))
	if err != nil {
		return nil, fmt.Errorf("arc: sealing for %s: %w", s.sealer.Domain, err)
	}
	return []mail.Field{seal, ams, aar}, nil
}

// endsIn reports whether the newest seal says that the chain had failed.
func endsIn(sets []set) bool {
	if len(sets) == 0 {
		return false
	}
	s, err := parseSeal(sets[len(sets)-1].seal)
	return err == nil && s.cv == Fail
}

func ownField(f mail.Field) core.Field {
	return core.Field{Raw: f.Append(nil), Name: strings.ToLower(f.Name)}
}

// message makes the ARC-Message-Signature (RFC 8617 section 4.1.2).
func (s *Sealing) message(i int, fields []core.Field) (mail.Field, error) {
	count := map[string]int{}
	for _, f := range fields {
		count[f.Name]++
	}
	var names, lower []string
	for _, n := range signedNames {
		for range min(count[strings.ToLower(n)], core.MaxHeaderNames/len(signedNames)) {
			names, lower = append(names, n), append(lower, strings.ToLower(n))
		}
	}
	algorithm, err := core.AlgorithmOf(s.sealer.Key)
	if err != nil {
		return mail.Field{}, err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "i=%d; a=%s; c=relaxed/relaxed;\r\n\td=%s; s=%s; t=%d;\r\n\th=", i, algorithm, s.sealer.Domain, s.sealer.Selector, s.now.Unix())
	core.FoldList(&b, names)
	b.WriteString(";\r\n\tbh=" + base64.StdEncoding.EncodeToString(s.body.Sum) + ";\r\n\tb=")
	f := mail.Field{Name: "ARC-Message-Signature", Value: b.String()}
	f.Value, err = core.Sign(s.sealer.Key, f.Value, core.Digest(fields, lower, ownField(f), core.Relaxed))
	return f, err
}

// seal makes the ARC-Seal (section 4.1.3).
func (s *Sealing) seal(i int, cv Status, sets []set) (mail.Field, error) {
	algorithm, err := core.AlgorithmOf(s.sealer.Key)
	if err != nil {
		return mail.Field{}, err
	}
	f := mail.Field{Name: "ARC-Seal", Value: fmt.Sprintf("i=%d; a=%s; t=%d; cv=%s;\r\n\td=%s; s=%s;\r\n\tb=",
		i, algorithm, s.now.Unix(), cv, s.sealer.Domain, s.sealer.Selector)}
	sets[len(sets)-1].seal = ownField(f)
	f.Value, err = core.Sign(s.sealer.Key, f.Value, sealDigest(sets))
	return f, err
}
