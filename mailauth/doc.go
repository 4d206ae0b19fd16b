// Package mailauth puts the checks of its folders together: is this mail what it claims to be? SPF is asked when the first
// recipient is named; DKIM, ARC and DMARC look at the content while it streams by, and are decided at its end.
//
//	c := &mailauth.Checker{Resolver: dns, ID: "mx.example.org"}
//	door, err := mail.Chain(guard, c.Middleware())
//
// or by hand:
//
//	k := c.Begin(mailauth.Facts{IP: ip, Hello: "client.test", From: sender})
//	io.Copy(k, content)
//	report := k.Close(ctx)
//	report.Action, report.Findings, report.Field("mx.example.org")
//
// Promises. A Checker is safe for concurrent use. A message is read once; of it only the header is held. The checks of
// one message take at most Checker.Time; what is not known by then is temperror. What becomes of a message is said by
// Rules, which are data, and every Finding names the rule's action and the reason.
package mailauth
