package smtp

import (
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/idna"

	"github.com/samotop/samotop/mail"
)

// mailLine writes MAIL for from as this server takes it, or refuses what it cannot take: nothing is left out that the
// message cannot do without, and nothing is changed on the way. Size is that of the content, 0 if unknown; utf8 that a
// recipient needs SMTPUTF8.
func (c *Client) mailLine(from *mail.Sender, s *mail.Session, size int64, utf8 bool, trace int) (string, *mail.Reply) {
	var b strings.Builder
	addr, r := c.address(from.Address)
	if r != nil {
		return "", r
	}
	b.WriteString("MAIL FROM:")
	b.WriteString(addr.Path())
	put := func(param string) {
		b.WriteByte(' ')
		b.WriteString(param)
	}
	if r := c.sizeParam(size, put); r != nil {
		return "", r
	}
	if r := c.bodyParams(from, utf8 || addr.UTF8(), put); r != nil {
		return "", r
	}
	if r := c.promiseParams(from, put); r != nil {
		return "", r
	}
	for _, p := range from.Params {
		if c.ext.Has(p.Keyword) || p.Keyword == "SOLICIT" && c.ext.Has("NO-SOLICITING") {
			put(formatParam(p))
		}
	}
	if c.d.Trusted && s != nil && c.ext.Has("XFACTS") {
		if facts := encodeFacts(s); facts != "" && len(facts) < maxTrustedLineOctets-4096 {
			put("XFACTS=" + facts)
		}
	}
	if trace > 0 {
		put("XTRACE=" + strconv.Itoa(trace))
	}
	return oneLine(b.String())
}

func formatParam(p mail.Param) string {
	if !p.HasValue {
		return p.Keyword
	}
	return p.Keyword + "=" + p.Value
}

// sizeParam is RFC 1870: a message over the server's limit is not even offered.
func (c *Client) sizeParam(size int64, put func(string)) *mail.Reply {
	if size <= 0 || !c.ext.Has("SIZE") {
		return nil
	}
	if max, err := strconv.ParseInt(c.ext["SIZE"], 10, 64); err == nil && max > 0 && size > max {
		return mail.NewReply(552, mail.Enhanced{5, 3, 4}, "Message has %d octets, and %s takes %d", size, c.name, max)
	}
	put("SIZE=" + strconv.FormatInt(size, 10))
	return nil
}

// bodyParams says what the content is, where that matters and is understood.
func (c *Client) bodyParams(from *mail.Sender, utf8 bool, put func(string)) *mail.Reply {
	switch from.Body {
	case mail.Body8Bit: // RFC 6152 section 3
		if !c.ext.Has("8BITMIME") {
			return mail.NewReply(554, mail.Enhanced{5, 6, 3}, "Message has 8-bit content, and %s does not take that", c.name)
		}
		put("BODY=8BITMIME")
	case mail.BodyBinary: // RFC 3030 section 3
		if !c.ext.Has("BINARYMIME") || !c.ext.Has("CHUNKING") {
			return mail.NewReply(554, mail.Enhanced{5, 6, 3}, "Message has binary content, and %s does not take that", c.name)
		}
		put("BODY=BINARYMIME")
	}
	if from.UTF8 || utf8 { // RFC 6531 section 3.2
		if !c.ext.Has("SMTPUTF8") {
			return c.needsUTF8()
		}
		put("SMTPUTF8")
	}
	return nil
}

// promiseParams are what the next host is asked to keep.
func (c *Client) promiseParams(from *mail.Sender, put func(string)) *mail.Reply {
	if c.ext.Has("DSN") {
		switch from.Ret {
		case mail.RetFull:
			put("RET=FULL")
		case mail.RetHeaders:
			put("RET=HDRS")
		}
		if from.EnvelopeID != "" {
			put("ENVID=" + mail.EncodeXtext(from.EnvelopeID))
		}
	}
	if from.Auth != "" && c.ext.Has("AUTH") {
		put("AUTH=" + mail.EncodeXtext(from.Auth))
	}
	if from.RequireTLS { // RFC 8689 section 4.2.1
		if c.state == nil && !c.d.Trusted || !c.ext.Has("REQUIRETLS") {
			return mail.NewReply(550, mail.Enhanced{5, 7, 30}, "Message asks for REQUIRETLS, and %s does not offer it", c.name)
		}
		put("REQUIRETLS")
	}
	if from.Priority != 0 && c.ext.Has("MT-PRIORITY") {
		put("MT-PRIORITY=" + strconv.Itoa(int(from.Priority)))
	}
	now := time.Now()
	if c.ext.Has("FUTURERELEASE") && from.HoldUntil.After(now) {
		put("HOLDUNTIL=" + from.HoldUntil.UTC().Format(time.RFC3339))
	}
	if !from.DeliverBy.Deadline.IsZero() {
		return c.byParam(from.DeliverBy, now, put)
	}
	return nil
}

