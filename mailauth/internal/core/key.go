package core

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/samotop/samotop/resolver"
)

// TXT is the part of resolver.Resolver that is needed.
type TXT interface {
	TXT(ctx context.Context, name string) ([]string, resolver.Answer, error)
}

// Key is a key record (RFC 6376 section 3.6.1).
type Key struct {
	Public  crypto.PublicKey // *rsa.PublicKey or ed25519.PublicKey; nil: revoked
	Hashes  []string         // h=; nil: all
	Service []string         // s=; nil: all
	Testing bool             // t=y
	Strict  bool             // t=s: i= must be of the very domain
	Notes   string
}

// Reasons for which a key is not used.
var (
	errKeySyntax  = errors.New("key record is malformed")
	errKeyType    = errors.New("key record has an unknown type")
	ErrKeyRevoked = errors.New("key is revoked")
	ErrKeyShort   = fmt.Errorf("RSA key is shorter than %d bits (RFC 8301 section 3.2)", MinRSABits)
	errKeyLong    = fmt.Errorf("RSA key is longer than %d bits", MaxRSABits)
)

// ParseKey reads a key record.
func ParseKey(s string) (*Key, error) {
	if len(s) > MaxKeyOctets {
		return nil, errKeySyntax
	}
	tags, err := ParseTags(s)
	if err != nil {
		return nil, errKeySyntax
	}
	if v, ok := Get(tags, "v"); ok && (v != "DKIM1" || tags[0].Name != "v") {
		return nil, errKeySyntax
	}
	p, ok := Get(tags, "p")
	if !ok {
		return nil, errKeySyntax
	}
	k := &Key{}
	k.Notes, _ = Get(tags, "n")
	if h, ok := Get(tags, "h"); ok {
		k.Hashes = ColonList(h)
	}
	if s, ok := Get(tags, "s"); ok {
		k.Service = ColonList(s)
	}
	if t, ok := Get(tags, "t"); ok {
		for _, f := range ColonList(t) {
			k.Testing = k.Testing || f == "y"
			k.Strict = k.Strict || f == "s"
		}
	}
	if p == "" {
		return k, ErrKeyRevoked
	}
	der, err := DecodeBase64(p)
	if err != nil {
		return nil, errKeySyntax
	}
	typ, ok := Get(tags, "k")
	if !ok {
		typ = "rsa"
	}
	switch typ {
	case "rsa":
		k.Public, err = parseRSA(der)
	case "ed25519": // RFC 8463 section 4
		if len(der) != ed25519.PublicKeySize {
			return nil, errKeySyntax
		}
		k.Public = ed25519.PublicKey(der)
	default:
		return nil, errKeyType
	}
	return k, err
}

// parseRSA reads a SubjectPublicKeyInfo, as everybody publishes it, or the RSAPublicKey that RFC 6376 section 3.6.1
// speaks of.
func parseRSA(der []byte) (*rsa.PublicKey, error) {
	var key *rsa.PublicKey
	if pub, err := x509.ParsePKIXPublicKey(der); err == nil {
		k, ok := pub.(*rsa.PublicKey)
		if !ok {
			return nil, errKeySyntax
		}
		key = k
	} else if k, err := x509.ParsePKCS1PublicKey(der); err == nil {
		key = k
	} else {
		return nil, errKeySyntax
	}
	switch bits := key.N.BitLen(); {
	case bits < MinRSABits:
		return nil, ErrKeyShort
	case bits > MaxRSABits:
		return nil, errKeyLong
	}
	return key, nil
}

// allows reports whether the key may be used for mail with SHA-256.
func (k *Key) Allows() error {
	if k.Hashes != nil && !Contains(k.Hashes, "sha256") {
		return errors.New("key does not allow SHA-256")
	}
	if k.Service != nil && !Contains(k.Service, "*") && !Contains(k.Service, "email") {
		return errors.New("key is not for e-mail")
	}
	return nil
}

func Contains(list []string, s string) bool {
	for _, x := range list {
		if strings.EqualFold(x, s) {
			return true
		}
	}
	return false
}

// verify checks a signature over a SHA-256 Digest. RFC 8463 section 3: Ed25519 signs the Digest, not the text.
func (k *Key) Verify(Digest, sig []byte) error {
	switch pub := k.Public.(type) {
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(pub, crypto.SHA256, Digest, sig)
	case ed25519.PublicKey:
		if !ed25519.Verify(pub, Digest, sig) {
			return errors.New("ed25519 verification error")
		}
		return nil
	}
	return errKeyType
}

// algorithm is the a= that goes with the key.
func (k *Key) Algorithm() string {
	if _, ok := k.Public.(ed25519.PublicKey); ok {
		return "ed25519-sha256"
	}
	return "rsa-sha256"
}

// Record returns the key record to publish for a public key at selector._domainkey.domain.
func Record(pub crypto.PublicKey) (string, error) {
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		der, err := x509.MarshalPKIXPublicKey(pub)
		if err != nil {
			return "", err
		}
		return "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der), nil
	case ed25519.PublicKey:
		return "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(pub), nil
	}
	return "", errKeyType
}

func SHA256(b []byte) []byte {
	sum := sha256.Sum256(b)
	return sum[:]
}

// Why there is no key to verify with.
var (
	ErrNoKey       = errors.New("there is no key")
	ErrUnreachable = errors.New("key could not be fetched") // now
)

// maxRecords is how many records of one name are looked at.
const maxRecords = 10

// FetchKey fetches the key at selector._domainkey.domain. Several records are undefined (RFC 6376 section 3.6.2.2): the
// first that is a key is taken.
func FetchKey(ctx context.Context, dns TXT, keys *Keys, selector, domain string) (*Key, error) {
	if dns == nil {
		return nil, fmt.Errorf("%w: no resolver", ErrUnreachable)
	}
	records, _, err := dns.TXT(ctx, selector+"._domainkey."+domain)
	switch {
	case errors.Is(err, resolver.ErrNoName), errors.Is(err, resolver.ErrNoData), errors.Is(err, resolver.ErrBadName), err == nil && len(records) == 0:
		return nil, ErrNoKey
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	var key *Key
	for _, r := range records[:min(len(records), maxRecords)] {
		if key, err = keys.Parse(r); err == nil || errors.Is(err, ErrKeyRevoked) {
			break
		}
	}
	return key, err
}
