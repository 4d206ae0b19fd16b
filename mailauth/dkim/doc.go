// Package dkim verifies and makes DomainKeys Identified Mail signatures (RFC 6376, RFC 8301, RFC 8463).
//
//	v := &dkim.Verifier{Resolver: dns}
//	m := v.Message()          // an io.Writer
//	io.Copy(m, message)       // one pass, however many signatures
//	results := m.Close(ctx)   // one for each signature, in the order of the header
//
//	s := dkim.NewSigning(now, signers...) // the same for signing
//	io.Copy(s, message)
//	fields, err := s.Close()
//
// Promises. A message is read once, streaming; only its header is held, up to MaxHeaderOctets. rsa-sha1 and RSA keys
// under 1024 bits never pass (RFC 8301). A message with thousands of signatures costs no more than one with
// MaxSignatures. Nothing here panics or blocks but for the resolver.
package dkim

import "github.com/samotop/samotop/mailauth/internal/core"

// Limits.
const (
	MaxHeaderOctets    = core.MaxHeaderOctets // of a message's header; a longer one has no result
	MaxSignatures      = 10                   // verified; those after it are reported as policy
	MaxSignatureOctets = core.MaxSignatureOctets
	MaxKeyOctets       = core.MaxKeyOctets // of a key record
	MinRSABits         = core.MinRSABits   // RFC 8301 section 3.2
	MaxRSABits         = core.MaxRSABits   // above it, verifying is an attack on us
	MaxHeaderNames     = core.MaxHeaderNames
)
