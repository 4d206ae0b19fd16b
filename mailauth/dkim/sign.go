package dkim

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/samotop/samotop/mail"
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
	head    head
	body    *bodyHash
}

// NewSigning begins a message. All signers share one pass over it.
func NewSigning(now time.Time, signers ...Signer) *Signing {
	return &Signing{now: now, signers: signers, body: newBodyHash(Relaxed, sha256.New(), -1)}
}

// Write takes the next octets of the message. It never fails.
func (s *Signing) Write(p []byte) (int, error) {
	s.body.write(s.head.write(p))
	return len(p), nil
}

// Close ends the message and returns one DKIM-Signature field for each signer.
func (s *Signing) Close() ([]mail.Field, error) {
	if s.head.tooLarge {
		return nil, fmt.Errorf("dkim: header is longer than %d octets", MaxHeaderOctets)
	}
	s.body.close()
	fields := splitHeader(s.head.buf)
	names := namesFor(fields)
	out := make([]mail.Field, 0, len(s.signers))
	for i := range s.signers {
		f, err := s.sign(&s.signers[i], fields, names)
		if err != nil {
			return nil, fmt.Errorf("dkim: signing for %s: %w", s.signers[i].Domain, err)
		}
		out = append(out, f)
	}
	return out, nil
}

func namesFor(fields []field) []string {
	count := make(map[string]int, len(fields))
	for _, f := range fields {
		count[f.name]++
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

func (s *Signing) sign(by *Signer, fields []field, names []string) (mail.Field, error) {
	algorithm := ""
	var opts crypto.SignerOpts = crypto.SHA256
	switch pub := by.Key.Public().(type) {
	case *rsa.PublicKey:
		if pub.N.BitLen() < MinRSABits {
			return mail.Field{}, errKeyShort
		}
		algorithm = "rsa-sha256"
	case ed25519.PublicKey:
		algorithm, opts = "ed25519-sha256", crypto.Hash(0)
	default:
		return mail.Field{}, errors.New("key is neither RSA nor Ed25519")
	}
	var b strings.Builder
	fmt.Fprintf(&b, "v=1; a=%s; c=relaxed/relaxed;\r\n\td=%s; s=%s; t=%d;", algorithm, by.Domain, by.Selector, s.now.Unix())
	if by.Lifetime > 0 {
		b.WriteString(" x=" + strconv.FormatInt(s.now.Add(by.Lifetime).Unix(), 10) + ";")
	}
	b.WriteString("\r\n\th=")
	foldList(&b, names)
	b.WriteString(";\r\n\tbh=" + base64.StdEncoding.EncodeToString(s.body.sum) + ";\r\n\tb=")
	f := mail.Field{Name: "DKIM-Signature", Value: b.String()}
	lower := make([]string, len(names))
	for i, n := range names {
		lower[i] = strings.ToLower(n)
	}
	d := digest(fields, lower, field{f.Append(nil), "dkim-signature"}, Relaxed)
	sig, err := by.Key.Sign(rand.Reader, d, opts)
	if err != nil {
		return mail.Field{}, err
	}
	text := base64.StdEncoding.EncodeToString(sig)
	for len(text) > 72 {
		b.WriteString(text[:72] + "\r\n\t")
		text = text[72:]
	}
	b.WriteString(text)
	f.Value = b.String()
	return f, nil
}

// foldList writes a colon list in lines of at most 76 octets.
func foldList(b *strings.Builder, names []string) {
	line := len("\th=")
	for i, n := range names {
		if i > 0 {
			b.WriteByte(':')
			line++
		}
		if line+len(n) > 74 {
			b.WriteString("\r\n\t")
			line = 1
		}
		b.WriteString(n)
		line += len(n)
	}
}
