package dane

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/samotop/samotop/resolver"
	"github.com/samotop/samotop/resolver/resolvertest"
)

var day = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)

func issue(t testing.TB, name string, parent *x509.Certificate, signer crypto.Signer, ca bool, names ...string) (*x509.Certificate, crypto.Signer) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: day.Add(-time.Hour),
		NotAfter: day.Add(24 * time.Hour), IsCA: ca, BasicConstraintsValid: true, DNSNames: names}
	if ca {
		tmpl.KeyUsage = x509.KeyUsageCertSign
	}
	if parent == nil {
		parent, signer = tmpl, key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c, key
}

func sha2(b []byte) []byte { s := sha256.Sum256(b); return s[:] }
func sha5(b []byte) []byte { s := sha512.Sum512(b); return s[:] }

func TestVerify(t *testing.T) {
	root, rootKey := issue(t, "root", nil, nil, true)
	leaf, _ := issue(t, "leaf", root, rootKey, false, "mx.example.org")
	other, _ := issue(t, "other", nil, nil, true)
	spki := leaf.RawSubjectPublicKeyInfo
	type rec = resolver.TLSA
	tlsa := func(u, s, m uint8, data []byte) rec { return rec{Usage: u, Selector: s, MatchingType: m, Data: data} }
	for name, c := range map[string]struct {
		records []rec
		chain   []*x509.Certificate
		names   []string
		now     time.Time
		want    error // nil: passes
		any     bool  // any error
		usable  int
	}{
		"3 1 1":                     {[]rec{tlsa(3, 1, 1, sha2(spki))}, nil, nil, day, nil, false, 1},
		"3 0 2":                     {[]rec{tlsa(3, 0, 2, sha5(leaf.Raw))}, nil, nil, day, nil, false, 1},
		"3 1 0":                     {[]rec{tlsa(3, 1, 0, spki)}, nil, nil, day, nil, false, 1},
		"3 1 1, expired, no name":   {[]rec{tlsa(3, 1, 1, sha2(spki))}, nil, []string{"x.test"}, day.Add(1000 * time.Hour), nil, false, 1},
		"3 1 1 of another":          {[]rec{tlsa(3, 1, 1, sha2(other.RawSubjectPublicKeyInfo))}, nil, nil, day, ErrMismatch, false, 1},
		"one of two":                {[]rec{tlsa(3, 1, 1, sha2(other.Raw)), tlsa(3, 1, 1, sha2(spki))}, nil, nil, day, nil, false, 2},
		"3 1 1 does not match root": {[]rec{tlsa(3, 1, 1, sha2(root.RawSubjectPublicKeyInfo))}, nil, nil, day, ErrMismatch, false, 1},
		"2 0 1":                     {[]rec{tlsa(2, 0, 1, sha2(root.Raw))}, nil, []string{"mx.example.org"}, day, nil, false, 1},
		"2 1 2":                     {[]rec{tlsa(2, 1, 2, sha5(root.RawSubjectPublicKeyInfo))}, nil, []string{"mx.example.org"}, day, nil, false, 1},
		"2 0 1, wrong name":         {[]rec{tlsa(2, 0, 1, sha2(root.Raw))}, nil, []string{"mx.example.net"}, day, ErrName, false, 1},
		"2 0 1, expired":            {[]rec{tlsa(2, 0, 1, sha2(root.Raw))}, nil, []string{"mx.example.org"}, day.Add(100 * time.Hour), nil, true, 1},
		"2 0 1, root not sent":      {[]rec{tlsa(2, 0, 1, sha2(root.Raw))}, []*x509.Certificate{leaf}, []string{"mx.example.org"}, day, ErrMismatch, false, 1},
		"2 0 0, root not sent":      {[]rec{tlsa(2, 0, 0, root.Raw)}, []*x509.Certificate{leaf}, []string{"mx.example.org"}, day, nil, false, 1},
		"2 0 1 of the leaf":         {[]rec{tlsa(2, 0, 1, sha2(leaf.Raw))}, nil, []string{"mx.example.org"}, day, ErrMismatch, false, 1},
		"another's chain appended":  {[]rec{tlsa(2, 0, 1, sha2(other.Raw))}, []*x509.Certificate{leaf, root, other}, []string{"mx.example.org"}, day, nil, true, 1},
		"unusable usages":           {[]rec{tlsa(0, 0, 1, sha2(root.Raw)), tlsa(1, 1, 1, sha2(spki))}, nil, nil, day, ErrMismatch, false, 0},
		"digest too short":          {[]rec{tlsa(3, 1, 1, []byte{1}), tlsa(3, 1, 9, sha2(spki)), tlsa(3, 7, 1, sha2(spki)), tlsa(3, 0, 0, []byte("x"))}, nil, nil, day, ErrMismatch, false, 0},
		"the stronger digest rules": {[]rec{tlsa(3, 1, 1, sha2(spki)), tlsa(3, 1, 2, sha5(other.Raw))}, nil, nil, day, ErrMismatch, false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			f := Found{Status: Present, Base: "tlsa.example", Records: c.records}
			if n := len(f.Usable()); n != c.usable {
				t.Errorf("%d records are usable, not %d", n, c.usable)
			}
			chain := c.chain
			if chain == nil {
				chain = []*x509.Certificate{leaf, root}
			}
			err := f.Verify(&tls.ConnectionState{PeerCertificates: chain}, c.names, c.now)
			if c.any && err == nil || !c.any && !errors.Is(err, c.want) || c.want == nil && !c.any && err != nil {
				t.Errorf("%v", err)
			}
		})
	}
	if err := (&Found{Records: []rec{tlsa(3, 1, 1, sha2(spki))}}).Verify(&tls.ConnectionState{}, nil, day); !errors.Is(err, ErrMismatch) {
		t.Errorf("no certificate: %v", err)
	}
	if got := Record(leaf); got[:6] != "3 1 1 " || len(got) != 6+64 {
		t.Errorf("record %q", got)
	}
}

