package drop

import (
	"bytes"
	"slices"
	"strings"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/message"
)

// addressed are the fields whose addresses may lack a domain in what programs of this machine write, as in "To: root".
var addressed = map[string]bool{"from": true, "sender": true, "reply-to": true, "to": true, "cc": true, "bcc": true,
	"resent-from": true, "resent-sender": true, "resent-to": true, "resent-cc": true, "resent-bcc": true}

// Qualify gives the addresses of a header that have no domain this one (RFC 5322 section 3.4.1 demands one), and so those whose
// domain means nothing outside of this machine: one of names, in lower case. Fields that need nothing stay as they are,
// octet for octet.
func Qualify(header []byte, domain string, names ...string) []byte {
	h := message.ParseHeader(header)
	var out []byte
	kept := 0 // what is before it is in out
	for f := range h.Fields() {
		if !addressed[strings.ToLower(string(f.Name))] {
			continue
		}
		list := message.ParseAddressList(f.Value)
		if !qualifyAll(list, domain, names) {
			continue
		}
		out = append(out, header[kept:f.Start]...)
		utf8 := bytes.ContainsFunc(f.Value, func(r rune) bool { return r >= 0x80 })
		out = append(out, message.FoldField(string(f.Name), message.FormatAddressList(list, utf8))...)
		if !bytes.HasSuffix(out, []byte("\r\n")) {
			out = append(out, "\r\n"...)
		}
		kept = f.End
	}
	if kept == 0 {
		return header
	}
	return append(out, header[kept:]...)
}

// qualifyAll reports whether one lacked it.
func qualifyAll(list []message.AddressOrGroup, domain string, names []string) (changed bool) {
	for i := range list {
		a := &list[i]
		if a.Group {
			changed = qualifyAll(a.Members, domain, names) || changed
		} else if a.Address.Local != "" && (a.Address.Domain == "" || slices.Contains(names, strings.ToLower(a.Address.Domain))) {
			a.Address.Domain = domain
			changed = true
		}
	}
	return changed
}

// Address reads an address that may lack its domain, as a shell or a crontab has it: "root", "alice@example.org",
// "<bob>".
func Address(s, domain string) (mail.Address, error) {
	s = strings.TrimSpace(s)
	if strings.HasPrefix(s, "<") && strings.HasSuffix(s, ">") {
		s = s[1 : len(s)-1]
	}
	a, err := mail.ParseAddress(s)
	if err == nil {
		return a, nil
	}
	if q, qerr := mail.ParseAddress(s + "@" + domain); qerr == nil && !strings.Contains(s, "@") {
		return q, nil
	}
	return mail.Address{}, err
}
