// Package report makes and reads the reports of mail authentication: DMARC aggregate reports (RFC 9990, and those of RFC
// 7489), failure and abuse reports (ARF, RFC 5965, RFC 6591, RFC 9991), and SMTP TLS reports (RFC 8460).
//
//	rs, err := report.Read(message)   // any of them, out of a whole message
//	switch r := rs[0].(type) {
//	case *report.Aggregate:
//	case *report.Feedback:
//	case *report.TLS:
//	}
//
// Promises. What is read is bounded before it is unpacked and after: a bomb in gzip, zip or XML costs at most Max octets,
// and entities of XML are never expanded. Nothing a report says is believed: a report is data.
package report

import "errors"

// Limits.
const (
	MaxMessageOctets = 32 << 20
	MaxPackedOctets  = 16 << 20 // of a report as it came, packed or not
	MaxOctets        = 32 << 20 // of a report, unpacked
	MaxRecords       = 50_000   // of an aggregate report, or policies and failures of a TLS report
	MaxText          = 4 << 10  // octets of one value
	MaxDepth         = 20       // of XML elements
	MaxFields        = 1000     // of a feedback report
)

// Errors.
var (
	ErrNoReport = errors.New("there is no report in it")
	ErrTooLarge = errors.New("report is too large")
	ErrSyntax   = errors.New("report is malformed")
)
