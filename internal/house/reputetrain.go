package house

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/netip"
	"net/textproto"
	"strings"

	"github.com/samotop/samotop/guard"
	"github.com/samotop/samotop/guard/filter"
	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mailauth/authres"
)

// reputing teaches, beside the filter, the reputation of the sender: what people move into Junk and out of it. It looks at
// the fields that this house put in front of the message, and at nothing else.
type reputing struct {
	teacher
	rep  *guard.Reputation
	host string // our name in those fields
}

// headOctets is how much of a message is looked at for our fields.
const headOctets = 64 << 10

func (r reputing) Learn(ctx context.Context, owner uint64, id string, kind filter.Kind, content io.Reader) (bool, error) {
	b := bufio.NewReaderSize(content, headOctets)
	head, err := b.Peek(headOctets)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	sender, account, known := origin(string(head), r.host)
	changed, err := r.teacher.Learn(ctx, owner, id, kind, b)
	if err != nil || !changed || !known {
		return changed, err
	}
	switch kind {
	case filter.Spam:
		r.rep.Learn(sender, account, guard.Junked)
	case filter.Ham:
		r.rep.Learn(sender, account, guard.Wanted)
	}
	return changed, nil
}

// origin reads from the fields of this house who a message is from and to whom: Return-Path and Delivered-To, which the
// mailbox puts on top, our Received, and our Authentication-Results.
func origin(head, host string) (s guard.Sender, account mail.Address, known bool) {
	r := textproto.NewReader(bufio.NewReader(strings.NewReader(head)))
	from, to, received := false, false, false
	for {
		line, err := r.ReadContinuedLine()
		if err != nil || line == "" {
			return s, account, from && to
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch name = strings.ToLower(name); {
		case name == "return-path" && !from:
			a, rest, err := mail.ParsePath(value)
			if s.Address, from = a, true; err != nil || rest != "" {
				return s, account, false
			}
		case name == "delivered-to" && !to:
			if account, err = mail.ParseAddress(value); err != nil {
				return s, account, false
			}
			to = true
		case name == "authentication-results" && !s.Proven:
			s.Proven = proves(value, host, s.Address.Domain)
		case name == "received" && !received && strings.Contains(value, " by "+host+" "):
			s.IP, received = receivedFrom(value), true
		}
	}
}

// receivedFrom reads the address in the TCP-info that mail.Received writes.
func receivedFrom(v string) netip.Addr {
	_, v, _ = strings.Cut(v, "(")
	v, _, _ = strings.Cut(v, ")")
	_, v, _ = strings.Cut(v, "[")
	v, _, _ = strings.Cut(v, "]")
	ip, err := netip.ParseAddr(strings.TrimPrefix(v, "IPv6:"))
	if err != nil {
		return netip.Addr{}
	}
	return ip
}

// proves reports whether our own checks found that a domain is the sender's: by SPF, or by a signature of it or of one above.
func proves(v, host, domain string) bool {
	res := authres.Parse(v)
	if domain == "" || !strings.EqualFold(res.ID, host) {
		return false
	}
	domain = strings.ToLower(domain)
	for _, m := range res.Methods {
		if m.Result != "pass" {
			continue
		}
		switch by := ""; m.Name {
		case "spf":
			by = m.Get("smtp", "mailfrom")
			if by = strings.ToLower(by[strings.LastIndexByte(by, '@')+1:]); by == domain {
				return true
			}
		case "dkim":
			if by = strings.ToLower(m.Get("header", "d")); by != "" && (by == domain || strings.HasSuffix(domain, "."+by)) {
				return true
			}
		}
	}
	return false
}
