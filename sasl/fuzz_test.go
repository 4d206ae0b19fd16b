package sasl

import (
	"context"
	"strings"
	"testing"
)

func FuzzPlain(f *testing.F) {
	for _, s := range []string{"", "\x00u\x00p", "z\x00u\x00p", "\x00\x00", "\x00u\x00p\x00", "u\x00p"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		z, u, p, ok := parsePlain(b)
		if ok && z+"\x00"+u+"\x00"+p != string(b) {
			t.Errorf("%q gives %q %q %q", b, z, u, p)
		}
		if ok && (u == "" || p == "" || len(u) > MaxUserOctets || len(p) > MaxPasswordOctets) {
			t.Errorf("%q is out of bounds", b)
		}
	})
}

func FuzzClientFirst(f *testing.F) {
	for _, s := range []string{"n,,n=user,r=fyko", "y,a=other,n=us=2Cer,r=x,e=1", "p=tls-exporter,,n=u=3D,r=x", "n,,m=1,n=u,r=x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m, ok := parseClientFirst(s)
		if !ok {
			return
		}
		if m.header+m.bare != s || m.user == "" || m.nonce == "" {
			t.Errorf("%q gives %+v", s, m)
		}
		if again, ok := parseClientFirst(m.header + "n=" + formatName(m.user) + ",r=" + m.nonce); !ok || again.user != m.user {
			t.Errorf("%q is not written back: %+v", s, again)
		}
	})
}

func FuzzClientFinal(f *testing.F) {
	for _, s := range []string{"c=biws,r=x,p=AAAA", "c=biws,r=x,e=1,p=", "c=biws,r=x", "c=biws,p=AAAA,p=AAAA"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m, ok := parseClientFinal(s)
		if ok && (m.nonce == "" || !strings.HasPrefix(s, m.withoutProof+",p=")) {
			t.Errorf("%q gives %+v", s, m)
		}
	})
}

func FuzzServerFirst(f *testing.F) {
	for _, s := range []string{"r=x,s=AAAA,i=4096", "r=x,s=AAAA,i=4096,e=1", "r=x,s=,i=1", "r=x,s=AAAA,i=99999999999999999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m, ok := parseServerFirst(s)
		if ok && (m.iterations < 1 || m.iterations > MaxIterations || len(m.salt) == 0 || m.nonce == "") {
			t.Errorf("%q gives %+v", s, m)
		}
	})
}

// FuzzExchange gives a server two arbitrary responses: nobody gets in without knowing a password.
func FuzzExchange(f *testing.F) {
	f.Add("n,,n=alice@example.test,r=x", "c=biws,r=x,p=AAAA", false)
	f.Add("p=tls-exporter,,n=alice@example.test,r=x", "c=biws,r=x,p=AAAA", true)
	a := New(testConfig()).(*authenticator)
	a.c.Limiter.Free = 1 << 30
	f.Fuzz(func(t *testing.T, first, final string, plus bool) {
		m := ScramSHA256
		if plus {
			m = ScramSHA256Plus
		}
		x := a.exchange(session(nil), m)
		for _, s := range []string{first, final} {
			_, done, err := x.Next(context.Background(), []byte(s))
			if done {
				t.Fatalf("logged in with %q %q", first, final)
			}
			if err != nil {
				return
			}
		}
	})
}
