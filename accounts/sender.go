package accounts

import (
	"strings"

	"github.com/samotop/samotop/mail"
)

// bounceWords begin the local parts of addresses that are made for one message, with numbers in what follows.
var bounceWords = map[string]bool{"bounce": true, "bounces": true, "return": true, "returns": true, "verp": true, "msprvs1": true,
	"reply": true, "noreply": true, "fbl": true, "delivery": true, "errors": true, "owner": true, "mail": true}

// NormalSender is the name under which a sender is a contact, local@domain in lower case: the tag of BATV (prvs=) and what
// SRS and VERP add for one forwarding or one message are taken off, so that the same sender has one name. To is who was
// written to, whose address VERP puts into the sender's; it may be zero.
func NormalSender(a mail.Address, to mail.Address) string {
	local, domain := strings.ToLower(a.Local), canonicalDomain(a.Domain)
	local = withoutBATV(local)
	if l, d, ok := withoutSRS(local); ok {
		local, domain = l, canonicalDomain(d)
	}
	local = withoutVERP(local, to)
	return local + "@" + domain
}

// domainOf is the domain in the name of a contact: the rest after the last @.
func domainOf(name string) string { return name[strings.LastIndexByte(name, '@')+1:] }

// canonicalDomain is a sender's domain as it is in names of contacts.
func canonicalDomain(domain string) string {
	if d, ok := CanonicalDomain(domain); ok {
		return d
	}
	return domain
}

// withoutBATV takes off prvs=TAG= (draft-levine-smtp-batv) and the older btv1==TAG==.
func withoutBATV(local string) string {
	if rest, ok := strings.CutPrefix(local, "btv1=="); ok {
		if _, l, ok := strings.Cut(rest, "=="); ok && l != "" {
			return l
		}
	}
	if rest, ok := strings.CutPrefix(local, "prvs="); ok {
		tag, l, ok := strings.Cut(rest, "=")
		if !ok || l == "" {
			return local
		}
		if isBATVTag(tag) {
			return l
		}
		if isBATVTag(l) { // some write the tag behind the local part
			return tag
		}
	}
	return local
}

// isBATVTag is K DDD SSSSSS: a digit, a day, a hash.
func isBATVTag(s string) bool {
	if len(s) != 10 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		digit := '0' <= c && c <= '9'
		if i < 4 && !digit || !digit && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// withoutSRS finds the sender in SRS0=HHH=TT=domain=local and in SRS1=HHH=forwarder==HHH=TT=domain=local; + and - also part.
func withoutSRS(local string) (l, d string, ok bool) {
	parted := func(s string) bool { return len(s) > 4 && (s[4] == '=' || s[4] == '+' || s[4] == '-') }
	switch {
	case strings.HasPrefix(local, "srs0") && parted(local):
		local = local[5:]
	case strings.HasPrefix(local, "srs1") && parted(local):
		_, rest, found := strings.Cut(local[5:], "=")
		if !found {
			return "", "", false
		}
		_, inner, found := strings.Cut(rest, "=")
		if !found || !strings.HasPrefix(inner, "=") && !strings.HasPrefix(inner, "+") && !strings.HasPrefix(inner, "-") {
			return "", "", false
		}
		local = inner[1:]
	default:
		return "", "", false
	}
	fields := strings.SplitN(local, "=", 4)
	if len(fields) != 4 || fields[2] == "" || fields[3] == "" {
		return "", "", false
	}
	return fields[3], fields[2], true
}

// withoutVERP takes off the recipient that a list puts into its sender (local=domain), and numbers behind words that
// begin such addresses.
func withoutVERP(local string, to mail.Address) string {
	if to.Domain != "" {
		whole := strings.ToLower(to.Local + "=" + to.Domain)
		if i := strings.Index(local, whole); i > 0 {
			local = strings.TrimRight(local[:i], "+-=._") + local[i+len(whole):]
		}
	}
	word := local
	if i := strings.IndexAny(local, "+-=._"); i >= 0 {
		word = local[:i]
	}
	if !bounceWords[word] || word == local {
		return local
	}
	var kept []string
	for _, token := range strings.FieldsFunc(local, func(r rune) bool { return strings.ContainsRune("+-=._", r) }) {
		if !strings.ContainsAny(token, "0123456789") {
			kept = append(kept, token)
		}
	}
	return strings.Join(kept, "-")
}
