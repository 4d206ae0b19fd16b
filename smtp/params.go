package smtp

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/samotop/samotop/mail"
)

// Limits of parameters that no standard and no line length sets tightly enough.
const (
	maxParams        = 32
	maxEnvelopeID    = 100 // RFC 3461 section 4.4, octets before decoding
	maxOriginal      = 500 // RFC 3461 section 4.2
	maxByOctets      = 10  // RFC 2852 section 4: a sign and nine digits
	maxSolicitOctets = 1000
	maxDeliveryID    = 256
	maxFolderOctets  = 1024
)

// rules is what decides which parameters are understood: what is offered in this state of the session.
type rules struct {
	ext         Extension
	auth        bool // AUTH is offered
	trusted     bool
	tls         bool
	authed      bool
	utf8        bool // the transaction is SMTPUTF8
	now         time.Time
	maxMessage  int64
	maxHold     time.Duration
	minBy       time.Duration
	solicit     []string
	mail, rcpt  []string // added by the program
	traceOctets int
}

func (p *rules) has(e Extension) bool { return p.ext&e != 0 }

// mailParams is what MAIL may carry beyond mail.Sender, between our own rooms.
type mailParams struct {
	facts  string // XFACTS, decoded as far as xtext; "" if not given
	trace  int    // XTRACE, octets
	settle bool   // XSETTLED: the peer wants to be told
}

func syntax(text string) *mail.Reply { return mail.NewReply(501, mail.Enhanced{5, 5, 4}, text) }

func unknownParam(k string) *mail.Reply {
	return mail.NewReply(555, mail.Enhanced{5, 5, 4}, "Parameter %s is not recognized or not available here", k)
}

// parseMail reads the argument of MAIL (RFC 5321 section 4.1.1.2).
func parseMail(arg string, ru *rules) (from mail.Sender, extra mailParams, refusal *mail.Reply) {
	s, ok := pathArg(arg, "FROM:")
	if !ok {
		return from, extra, mail.NewReply(501, mail.Enhanced{5, 5, 4}, "Say MAIL FROM:<address>")
	}
	a, rest, err := mail.ParsePath(s)
	if err != nil || a.Domain == "" && a.Local != "" {
		if err == nil {
			err = mail.ErrAddressSyntax
		}
		return from, extra, mail.NewReply(501, mail.Enhanced{5, 1, 7}, "Bad sender address: "+err.Error())
	}
	from.Address = a
	refusal = eachParam(rest, func(k, v string, has bool) *mail.Reply {
		return mailParam(&from, &extra, ru, k, v, has)
	})
	if refusal != nil {
		return from, extra, refusal
	}
	if a.UTF8() && !from.UTF8 { // RFC 6531 section 3.5
		return from, extra, mail.NewReply(553, mail.Enhanced{5, 6, 7}, "This sender address needs SMTPUTF8")
	}
	return from, extra, nil
}

// eachParam takes esmtp-params apart (RFC 5321 section 4.1.2).
func eachParam(s string, f func(k, v string, has bool) *mail.Reply) *mail.Reply {
	if s != "" && s[0] != ' ' {
		return syntax("Say a space between address and parameters")
	}
	var seen [maxParams]string
	n := 0
	for s != "" {
		word, rest, _ := strings.Cut(s, " ")
		s = rest
		if word == "" {
			continue
		}
		k, v, has := strings.Cut(word, "=")
		k = strings.ToUpper(k)
		if !isKeyword(k) || has && !isValue(v) {
			return syntax("Parameter is not of the form KEYWORD[=value]")
		}
		if n == maxParams {
			return syntax("Too many parameters")
		}
		for _, old := range seen[:n] {
			if old == k {
				return syntax("Parameter " + k + " is given twice")
			}
		}
		seen[n] = k
		n++
		if refusal := f(k, v, has); refusal != nil {
			return refusal
		}
	}
	return nil
}