// byParam is RFC 2852 section 4.1.4: mode R may go only to a host that keeps it.
func (c *Client) byParam(by mail.DeliverBy, now time.Time, put func(string)) *mail.Reply {
	left := int64(by.Deadline.Sub(now) / time.Second)
	switch {
	case by.Return && left <= 0:
		return mail.NewReply(554, mail.Enhanced{5, 4, 7}, "Time for delivery is over")
	case c.ext.Has("DELIVERBY"):
		mode := "N"
		if by.Return {
			mode = "R"
		}
		if by.Trace {
			mode += "T"
		}
		put("BY=" + strconv.FormatInt(max(left, -999999999), 10) + ";" + mode)
	case by.Return:
		return mail.NewReply(554, mail.Enhanced{5, 3, 3}, "Message asks for DELIVERBY, and %s does not offer it", c.name)
	}
	return nil
}

// address turns the domain of an address into A-labels where the server cannot take it otherwise, which says the same
// (RFC 6531 section 3.2 and RFC 5890); a local part cannot be turned into anything.
func (c *Client) address(a mail.Address) (mail.Address, *mail.Reply) {
	if !a.UTF8() || c.ext.Has("SMTPUTF8") {
		return a, nil
	}
	domain, err := idna.Lookup.ToASCII(a.Domain)
	if local := (mail.Address{Local: a.Local}); err != nil || local.UTF8() {
		return a, mail.NewReply(553, mail.Enhanced{5, 6, 7}, "Address needs SMTPUTF8, and %s does not offer it", c.name)
	}
	a.Domain = domain
	return a, nil
}

// rcptLine writes RCPT for r.
func (c *Client) rcptLine(r *mail.Recipient) (string, *mail.Reply) {
	addr, refusal := c.address(r.Address)
	if refusal != nil {
		return "", refusal
	}
	trusted := c.d.Trusted
	if r.Failed != nil && !(trusted && c.ext.Has("XFAILED")) {
		return "", r.Failed
	}
	var b strings.Builder
	b.WriteString("RCPT TO:")
	b.WriteString(addr.Path())
	put := func(k, v string) { b.WriteString(" " + k + "=" + v) }
	if c.ext.Has("DSN") {
		if r.Notify != 0 {
			put("NOTIFY", formatNotify(r.Notify))
		}
		if kind, orig, ok := strings.Cut(r.Original, ";"); ok {
			put("ORCPT", kind+";"+mail.EncodeXtext(orig))
		}
	}
	if !r.RRVS.IsZero() {
		goOn := false
		for _, p := range r.Params {
			goOn = goOn || p.Keyword == "RRVS" && p.Value == "C"
		}
		switch at := r.RRVS.UTC().Format(time.RFC3339); {
		case c.ext.Has("RRVS") && goOn:
			put("RRVS", at+";C")
		case c.ext.Has("RRVS"):
			put("RRVS", at)
		case !goOn: // RFC 7293 section 5.2
			return "", mail.NewReply(550, mail.Enhanced{5, 7, 19}, "Message asks for RRVS, and %s does not offer it", c.name)
		}
	}
	for _, p := range r.Params {
		if p.Keyword != "RRVS" && c.ext.Has(p.Keyword) {
			b.WriteString(" " + formatParam(p))
		}
	}
	if trusted && r.DeliveryID != "" && c.ext.Has("XDELIVERY") {
		put("XDELIVERY", mail.EncodeXtext(r.DeliveryID))
	}
	if trusted && r.Folder != "" && c.ext.Has("XFOLDER") {
		put("XFOLDER", mail.EncodeXtext(r.Folder))
	}
	if r.Failed != nil {
		put("XFAILED", mail.EncodeXtext(r.Failed.String()))
	}
	return oneLine(b.String())
}

// oneLine refuses a command that would be several: no address or parameter may bring a command of its own.
func oneLine(s string) (string, *mail.Reply) {
	if strings.ContainsAny(s, "\r\n\x00") || len(s) > maxTrustedLineOctets-2 {
		return "", mail.NewReply(554, mail.Enhanced{5, 6, 0}, "Envelope does not fit into a command")
	}
	return s, nil
}

func formatNotify(n mail.Notify) string {
	if n&mail.NotifyNever != 0 {
		return "NEVER"
	}
	var w []string
	for _, v := range []struct {
		n mail.Notify
		s string
	}{{mail.NotifySuccess, "SUCCESS"}, {mail.NotifyFailure, "FAILURE"}, {mail.NotifyDelay, "DELAY"}} {
		if n&v.n != 0 {
			w = append(w, v.s)
		}
	}
	return strings.Join(w, ",")
}

// targets reads what a peer of ours says in 251 about where the mail really goes.
func (c *Client) targets(r *mail.Reply) []mail.Target {
	if !c.d.Trusted || r.Code != 251 {
		return nil
	}
	ts, err := mail.ParseTargets(r.Text)
	if err != nil {
		return nil
	}
	return ts
}
