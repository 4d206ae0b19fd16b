package accounts

import (
	"testing"

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
	f.Add(encodeSecrets(secrets{phc: "x"}))
	f.Fuzz(func(t *testing.T, row []byte) {
		decodeAccount(1, row)
		decodeName(mail.Address{Local: "a", Domain: "b"}, row)
		decodeSecrets(1, row)
		decodeDomain("b", row)
		parseReverse(append([]byte(tagReverse), row...))
	})
}
