package mail

import "time"

// Body is the BODY parameter of MAIL (RFC 6152, RFC 3030).
type Body uint8

const (
	Body7Bit   Body = iota // not given, or BODY=7BIT
	Body8Bit               // BODY=8BITMIME
	BodyBinary             // BODY=BINARYMIME: lines need not end in CRLF
)

// Ret is the RET parameter of MAIL (RFC 3461 section 4.3).
type Ret uint8

const (
	RetUnset Ret = iota
	RetFull
	RetHeaders
)

// Notify is the NOTIFY parameter of RCPT (RFC 3461 section 4.1), a set. Zero: not given.
type Notify uint8

const (
	NotifyNever Notify = 1 << iota
	NotifySuccess
	NotifyFailure
	NotifyDelay
)

// Param is an ESMTP parameter that a program added to the server; Value is as it came, HasValue tells "K=" from "K".
type Param struct {
	Keyword  string
	Value    string
	HasValue bool
}

// DeliverBy is the BY parameter of MAIL (RFC 2852). Zero: not given.
type DeliverBy struct {
	Deadline time.Time
	Return   bool // by-mode R: return the message when the time is over; else N: notify and go on
	Trace    bool // by-trace T
}

// Sender is MAIL FROM with its parameters, decoded.
type Sender struct {
	Address    Address // reverse-path; zero is <>
	Size       int64   // SIZE (RFC 1870), octets; 0 if not given
	Body       Body
	UTF8       bool   // SMTPUTF8 (RFC 6531)
	Ret        Ret    // RET (RFC 3461)
	EnvelopeID string // ENVID (RFC 3461), xtext decoded
	Auth       string // AUTH (RFC 4954 section 5), xtext decoded: an address or "<>"; "" if not given
	RequireTLS bool   // REQUIRETLS (RFC 8689)
	Priority   int8   // MT-PRIORITY (RFC 6710), -9 to 9; 0 if not given
	HoldUntil  time.Time
	DeliverBy  DeliverBy
	Params     []Param
}

// Recipient is RCPT TO with its parameters, decoded.
type Recipient struct {
	Address    Address // forward-path
	Notify     Notify
	Original   string // ORCPT (RFC 3461 section 4.2) as type;address, xtext decoded; "" if not given
	RRVS       time.Time
	Folder     string // mailbox to deliver to, "" for INBOX; XFOLDER between our rooms
	DeliveryID string // a repeated id answers 250 and stores nothing; XDELIVERY between our rooms
	Params     []Param

	// Failed says that this recipient is refused for good and its sender has not been told: a queue does not try
	// it, it only reports it, where a report may go. Doors that deliver refuse a recipient with Failed set.
	Failed *Reply

	// Targets may be set by the Receiver that accepts: where the message really goes. Empty: to Address.
	// A transaction that keeps nothing (a guard) sets it; a caller that delivers follows it.
	Targets []Target
}

// Target is where a recipient's mail really goes.
type Target struct {
	Address Address
	Folder  string // a mailbox of that address; "" for INBOX
	Remote  bool   // not ours: goes to the queue
	Note    string // of a guard's last word: what it thinks of the message, for a header field; further lines are fields of their own
}

// Envelope is a sender with its recipients.
type Envelope struct {
	Sender     Sender
	Recipients []Recipient
}

// Field is a header field that we add, without the line end: Name "Received", Value "from a by b; date". A Value may be folded
// (CRLF followed by white space) and must not hold any other CR or LF.
type Field struct{ Name, Value string }

// Append appends the field as it stands in a message, with its CRLF. A CR or LF in it that is not folding becomes
// a space, so that no value can end the field.
func (f Field) Append(dst []byte) []byte {
	dst = append(dst, f.Name...)
	dst = append(dst, ':', ' ')
	v := f.Value
	for i := 0; i < len(v); i++ {
		if v[i] != '\r' && v[i] != '\n' {
			dst = append(dst, v[i])
			continue
		}
		if v[i] == '\r' && i+2 < len(v) && v[i+1] == '\n' && (v[i+2] == ' ' || v[i+2] == '\t') {
			dst = append(dst, '\r', '\n')
			i++
			continue
		}
		dst = append(dst, ' ')
	}
	return append(dst, '\r', '\n')
}
