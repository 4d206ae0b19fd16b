package accounts

import (
	"strings"
	"unicode/utf8"

	"github.com/samotop/samotop/mail"
	"golang.org/x/net/idna"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// domainProfile maps U-labels to A-labels as UTS #46 does for looking up. Underscores stay: real hosts use them.
var domainProfile = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false),
	idna.BidiRule(), idna.VerifyDNSLength(true))

// CanonicalDomain returns a domain as A-labels (RFC 5890) in lower case; an address literal only in lower case.
// The second result is false for what cannot be a domain.
func CanonicalDomain(domain string) (string, bool) {
	ascii, lower := true, true
	for i := 0; i < len(domain); i++ {
		c := domain[i]
		ascii = ascii && c < utf8.RuneSelf
		lower = lower && (c < 'A' || c > 'Z')
	}
	if !ascii {
		a, err := domainProfile.ToASCII(norm.NFC.String(domain))
		if err != nil || strings.HasPrefix(a, "[") {
			return "", false
		}
		domain = strings.ToLower(a)
	} else if !lower {
		domain = strings.ToLower(domain)
	}
	return domain, mail.IsDomain(domain)
}

// UnicodeDomain returns a canonical domain as people read it, with U-labels where they lead back to it.
func UnicodeDomain(domain string) string {
	u, err := domainProfile.ToUnicode(domain)
	if err != nil {
		return domain
	}
	if back, ok := CanonicalDomain(u); !ok || back != domain {
		return domain
	}
	return u
}

// CanonicalLocal returns the form in which local parts of our domains are compared: case folded, in NFC
// (RFC 6530 section 10.1 leaves that to the host that owns the domain). False: it is too long or not UTF-8.
func CanonicalLocal(local string) (string, bool) {
	ascii, lower := true, true
	for i := 0; i < len(local); i++ {
		c := local[i]
		ascii = ascii && c < utf8.RuneSelf
		lower = lower && (c < 'A' || c > 'Z')
	}
	switch {
	case ascii && lower:
	case ascii:
		local = strings.ToLower(local)
	case !utf8.ValidString(local):
		return "", false
	default:
		local = foldUnicode(local)
	}
	return local, local != "" && len(local) <= maxCanonicalOctets && !strings.ContainsRune(local, 0)
}

// foldUnicode is canonical caseless folding (Unicode section 3.13, D145), repeated until it is stable: in some
// scripts composing after folding leaves something to fold.
func foldUnicode(s string) string {
	for range 4 {
		next := norm.NFC.String(cases.Fold().String(norm.NFD.String(s)))
		if next == s {
			break
		}
		s = next
	}
	return s
}

// canonical returns the form of an address by which it is kept, if it is one of ours.
func canonical(a mail.Address) (mail.Address, bool) {
	d, ok := CanonicalDomain(a.Domain)
	if !ok {
		return mail.Address{}, false
	}
	l, ok := CanonicalLocal(a.Local)
	return mail.Address{Local: l, Domain: d}, ok
}

// parseAddress reads what a person typed. The local part is as typed, the domain canonical.
func parseAddress(s string) (mail.Address, error) {
	a, err := mail.ParseAddress(strings.TrimSpace(s))
	if err != nil {
		return mail.Address{}, refuse(ErrInvalid, "%q is not an address: %v", s, err)
	}
	d, ok := CanonicalDomain(a.Domain)
	if _, lok := CanonicalLocal(a.Local); !ok || !lok {
		return mail.Address{}, refuse(ErrInvalid, "%q is not an address: its parts cannot be brought into canonical form", s)
	}
	a.Domain = d
	return a, nil
}

// parseOurs reads an address that must be kept under its canonical form.
func parseOurs(s string) (mail.Address, error) {
	a, err := parseAddress(s)
	if err != nil {
		return a, err
	}
	a, _ = canonical(a)
	if len(a.Local) > mail.MaxLocalOctets { // folding can make it longer, and then nobody could write to it
		return a, refuse(ErrInvalid, "%q is not usable: its canonical form is longer than %d octets, choose a shorter one", s, mail.MaxLocalOctets)
	}
	return a, nil
}