func isKeyword(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		letdig := c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letdig && (c != '-' || i == 0) {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

// isValue checks esmtp-value, with the UTF-8 of RFC 6531 section 3.3.
func isValue(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c == '=' || c == 0x7f {
			return false
		}
	}
	return s != "" && utf8.ValidString(s)
}

func mailParam(from *mail.Sender, extra *mailParams, ru *rules, k, v string, has bool) *mail.Reply {
	switch {
	case k == "SIZE" && ru.has(ExtSize):
		return sizeParam(from, ru, v)
	case k == "BODY" && ru.has(Ext8BitMIME):
		return bodyParam(from, ru, v)
	case k == "SMTPUTF8" && ru.has(ExtSMTPUTF8):
		from.UTF8 = true
		return noValue(k, has)
	case k == "RET" && ru.has(ExtDSN):
		return retParam(from, v)
	case k == "ENVID" && ru.has(ExtDSN):
		id, err := mail.DecodeXtext(v)
		if err != nil || v == "" || len(v) > maxEnvelopeID || !isPrintable(id) {
			return syntax("ENVID must be xtext of at most 100 characters")
		}
		from.EnvelopeID = id
	case k == "AUTH" && (ru.auth || ru.trusted):
		return authParam(from, ru, v)
	case k == "REQUIRETLS" && ru.has(ExtRequireTLS) && (ru.tls || ru.trusted): // RFC 8689 section 2
		from.RequireTLS = true
		return noValue(k, has)
	case k == "MT-PRIORITY" && ru.has(ExtPriority):
		return priorityParam(from, v)
	case k == "BY" && ru.has(ExtDeliverBy):
		return byParam(from, ru, v)
	case (k == "HOLDFOR" || k == "HOLDUNTIL") && ru.has(ExtFutureRelease):
		return holdParam(from, ru, k, v)
	case k == "SOLICIT" && ru.has(ExtNoSoliciting):
		return solicitParam(from, ru, v)
	case k == "XFACTS" && ru.trusted:
		extra.facts = v
	case k == "XTRACE" && ru.trusted:
		n, err := strconv.ParseUint(v, 10, 31)
		if err != nil || int(n) > ru.traceOctets {
			return syntax("XTRACE must be a number of octets within the limit")
		}
		extra.trace = int(n)
	case k == wordSettled && ru.trusted:
		extra.settle = true
		return noValue(k, has)
	case contains(ru.mail, k):
		from.Params = append(from.Params, mail.Param{Keyword: k, Value: v, HasValue: has})
	default:
		return unknownParam(k)
	}
	return nil
}

func contains(list []string, k string) bool {
	for _, s := range list {
		if strings.EqualFold(s, k) {
			return true
		}
	}
	return false
}

func noValue(k string, has bool) *mail.Reply {
	if has {
		return syntax(k + " takes no value")
	}
	return nil
}

func isPrintable(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// sizeParam reads SIZE (RFC 1870 section 6).
func sizeParam(from *mail.Sender, ru *rules, v string) *mail.Reply {
	if v == "" || len(v) > 20 || strings.Trim(v, "0123456789") != "" {
		return syntax("SIZE must be a number of at most 20 digits")
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n > ru.maxMessage {
		return tooBig(ru.maxMessage)
	}
	from.Size = n
	return nil
}

func tooBig(max int64) *mail.Reply {
	return mail.NewReply(552, mail.Enhanced{5, 3, 4}, "Message is larger than the %d octets we take", max)
}

// bodyParam reads BODY (RFC 6152 section 2, RFC 3030 section 3).
func bodyParam(from *mail.Sender, ru *rules, v string) *mail.Reply {
	switch strings.ToUpper(v) {
	case "7BIT":
		from.Body = mail.Body7Bit
	case "8BITMIME":
		from.Body = mail.Body8Bit
	case "BINARYMIME":
		if !ru.has(ExtBinaryMIME) {
			return mail.NewReply(555, mail.Enhanced{5, 5, 4}, "BODY=BINARYMIME is not available here")
		}
		from.Body = mail.BodyBinary
	default:
		return syntax("BODY must be 7BIT, 8BITMIME or BINARYMIME")
	}
	return nil
}

func retParam(from *mail.Sender, v string) *mail.Reply {
	switch strings.ToUpper(v) {
	case "FULL":
		from.Ret = mail.RetFull
	case "HDRS":
		from.Ret = mail.RetHeaders
	default:
		return syntax("RET must be FULL or HDRS")
	}
	return nil
}

// authParam reads AUTH of MAIL (RFC 4954 section 5). Nobody who is unknown to us may vouch for another, so his word
// counts as "<>".
func authParam(from *mail.Sender, ru *rules, v string) *mail.Reply {
	id, err := mail.DecodeXtext(v)
	if err != nil || v == "" {
		return syntax("AUTH must be xtext or <>")
	}
	if id != "<>" {
		if _, err := mail.ParseAddress(id); err != nil {
			return syntax("AUTH must be an address or <>")
		}
		if !ru.authed && !ru.trusted {
			id = "<>"
		}
	}
	from.Auth = id
	return nil
}

func priorityParam(from *mail.Sender, v string) *mail.Reply { // RFC 6710 section 4
	n, err := strconv.Atoi(v)
	if err != nil || n < -9 || n > 9 || len(v) > 2 || v[0] == '+' {
		return syntax("MT-PRIORITY must be a number from -9 to 9")
	}
	from.Priority = int8(n)
	return nil
}

// byParam reads BY=seconds;mode[T] (RFC 2852 section 4).
func byParam(from *mail.Sender, ru *rules, v string) *mail.Reply {
	secs, mode, ok := strings.Cut(v, ";")
	n, err := strconv.ParseInt(secs, 10, 64)
	if !ok || err != nil || len(secs) > maxByOctets || n > 999999999 || n < -999999999 {
		return syntax("BY must be seconds;R or seconds;N")
	}
	mode = strings.ToUpper(mode)
	by := mail.DeliverBy{Deadline: ru.now.Add(time.Duration(n) * time.Second)}
	switch mode {
	case "R", "RT":
		by.Return = true
	case "N", "NT":
	default:
		return syntax("BY must be seconds;R or seconds;N")
	}
	by.Trace = len(mode) == 2
	if by.Return && n <= 0 {
		return syntax("BY with mode R needs a time to come")
	}
	if by.Return && time.Duration(n)*time.Second < ru.minBy {
		return mail.NewReply(501, mail.Enhanced{5, 5, 4}, "BY must leave us at least %d seconds", int(ru.minBy.Seconds()))
	}
	from.DeliverBy = by
	return nil
}

// holdParam reads HOLDFOR and HOLDUNTIL (RFC 4865 section 5); only one of them may be given.
func holdParam(from *mail.Sender, ru *rules, k, v string) *mail.Reply {
	if !from.HoldUntil.IsZero() {
		return syntax("HOLDFOR and HOLDUNTIL exclude each other")
	}
	until := time.Time{}
	if k == "HOLDFOR" {
		n, err := strconv.ParseUint(v, 10, 31)
		if err != nil || n == 0 || len(v) > 9 {
			return syntax("HOLDFOR must be a number of seconds")
		}
		until = ru.now.Add(time.Duration(n) * time.Second)
	} else {
		t, err := time.Parse(time.RFC3339, v)
		if err != nil {
			return syntax("HOLDUNTIL must be a date and time of RFC 3339")
		}
		until = t
	}
	if until.After(ru.now.Add(ru.maxHold)) {
		return mail.NewReply(501, mail.Enhanced{5, 5, 4}, "Mail is held for at most %d seconds here", int(ru.maxHold.Seconds()))
	}
	from.HoldUntil = until
	return nil
}

// solicitParam reads SOLICIT (RFC 3865 section 2.2).
func solicitParam(from *mail.Sender, ru *rules, v string) *mail.Reply {
	if v == "" || len(v) > maxSolicitOctets {
		return syntax("SOLICIT must be a list of keywords")
	}
	for _, k := range strings.Split(v, ",") {
		if contains(ru.solicit, k) {
			return mail.NewReply(550, mail.Enhanced{5, 7, 1}, "Solicitation %s is not wanted here", k)
		}
	}
	from.Params = append(from.Params, mail.Param{Keyword: "SOLICIT", Value: v, HasValue: true})
	return nil
}

// parseRcpt reads the argument of RCPT (RFC 5321 section 4.1.1.3) into r.
func parseRcpt(arg string, ru *rules, r *mail.Recipient) *mail.Reply {
	s, ok := pathArg(arg, "TO:")
	if !ok {
		return mail.NewReply(501, mail.Enhanced{5, 5, 4}, "Say RCPT TO:<address>")
	}
	a, rest, err := mail.ParsePath(s)
	if err != nil || a.IsNull() {
		if err == nil {
			err = mail.ErrAddressSyntax
		}
		return mail.NewReply(501, mail.Enhanced{5, 1, 3}, "Bad recipient address: "+err.Error())
	}
	if a.UTF8() && !ru.utf8 {
		return mail.NewReply(553, mail.Enhanced{5, 6, 7}, "This recipient address needs SMTPUTF8")
	}
	r.Address = a
	return eachParam(rest, func(k, v string, has bool) *mail.Reply { return rcptParam(r, ru, k, v, has) })
}

func rcptParam(r *mail.Recipient, ru *rules, k, v string, has bool) *mail.Reply {
	switch {
	case k == "NOTIFY" && ru.has(ExtDSN):
		return notifyParam(r, v)
	case k == "ORCPT" && ru.has(ExtDSN):
		return originalParam(r, ru, v)
	case k == "RRVS" && ru.has(ExtRRVS):
		return rrvsParam(r, v)
	case k == "XDELIVERY" && ru.trusted:
		id, err := mail.DecodeXtext(v)
		if err != nil || v == "" || len(id) > maxDeliveryID {
			return syntax("XDELIVERY must be xtext")
		}
		r.DeliveryID = id
	case k == "XFOLDER" && ru.trusted:
		f, err := mail.DecodeXtext(v)
		if err != nil || v == "" || len(f) > maxFolderOctets || !utf8.ValidString(f) {
			return syntax("XFOLDER must be xtext of UTF-8")
		}
		r.Folder = f
	case k == "XFAILED" && ru.trusted:
		text, err := mail.DecodeXtext(v)
		if err != nil {
			return syntax("XFAILED must be xtext of a reply")
		}
		code, rest, _, err := parseReplyLine([]byte(text))
		if err != nil || code < 500 {
			return syntax("XFAILED must be a reply that refuses for good")
		}
		r.Failed = &mail.Reply{Code: code}
		r.Failed.Enhanced, rest = cutEnhanced(code, rest)
		r.Failed.Text = string(rest)
	case contains(ru.rcpt, k):
		r.Params = append(r.Params, mail.Param{Keyword: k, Value: v, HasValue: has})
	default:
		return unknownParam(k)
	}
	return nil
}

func notifyParam(r *mail.Recipient, v string) *mail.Reply { // RFC 3461 section 4.1
	for _, w := range strings.Split(strings.ToUpper(v), ",") {
		n := mail.Notify(0)
		switch w {
		case "NEVER":
			n = mail.NotifyNever
		case "SUCCESS":
			n = mail.NotifySuccess
		case "FAILURE":
			n = mail.NotifyFailure
		case "DELAY":
			n = mail.NotifyDelay
		}
		if n == 0 || r.Notify&n != 0 {
			return syntax("NOTIFY must be NEVER or a list of SUCCESS, FAILURE, DELAY")
		}
		r.Notify |= n
	}
	if r.Notify&mail.NotifyNever != 0 && r.Notify != mail.NotifyNever {
		return syntax("NOTIFY=NEVER stands alone")
	}
	return nil
}

// originalParam reads ORCPT (RFC 3461 section 4.2); an address of type utf-8 may come as UTF-8 (RFC 6533 section 3).
func originalParam(r *mail.Recipient, ru *rules, v string) *mail.Reply {
	kind, addr, ok := strings.Cut(v, ";")
	if !ok || addr == "" || len(v) > maxOriginal || !isKeyword(strings.ToUpper(kind)) {
		return syntax("ORCPT must be type;address")
	}
	if d, err := mail.DecodeXtext(addr); err == nil {
		addr = d
	} else if !ru.utf8 || !strings.EqualFold(kind, "utf-8") {
		return syntax("ORCPT must be xtext")
	}
	if strings.ContainsAny(addr, "\r\n\x00") {
		return syntax("ORCPT must not hold control characters")
	}
	r.Original = kind + ";" + addr
	return nil
}

// rrvsParam reads RRVS=date-time[;C|R] (RFC 7293 section 3.1).
func rrvsParam(r *mail.Recipient, v string) *mail.Reply {
	at, action, has := strings.Cut(v, ";")
	t, err := time.Parse(time.RFC3339, at)
	if err != nil || has && !strings.EqualFold(action, "C") && !strings.EqualFold(action, "R") {
		return syntax("RRVS must be a date and time of RFC 3339")
	}
	r.RRVS = t
	if strings.EqualFold(action, "C") { // go on where the next host does not know RRVS
		r.Params = append(r.Params, mail.Param{Keyword: "RRVS", Value: "C", HasValue: true})
	}
	return nil
}
