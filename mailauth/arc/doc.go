// Package arc verifies and extends Authenticated Received Chains (RFC 8617): what each host that forwarded a message
// says about what it had found, so that a list or a forwarder that breaks signatures need not break trust.
//
//	m := (&arc.Verifier{Resolver: dns}).Message() // an io.Writer
//	io.Copy(m, message)                           // one pass, however long the chain
//	res := m.Close(ctx)                           // res.Status, res.Sets
//
//	s := arc.NewSealing(now, arc.Sealer{Domain: "example.org", Selector: "arc", Key: key, ID: "mx.example.org"})
//	io.Copy(s, message)
//	fields, err := s.Close(res, results)          // to be put in front of the message, in this order
//
// Promises. A message is read once; only its header is held, up to MaxHeaderOctets. A chain has at most MaxInstances
// sets; a longer one fails without any question being asked. Each key is fetched once. rsa-sha1 and RSA keys under 1024
// bits never pass.
package arc

import "github.com/samotop/samotop/mailauth/internal/core"

// Limits.
const (
	MaxInstances    = 50 // RFC 8617 section 4.2.1
	MaxHeaderOctets = core.MaxHeaderOctets
	MaxFieldOctets  = core.MaxSignatureOctets // of an ARC-Message-Signature or ARC-Seal
)

// Status is the validation status of a chain (RFC 8617 section 4.4).
type Status string

const (
	None Status = "none" // there is no chain
	Pass Status = "pass"
	Fail Status = "fail"
)
