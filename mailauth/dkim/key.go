package dkim

import (
	"crypto"

	"github.com/samotop/samotop/mailauth/internal/core"
)

// TXT is the part of resolver.Resolver that is needed.
type TXT = core.TXT

// Key is a key record (RFC 6376 section 3.6.1).
type Key = core.Key

// Keys remembers keys that were read, by their records, for Verifiers that share it. Its zero value is ready for use.
type Keys = core.Keys

// Canonicalization is an algorithm of RFC 6376 section 3.4.
type Canonicalization = core.Canonicalization

// The algorithms.
const (
	Simple  = core.Simple
	Relaxed = core.Relaxed
)

// ParseKey reads a key record. A revoked key gives an error, and the rest of what the record says.
func ParseKey(s string) (*Key, error) { return core.ParseKey(s) }

// Record returns the key record to publish for a public key at selector._domainkey.domain.
func Record(pub crypto.PublicKey) (string, error) { return core.Record(pub) }
