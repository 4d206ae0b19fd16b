package core

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"strings"
)

// AlgorithmOf is the a= of what a key signs.
func AlgorithmOf(key crypto.Signer) (string, error) {
	if key == nil {
		return "", errors.New("there is no key")
	}
	switch pub := key.Public().(type) {
	case *rsa.PublicKey:
		if pub.N.BitLen() < MinRSABits {
			return "", ErrKeyShort
		}
		return "rsa-sha256", nil
	case ed25519.PublicKey:
		return "ed25519-sha256", nil
	}
	return "", errors.New("key is neither RSA nor Ed25519")
}

// Sign signs a digest and appends the signature, folded, to the value of the field, which ends in "b=".
func Sign(key crypto.Signer, value string, digest []byte) (string, error) {
	var opts crypto.SignerOpts = crypto.SHA256
	if _, ok := key.Public().(ed25519.PublicKey); ok {
		opts = crypto.Hash(0)
	}
	sig, err := key.Sign(rand.Reader, digest, opts)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString(value)
	text := base64.StdEncoding.EncodeToString(sig)
	for len(text) > 72 {
		b.WriteString(text[:72] + "\r\n\t")
		text = text[72:]
	}
	b.WriteString(text)
	return b.String(), nil
}

// ParseCanonicalizations reads c= (RFC 6376 section 3.5).
func ParseCanonicalizations(c string) (header, body Canonicalization, ok bool) {
	h, b, _ := strings.Cut(strings.ToLower(c), "/")
	header, hok := canonicalization(h)
	body, bok := canonicalization(b)
	return header, body, hok && bok
}

func canonicalization(s string) (Canonicalization, bool) {
	switch s {
	case "simple", "":
		return Simple, true
	case "relaxed":
		return Relaxed, true
	}
	return Simple, false
}
