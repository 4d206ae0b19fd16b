// Package dane authenticates mail servers by TLSA records that DNSSEC vouches for (RFC 7672, RFC 6698, RFC 7671).
//
//	found := dane.Lookup(ctx, resolver, "mx.example.org", 25)
//	switch found.Status {
//	case dane.Absent:  // DANE says nothing about this host
//	case dane.Broken:  // found.Err: who tampers with the DNS may be at work; do not use the host now
//	case dane.Present: // TLS is a must; the certificate has to pass found.Verify, if found.Usable() is not empty
//	}
//
// Promises. Nothing that the resolver does not call authentic is believed. At most MaxRecords records are looked at.
package dane

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/samotop/samotop/resolver"
)

// MaxRecords of one name are looked at.
const MaxRecords = 100

// Certificate usages (RFC 7218); for mail the other two are unusable (RFC 7672 section 3.1.3).
const (
	TrustAnchor = 2 // DANE-TA
	EndEntity   = 3 // DANE-EE
)

// Errors.
var (
	ErrMismatch = errors.New("dane: the certificate matches no TLSA record")
	ErrName     = errors.New("dane: the certificate is not for this host")
)

// Status is what the DNS says of DANE for a host.
type Status uint8

const (
	Absent  Status = iota // no TLSA records, or none that are authentic
	Present               // there are, and they are authentic
	Broken                // it could not be found out (RFC 7672 section 2.1.2 and 2.2): the host must not be used now
)

// Found is what is known of a host.
type Found struct {
	Status  Status
	Base    string // TLSA base domain (RFC 7672 section 2.2.3): also the name for SNI
	Records []resolver.TLSA
	Err     error // of Broken
}

// Lookup finds the TLSA records of a host (RFC 7672 section 2.2.2). An alias that DNSSEC vouches for is followed: its end
// is asked first, then the host itself.
func Lookup(ctx context.Context, r resolver.Resolver, host string, port uint16) Found {
	_, ans, err := r.Addrs(ctx, host, resolver.AnyFamily)
	if err != nil && !errors.Is(err, resolver.ErrNoData) && !errors.Is(err, resolver.ErrNoName) {
		return Found{Status: Broken, Err: err}
	}
	var bases []string
	switch {
	case ans.Authentic && len(ans.Chain) > 0:
		bases = []string{ans.Name, host}
	case ans.Authentic, len(ans.Chain) > 0: // the second: an alias in a signed zone may lead out of it
		bases = []string{host}
	}
	for _, base := range bases {
		records, ans, err := r.TLSA(ctx, "_"+strconv.Itoa(int(port))+"._tcp."+base)
		switch {
		case errors.Is(err, resolver.ErrNoData), errors.Is(err, resolver.ErrNoName), errors.Is(err, resolver.ErrBadName):
		case err != nil:
			return Found{Status: Broken, Base: base, Err: err}
		case ans.Authentic && len(records) > 0:
			return Found{Status: Present, Base: base, Records: records[:min(len(records), MaxRecords)]}
		}
	}
	return Found{}
}

// Usable returns the records that a certificate can be checked against; of digests the strongest of each usage and
// selector (RFC 7671 section 9). If none is, TLS is still a must, with any certificate (RFC 7672 section 2.2).
func (f *Found) Usable() []resolver.TLSA {
	var out []resolver.TLSA
	best := map[[2]uint8]uint8{}
	for _, r := range f.Records {
		if usable(&r) {
			k := [2]uint8{r.Usage, r.Selector}
			best[k] = max(best[k], r.MatchingType)
		}
	}
	for _, r := range f.Records {
		if usable(&r) && (r.MatchingType == 0 || r.MatchingType == best[[2]uint8{r.Usage, r.Selector}]) {
			out = append(out, r)
		}
	}
	return out
}

func usable(r *resolver.TLSA) bool {
	if r.Usage != TrustAnchor && r.Usage != EndEntity || r.Selector > 1 {
		return false
	}
	switch r.MatchingType {
	case 0:
		if r.Selector == 1 {
			_, err := x509.ParsePKIXPublicKey(r.Data)
			return err == nil
		}
		_, err := x509.ParseCertificate(r.Data)
		return err == nil
	case 1:
		return len(r.Data) == sha256.Size
	case 2:
		return len(r.Data) == sha512.Size
	}
	return false
}

func matches(r *resolver.TLSA, c *x509.Certificate) bool {
	data := c.Raw
	if r.Selector == 1 {
		data = c.RawSubjectPublicKeyInfo
	}
	switch r.MatchingType {
	case 1:
		sum := sha256.Sum256(data)
		data = sum[:]
	case 2:
		sum := sha512.Sum512(data)
		data = sum[:]
	}
	return bytes.Equal(data, r.Data)
}

// Verify checks what a server showed. Names are those that a certificate under a trust anchor may be for (RFC 7672
// section 3.2.3); Base is always one. For DANE-EE neither names nor dates count (RFC 7672 section 3.1.1).
func (f *Found) Verify(state *tls.ConnectionState, names []string, now time.Time) error {
	certs := state.PeerCertificates
	if len(certs) == 0 {
		return ErrMismatch
	}
	err := ErrMismatch
	for _, r := range f.Usable() {
		switch r.Usage {
		case EndEntity:
			if matches(&r, certs[0]) {
				return nil
			}
		case TrustAnchor:
			terr := verifyAnchor(&r, certs, append(slices.Clone(names), f.Base), now)
			if terr == nil {
				return nil
			}
			if !errors.Is(terr, ErrMismatch) {
				err = terr
			}
		}
	}
	return err
}

// verifyAnchor checks the chain up to a certificate that the record names (RFC 7672 section 3.1.2).
func verifyAnchor(r *resolver.TLSA, certs []*x509.Certificate, names []string, now time.Time) error {
	roots, rest := x509.NewCertPool(), x509.NewCertPool()
	found := false
	for i, c := range certs {
		if matches(r, c) && (i > 0 || c.IsCA) {
			roots.AddCert(c)
			found = true
		} else if i > 0 {
			rest.AddCert(c)
		}
	}
	if !found && r.MatchingType == 0 && r.Selector == 0 { // the whole anchor stands in the DNS
		if c, err := x509.ParseCertificate(r.Data); err == nil {
			roots.AddCert(c)
			found = true
		}
	}
	if !found {
		return ErrMismatch
	}
	if _, err := certs[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: rest, CurrentTime: now}); err != nil {
		return fmt.Errorf("dane: %w", err)
	}
	for _, name := range names {
		if name != "" && certs[0].VerifyHostname(name) == nil {
			return nil
		}
	}
	return fmt.Errorf("%w: it is for %.5q", ErrName, certs[0].DNSNames)
}

// Strings returns the records as a report has them (RFC 8460 section 4.4).
func (f *Found) Strings() []string {
	out := make([]string, len(f.Records))
	for i, r := range f.Records {
		out[i] = fmt.Sprintf("%d %d %d %x", r.Usage, r.Selector, r.MatchingType, r.Data)
	}
	return out
}

// Record returns the data of the TLSA record that a server of ours publishes at _25._tcp.HOST: 3 1 1, the key of its
// certificate, so that it stays when the certificate is renewed with the same key (RFC 7672 section 3.1.1, RFC 7671 section
// 5.1).
func Record(leaf *x509.Certificate) string {
	return fmt.Sprintf("3 1 1 %x", sha256.Sum256(leaf.RawSubjectPublicKeyInfo))
}
