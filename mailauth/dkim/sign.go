package dkim

import (
	"crypto"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mailauth/internal/core"
)

// Signer signs for one domain with one key. It is safe for concurrent use if Key is.
type Signer struct {
	Domain   string // A-labels
	Selector string
	Key      crypto.Signer // *rsa.PrivateKey or ed25519.PrivateKey
	Lifetime time.Duration // x=; 0: none
}

// signedNames are signed where present, and once more than present, so that none can be added (RFC 6376 section
// 8.15).
var signedNames = []string{
	"From", "To", "Cc", "Subject", "Date", "Message-ID", "Reply-To", "Sender", "In-Reply-To", "References",
	"MIME-Version", "Content-Type", "Content-Transfer-Encoding", "Content-Disposition", "Content-ID",
	"List-Id", "List-Unsubscribe", "List-Unsubscribe-Post", "List-Post", "Autocrypt", "TLS-Required",
}

// alwaysSigned are signed even where they are absent.
const alwaysSigned = "From To Cc Subject Date Message-ID Reply-To MIME-Version Content-Type Content-Transfer-Encoding "

// Signing is one message on its way to be signed, with relaxed canonicalization of header and body.
type Signing struct {
	now     time.Time
	signers []Signer
	stream  core.Stream
	body    *core.BodyHash
}

// NewSigning begins a message. All signers share one pass over it.
func NewSigning(now time.Time, signers ...Signer) *Signing {
	s := &Signing{now: now, signers: signers}
	s.body = s.stream.Body(Relaxed, -1)
	return s
}

// Write takes the next octets of the message. It never fails.
func (s *Signing) Write(p []byte) (int, error) {
	return s.stream.Write(p)
}

// Header returns the header as far as it was written, for those who choose their signers by it. It must not be changed.
func (s *Signing) Header() []byte { return s.stream.Header() }

// Add lets others sign too. It may come at any time before Close.
func (s *Signing) Add(signers ...Signer) { s.signers = append(s.signers, signers...) }

// Close ends the message and returns one DKIM-Signature field for each signer.
func (s *Signing) Close() ([]mail.Field, error) {
	s.stream.Close()
	if s.stream.TooLarge() {
		return nil, fmt.Errorf("dkim: header is longer than %d octets", MaxHeaderOctets)
	}
	fields := s.stream.Fields
	names := namesFor(fields)
	lower := make([]string, len(names))
	for i, n := range names {
		lower[i] = strings.ToLower(n)
	}
	signed := core.Signed(fields, lower, Relaxed)
	out := make([]mail.Field, 0, len(s.signers))
	for i := range s.signers {
		f, err := s.sign(&s.signers[i], signed, names)
		if err != nil {
			return nil, fmt.Errorf("dkim: signing for %s: %w", s.signers[i].Domain, err)
		}
		out = append(out, f)
	}
	return out, nil
}

func namesFor(fields []core.Field) []string {
	count := make(map[string]int, len(fields))
	for _, f := range fields {
		count[f.Name]++
	}
	var names []string
	for _, n := range signedNames {
		have := count[strings.ToLower(n)]
		if have == 0 && !strings.Contains(alwaysSigned, n+" ") {
			continue
		}
		for range have + 1 {
			names = append(names, n)
		}
	}
	return names
}

func (s *Signing) sign(by *Signer, signed []byte, names []string) (mail.Field, error) {
	algorithm, err := core.AlgorithmOf(by.Key)
	if err != nil {
		return mail.Field{}, err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "v=1; a=%s; c=relaxed/relaxed;\r\n\td=%s; s=%s; t=%d;", algorithm, by.Domain, by.Selector, s.now.Unix())
	if by.Lifetime > 0 {
		b.WriteString(" x=" + strconv.FormatInt(s.now.Add(by.Lifetime).Unix(), 10) + ";")
	}
	b.WriteString("\r\n\th=")
	core.FoldList(&b, names)
	b.WriteString(";\r\n\tbh=" + base64.StdEncoding.EncodeToString(s.body.Sum) + ";\r\n\tb=")
	f := mail.Field{Name: "DKIM-Signature", Value: b.String()}
	d := core.DigestOf(signed, core.Field{Raw: f.Append(nil), Name: "dkim-signature"}, Relaxed)
	f.Value, err = core.Sign(by.Key, f.Value, d)
	return f, err
}