const zone = `
mx.example.org           A 192.0.2.1
_25._tcp.mx.example.org  TLSA 3 1 1 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff
bare.example.org         A 192.0.2.2
alias.example.org        CNAME mx.example.org
own.example.org          CNAME bare.example.org
_25._tcp.own.example.org TLSA 3 1 1 ff112233445566778899aabbccddeeff00112233445566778899aabbccddeeff
via.example.org          A 192.0.2.3
_25._tcp.via.example.org CNAME _25._tcp.mx.example.org
bogus.example.org        A 192.0.2.4
`

func TestLookup(t *testing.T) {
	for _, c := range []struct {
		host   string
		signed bool
		status Status
		base   string
	}{
		{"mx.example.org", true, Present, "mx.example.org"},
		{"mx.example.org", false, Absent, ""},
		{"bare.example.org", true, Absent, ""},
		{"alias.example.org", true, Present, "mx.example.org"},
		{"own.example.org", true, Present, "own.example.org"},
		{"own.example.org", false, Absent, ""},
		{"via.example.org", true, Present, "via.example.org"},
		{"nowhere.example.org", true, Absent, ""},
		{"bogus.example.org", true, Broken, "bogus.example.org"},
	} {
		z := resolvertest.Zone(t, zone)
		z.SetAuthentic(c.signed)
		z.Fail("_25._tcp.bogus.example.org", resolver.ErrBogus)
		f := Lookup(context.Background(), z.Resolver(resolver.Config{TrustAD: true}), c.host, 25)
		if f.Status != c.status || f.Base != c.base || (f.Err != nil) != (c.status == Broken) {
			t.Errorf("%s, signed %v: %v %q %v", c.host, c.signed, f.Status, f.Base, f.Err)
		}
		if c.status == Present && len(f.Strings()) != 1 {
			t.Errorf("%s: %q", c.host, f.Strings())
		}
	}
	z := resolvertest.Zone(t, zone)
	z.SetAuthentic(true)
	if f := Lookup(context.Background(), z.Resolver(resolver.Config{}), "mx.example.org", 25); f.Status != Absent {
		t.Errorf("a resolver that is not trusted: %v", f.Status)
	}
	z.Fail("mx.example.org", resolver.ErrTemporary)
	if f := Lookup(context.Background(), z.Resolver(resolver.Config{TrustAD: true}), "mx.example.org", 25); f.Status != Broken {
		t.Errorf("addresses that cannot be looked up: %v", f.Status)
	}
}

func FuzzUsable(f *testing.F) {
	f.Add(uint8(2), uint8(0), uint8(0), []byte{0x30, 0x03, 2, 1, 1})
	f.Add(uint8(3), uint8(1), uint8(1), make([]byte, 32))
	leaf, _ := issue(f, "leaf", nil, nil, false, "mx.example.org")
	f.Fuzz(func(t *testing.T, u, s, m uint8, data []byte) {
		r := Found{Records: []resolver.TLSA{{Usage: u, Selector: s, MatchingType: m, Data: data}}}
		err := r.Verify(&tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}}, []string{"mx.example.org"}, day)
		if err == nil && len(r.Usable()) == 0 {
			t.Error("verified by nothing")
		}
	})
}
