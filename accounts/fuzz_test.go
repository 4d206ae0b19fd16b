package accounts

import (
	"net/netip"
	"testing"
	"time"

	"github.com/samotop/samotop/mail"
)

func FuzzPHC(f *testing.F) {
	f.Add("$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Add("$argon2id$v=19$m=0,t=2,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA")
	f.Add("$argon2i$v=19$m=64,t=2,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parsePHC(s)
		if err != nil {
			return
		}
		if p.String() != s {
			t.Errorf("%q is written as %q", s, p)
		}
		if p.memoryKiB > maxMemoryKiB || p.passes > maxPasses || p.threads > maxThreads || p.threads == 0 || p.passes == 0 {
			t.Errorf("%q is out of bounds", s)
		}
	})
}

// FuzzCanonical: the canonical form of an address is an address, its own canonical form, and safe in a key.
func FuzzCanonical(f *testing.F) {
	for _, s := range []string{"alice@example.test", "Straße@BÜCHER.test", "\"a b\"@x.test", "ŉ@例え。テスト", "ᾳ\u0345@x.test", "a@xn--a.test", "İ@İ.test", "a@ａ．test", "x@a／b.test"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := mail.ParseAddress(s)
		if err != nil {
			return
		}
		c, ok := canonical(a)
		if !ok {
			return
		}
		if again, ok := canonical(c); !ok || again != c {
			t.Errorf("%q gives %q gives %q", s, c, again)
		}
		if name, ok := parseName(appendName(nil, c)); !ok || name != c {
			t.Errorf("%q: key gives %q", c, name)
		}
		if len(keyReverse(c, mail.Address{Domain: string(make([]byte, 255)), Local: string(make([]byte, 64))})) > 1024 {
			t.Errorf("%q: key too long", c)
		}
		if !mail.IsDomain(c.Domain) {
			t.Errorf("%q: domain of %q", s, c)
		}
	})
}

func FuzzRows(f *testing.F) {
	f.Add(encodeAccount(Account{Address: mail.Address{Local: "a", Domain: "b"}}))
	f.Add(encodeAlias(Alias{Targets: []mail.Address{{Local: "a", Domain: "b"}}}))
	f.Add(encodeNameOfAccount(7))
	f.Add(encodeDomain(Domain{Separators: "+-", AliasOf: "b", Rules: []MapRule{{"a", "b"}}}))
	f.Add(encodeList(List{Owners: []mail.Address{{Local: "a", Domain: "b"}}, Members: []mail.Address{{Local: "c", Domain: "d"}}}))
	f.Add(encodeAccount(Account{QuotaMessages: 7, PlusFolders: true, Address: mail.Address{Local: "a", Domain: "b"}}))
	f.Add(encodeSecrets(secrets{phc: "x"}))
	f.Add(encodeContact(Contact{State: Approved, FirstSeen: time.Unix(1e9, 0), Network: netip.MustParsePrefix("192.0.2.0/24"), Tries: 3, Subject: "s", Signed: "d", List: "l"}))
	f.Add(encodeGate(gate{policy: PolicyAsk, some: true, lists: true}))
	f.Add(encodeSuffix(&Suffix{Until: time.Unix(1e9, 0), Domain: "d", network: netip.MustParsePrefix("2001:db8::/48")}))
	f.Fuzz(func(t *testing.T, row []byte) {
		decodeAccount(1, row)
		decodeName(mail.Address{Local: "a", Domain: "b"}, row)
		decodeSecrets(1, row)
		decodeDomain("b", row)
		if c, err := decodeContact("x@y.test", row); err == nil {
			if again, err := decodeContact("x@y.test", encodeContact(c)); err != nil || again != c {
				t.Errorf("contact %+v is kept as %+v, %v", c, again, err)
			}
		}
		if g, err := decodeGate(row); err == nil {
			if again, err := decodeGate(encodeGate(g)); err != nil || again != g {
				t.Errorf("gate %+v is kept as %+v, %v", g, again, err)
			}
		}
		if s, err := decodeSuffix(row); err == nil {
			if again, err := decodeSuffix(encodeSuffix(&s)); err != nil || again != s {
				t.Errorf("suffix %+v is kept as %+v, %v", s, again, err)
			}
		}
		parseReverse(append([]byte(tagReverse), row...))
		parseGranted(append([]byte(tagGranted), row...))
	})
}

// FuzzRule: a rule that is taken makes an address of what it matches, or says that it does not, and is kept as it was given.
func FuzzRule(f *testing.F) {
	f.Add("sales-(.*)", "sales+$1", "sales-now")
	f.Add(`(\w+)\.(\w+)@example\.test`, "$2.$1@far.test", "a.b")
	f.Add("x)|(y", "$0", "x")
	f.Add("(?i:a{1,900})*", "${1}b", "aaaa")
	f.Add("(?P<n>.*)", "${n}", "\"a b\"")
	f.Fuzz(func(t *testing.T, pattern, replace, local string) {
		d := Domain{Name: "example.test", Rules: []MapRule{{pattern, replace}}}
		c, err := d.Rules[0].check(d.Name)
		if err != nil {
			return
		}
		d.compiled = []compiledRule{c}
		if back, err := decodeDomain(d.Name, encodeDomain(d)); err != nil || back.Rules[0] != d.Rules[0] {
			t.Fatalf("%q %q: kept as %+v, %v", pattern, replace, back.Rules, err)
		}
		if _, err := d.Rules[0].whole(d.Name).Sample(); err != nil {
			t.Fatalf("%q %q: taken, but: %v", pattern, replace, err)
		}
		a, err := mail.ParseAddress(local + "@example.test")
		if err != nil {
			return
		}
		r, err := d.rewrite(a.Local)
		if err != nil || r == nil {
			return
		}
		if again, err := mail.ParseAddress(r.To.String()); err != nil || again != r.To {
			t.Errorf("%q %q makes %q of %q", pattern, replace, r.To, local)
		}
	})
}
