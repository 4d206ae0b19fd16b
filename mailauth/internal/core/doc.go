// Package core is what DKIM (RFC 6376) and ARC (RFC 8617) share: canonicalization, hashing of a body that streams by,
// tag-lists and keys. Nothing in it panics, whatever it is given; what it holds is bounded by the limits below.
package core

// Limits.
const (
	MaxHeaderOctets    = 1 << 20 // of a message's header
	MaxSignatureOctets = 16 << 10
	MaxKeyOctets       = 8 << 10 // of a key record
	MinRSABits         = 1024    // RFC 8301 section 3.2
	MaxRSABits         = 8192    // above it, verifying is an attack on us
	MaxHeaderNames     = 500     // in h=
)
