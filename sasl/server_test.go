package sasl

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/samotop/samotop/mail"
	"github.com/xdg-go/scram"
)

func TestMechanisms(t *testing.T) {
	s13, _, cert := tlsPair(t, tls.VersionTLS13, false)
	s12, _, _ := tlsPair(t, tls.VersionTLS12, false)
	certified, _, _ := tlsPair(t, tls.VersionTLS13, true)
	resumed := *s12
	resumed.TLSUnique, resumed.Version = nil, tls.VersionTLS12
	unix := session(nil)
	unix.RemoteAddr = &net.UnixAddr{Name: "x", Net: "unix"}
	loop := session(nil)
	loop.RemoteAddr = &net.TCPAddr{IP: net.IPv6loopback}
	const plus, bare, clear = "SCRAM-SHA-256-PLUS SCRAM-SHA-1-PLUS ", "SCRAM-SHA-256 SCRAM-SHA-1", " PLAIN LOGIN"
	people := testPeople()
	for _, c := range []struct {
		name string
		c    Config
		s    *mail.Session
		want string
	}{
		{"clear", Config{}, session(nil), bare},
		{"clear, TLS required", Config{RequireTLS: true}, session(nil), ""},
		{"TLS 1.3", Config{}, session(s13), plus + bare + clear},
		{"TLS 1.2", Config{}, session(s12), plus + bare + clear},
		{"TLS 1.2 with the certificate known", Config{ServerCertificate: func(*mail.Session) *x509.Certificate { return cert }}, session(&resumed), plus + bare + clear},
		{"TLS by hearsay", Config{}, session(&tls.ConnectionState{Version: tls.VersionTLS13}), bare + clear},
		{"loopback not configured", Config{}, loop, bare},
		{"loopback", Config{PlaintextLoopback: true}, loop, bare + clear},
		{"Unix socket", Config{PlaintextLoopback: true, RequireTLS: true}, unix, bare + clear},
		{"not loopback", Config{PlaintextLoopback: true}, session(nil), bare},
		{"client certificate", Config{Certificates: people}, session(certified), "EXTERNAL " + plus + bare + clear},
		{"no client certificate", Config{Certificates: people}, session(s13), plus + bare + clear},
	} {
		c.c.Credentials = people
		a := New(c.c)
		if got := strings.Join(a.Mechanisms(c.s), " "); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
		for _, m := range []string{External, Plain, Login, ScramSHA256, ScramSHA1, ScramSHA256Plus, ScramSHA1Plus, "CRAM-MD5", ""} {
			_, err := a.Start(t.Context(), c.s, strings.ToLower(m))
			if offered := slices.Contains(a.Mechanisms(c.s), m); offered != (err == nil) || err != nil && !errors.Is(err, mail.ErrMechanism) {
				t.Errorf("%s: start %q: %v", c.name, m, err)
			}
		}
	}
}

func TestAgainstOurClient(t *testing.T) {
	for _, version := range []uint16{0, tls.VersionTLS12, tls.VersionTLS13} {
		var server, client *tls.ConnectionState
		if version != 0 {
			server, client, _ = tlsPair(t, version, false)
		}
		for _, m := range []string{ScramSHA256Plus, ScramSHA1Plus, ScramSHA256, ScramSHA1, Plain, Login} {
			if version == 0 && (strings.HasSuffix(m, "PLUS") || m == Plain || m == Login) {
				continue
			}
			for user, password := range testPeople().passwords {
				a := New(testConfig())
				cfg := ClientConfig{User: user, Password: password, TLS: client, NoChannelBinding: !strings.HasSuffix(m, "PLUS")}
				for _, wrong := range []bool{false, true} {
					if wrong {
						cfg.Password += "x"
					}
					c, err := NewClient([]string{m}, cfg)
					if err != nil || c.Mechanism() != m {
						t.Fatal(m, err)
					}
					who, err := talk(t, a, session(server), c)
					if wrong != errors.Is(err, mail.ErrCredentials) || !wrong && (err != nil || who != mail.Identity{Account: user, Mechanism: m}) {
						t.Errorf("%x %s %s wrong %v: %v %v", version, m, user, wrong, who, err)
					}
				}
			}
		}
	}
}

// scripted drives the independent client of xdg-go.
type scripted struct {
	*scram.ClientConversation
	mechanism string
}

func (c scripted) Mechanism() string { return c.mechanism }
func (c scripted) Start() ([]byte, error) {
	s, err := c.Step("")
	return []byte(s), err
}
func (c scripted) Next(challenge []byte) ([]byte, error) {
	s, err := c.Step(string(challenge))
	return []byte(s), err
}
func (c scripted) Done() error {
	if !c.Valid() {
		return errors.New("server not verified")
	}
	return nil
}

func TestAgainstXDG(t *testing.T) {
	for user, password := range testPeople().passwords {
		for _, hash := range []struct {
			name string
			new  scram.HashGeneratorFcn
		}{{ScramSHA256, scram.SHA256}, {ScramSHA1, scram.SHA1}} {
			for _, kind := range []string{"", "advertised", bindExporter, bindUnique, bindEndPoint} {
				name := hash.name + " " + kind + " " + user
				version := uint16(tls.VersionTLS13)
				if kind == bindUnique {
					version = tls.VersionTLS12
				}
				server, client, cert := tlsPair(t, version, false)
				cl, err := hash.new.NewClient(user, password, "")
				if err != nil {
					t.Fatal(err)
				}
				cl.WithMinIterations(1)
				c := scripted{cl.NewConversation(), hash.name}
				bind := func(cb scram.ChannelBinding, err error) {
					if err != nil {
						t.Fatal(err)
					}
					c = scripted{cl.NewConversationWithChannelBinding(cb), hash.name + "-PLUS"}
				}
				switch kind {
				case "advertised":
					c = scripted{cl.NewConversationAdvertisingChannelBinding(), hash.name}
				case bindExporter:
					bind(scram.NewTLSExporterBinding(client))
				case bindUnique:
					bind(scram.NewTLSUniqueBinding(client.TLSUnique), nil)
				case bindEndPoint:
					bind(scram.NewTLSServerEndpointBinding(client))
				}
				cfg := testConfig()
				cfg.ServerCertificate = func(*mail.Session) *x509.Certificate { return cert }
				who, err := talk(t, New(cfg), session(server), c)
				if kind == "advertised" { // a downgrade
					if !errors.Is(err, mail.ErrCredentials) {
						t.Errorf("%s: %v", name, err)
					}
				} else if err != nil || who.Account != user {
					t.Errorf("%s: %v %v", name, who, err)
				}
			}
		}
	}
}

func TestBindingToAnotherChannel(t *testing.T) {
	_, client, _ := tlsPair(t, tls.VersionTLS13, false)
	server, _, _ := tlsPair(t, tls.VersionTLS13, false) // somebody in between
	c, err := NewClient([]string{ScramSHA256Plus}, ClientConfig{User: "alice@example.test", Password: "pencil", TLS: client})
	if err != nil {
		t.Fatal(err)
	}
	if who, err := talk(t, New(testConfig()), session(server), c); !errors.Is(err, mail.ErrCredentials) {
		t.Errorf("%v %v", who, err)
	}
}

func TestAuthzid(t *testing.T) {
	server, client, _ := tlsPair(t, tls.VersionTLS13, false)
	for _, m := range []string{ScramSHA256Plus, ScramSHA256, Plain} {
		for authzid, want := range map[string]bool{"": true, "alice@example.test": true, "ALICE@example.test": true, "bob@example.test": false, "admin": false} {
			c, err := NewClient([]string{m}, ClientConfig{User: "Alice@example.test", Password: "pencil", Authzid: authzid, TLS: client, NoChannelBinding: m == ScramSHA256})
			if err != nil {
				t.Fatal(err)
			}
			_, err = talk(t, New(testConfig()), session(server), c)
			if want != (err == nil) || !want && !errors.Is(err, mail.ErrCredentials) {
				t.Errorf("%s as %q: %v", m, authzid, err)
			}
		}
	}
}

func TestExternal(t *testing.T) {
	server, client, _ := tlsPair(t, tls.VersionTLS13, true)
	for authzid, want := range map[string]bool{"": true, "alice@example.test": true, "bob@example.test": false} {
		cfg := testConfig()
		cfg.Certificates = testPeople()
		c, err := NewClient([]string{Plain, External}, ClientConfig{External: true, Authzid: authzid, TLS: client})
		if err != nil {
			t.Fatal(err)
		}
		who, err := talk(t, New(cfg), session(server), c)
		if want != (err == nil) || want && who != (mail.Identity{Account: "alice@example.test", Mechanism: External}) {
			t.Errorf("%q: %v %v", authzid, who, err)
		}
	}
}

// TestUnknownUsers: what a server says to unknown users is the same each time, in each spelling, in two processes,
// and of the same form as for known ones.
func TestUnknownUsers(t *testing.T) {
	ask := func(user string) (salt, rest string) {
		x, err := New(testConfig()).Start(t.Context(), session(nil), ScramSHA256)
		if err != nil {
			t.Fatal(err)
		}
		challenge, done, err := x.Next(t.Context(), []byte("n,,n="+formatName(user)+",r=nonce"))
		if err != nil || done {
			t.Fatal(err)
		}
		parts := strings.Split(string(challenge), ",")
		if _, _, err := x.Next(t.Context(), []byte("c=biws,"+parts[0]+",p="+strings.Repeat("A", 43)+"=")); !errors.Is(err, mail.ErrCredentials) {
			t.Fatal(user, err)
		}
		return parts[1], fmt.Sprint(len(parts[0]), len(parts[1]), parts[2])
	}
	_, known := ask("alice@example.test")
	s1, unknown := ask("nobody@example.test")
	s2, _ := ask("nobody@example.test")
	s3, _ := ask("NoBody@Example.test")
	s4, _ := ask("other@example.test")
	if known != unknown {
		t.Errorf("known %s, unknown %s", known, unknown)
	}
	if s1 != s2 || s1 != s3 || s1 == s4 {
		t.Errorf("salts %s %s %s %s", s1, s2, s3, s4)
	}
}

func TestMalformed(t *testing.T) {
	server, _, _ := tlsPair(t, tls.VersionTLS13, false)
	long := strings.Repeat("x", MaxResponseOctets+1)
	for _, c := range []struct {
		mechanism string
		say       []string // the last one must fail
	}{
		{Plain, []string{""}}, {Plain, []string{"a"}}, {Plain, []string{"\x00a"}}, {Plain, []string{"\x00\x00p"}},
		{Plain, []string{"\x00u\x00"}}, {Plain, []string{"\x00u\x00p\x00x"}}, {Plain, []string{"\x00u\xff\x00p"}}, {Plain, []string{long}},
		{Plain, []string{"\x00" + long[:MaxUserOctets+1] + "\x00p"}}, {Plain, []string{"\x00u\x00" + long[:MaxPasswordOctets+1]}},
		{Login, []string{""}}, {Login, []string{"u", ""}}, {Login, []string{"u\x00"}}, {Login, []string{long}}, {Login, []string{"u", long[:MaxPasswordOctets+1]}},
		{ScramSHA256, []string{""}}, {ScramSHA256, []string{"n"}}, {ScramSHA256, []string{"n,,"}}, {ScramSHA256, []string{"n,,n=,r=x"}},
		{ScramSHA256, []string{"n,,n=u"}}, {ScramSHA256, []string{"n,,n=u,r="}}, {ScramSHA256, []string{"n,,m=x,n=u,r=x"}},
		{ScramSHA256, []string{"n,,n=u=,r=x"}}, {ScramSHA256, []string{"n,,n=u=2c,r=x"}}, {ScramSHA256, []string{"n,b=x,n=u,r=x"}},
		{ScramSHA256, []string{"n,a=,n=u,r=x"}}, {ScramSHA256, []string{"q,,n=u,r=x"}}, {ScramSHA256, []string{"p=tls-exporter,,n=u,r=x"}},
		{ScramSHA256, []string{"n,,n=u,r=x y"}}, {ScramSHA256, []string{"n,,n=u,r=x,"}}, {ScramSHA256, []string{"n,,n=u,r=x,m=y"}},
		{ScramSHA256, []string{"n,,n=u,r=" + long[:MaxNonceOctets+1]}}, {ScramSHA256, []string{"n,,n=" + long[:MaxUserOctets+1] + ",r=x"}},
		{ScramSHA256, []string{"n,,n=u,r=x", ""}}, {ScramSHA256, []string{"n,,n=u,r=x", "c=biws,r=x"}}, {ScramSHA256, []string{"n,,n=u,r=x", "c=biws,r=x,p=!"}},
		{ScramSHA256, []string{"n,,n=u,r=x", "c=biws,r=x,p=\nAAAA"}}, {ScramSHA256, []string{"n,,n=u,r=x", "r=x,c=biws,p=AAAA"}},
		{ScramSHA256Plus, []string{"n,,n=u,r=x"}}, {ScramSHA256Plus, []string{"y,,n=u,r=x"}}, {ScramSHA256Plus, []string{"p=,,n=u,r=x"}},
		{ScramSHA256Plus, []string{"p=tls-unique,,n=u,r=x"}}, {ScramSHA256Plus, []string{"p=tls-server-end-point,,n=u,r=x"}}, {ScramSHA256Plus, []string{"p=a b,,n=u,r=x"}},
	} {
		x, err := New(testConfig()).Start(t.Context(), session(server), c.mechanism)
		if err != nil {
			t.Fatal(err)
		}
		for i, say := range c.say {
			_, done, err := x.Next(t.Context(), []byte(say))
			last := i == len(c.say)-1
			if done || last != errors.Is(err, mail.ErrExchange) {
				t.Errorf("%s %.60q: response %d: %v %v", c.mechanism, c.say, i, done, err)
			}
		}
		if _, _, err := x.Next(t.Context(), []byte("more")); !errors.Is(err, mail.ErrExchange) {
			t.Errorf("%s: goes on after an error: %v", c.mechanism, err)
		}
		if x.Identity() != (mail.Identity{}) {
			t.Errorf("%s: an identity after an error", c.mechanism)
		}
	}
}

// TestProofs: every single change of a right client-final is refused.
func TestProofs(t *testing.T) {
	run := func(change func(string) string) error {
		cfg := testConfig()
		cfg.Limiter = &Limiter{Free: 1000}
		x, err := New(cfg).Start(t.Context(), session(nil), ScramSHA256)
		if err != nil {
			t.Fatal(err)
		}
		c, _ := NewClient([]string{ScramSHA256}, ClientConfig{User: "alice@example.test", Password: "pencil"})
		first, _ := c.Start()
		challenge, _, err := x.Next(t.Context(), first)
		if err != nil {
			t.Fatal(err)
		}
		final, err := c.Next(challenge)
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = x.Next(t.Context(), []byte(change(string(final))))
		return err
	}
	if err := run(func(s string) string { return s }); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(string) string{
		"binding":   func(s string) string { return "c=eSws" + s[6:] },
		"nonce":     func(s string) string { return strings.Replace(s, ",p=", "x,p=", 1) },
		"short":     func(s string) string { return s[:strings.Index(s, ",p=")] + ",p=AAAA" },
		"proof":     func(s string) string { i := strings.Index(s, ",p=") + 3; return s[:i] + "AAAA" + s[i+4:] },
		"extension": func(s string) string { return strings.Replace(s, ",p=", ",x=1,p=", 1) },
	} {
		if err := run(change); !errors.Is(err, mail.ErrCredentials) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLogHoldsNoSecret(t *testing.T) {
	var out bytes.Buffer
	server, client, _ := tlsPair(t, tls.VersionTLS13, false)
	for _, m := range []string{Plain, Login, ScramSHA256Plus} {
		for _, password := range []string{"pencil", "not this one"} {
			cfg := testConfig()
			cfg.Log = slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
			c, err := NewClient([]string{m}, ClientConfig{User: "alice@example.test", Password: password, TLS: client})
			if err != nil {
				t.Fatal(err)
			}
			talk(t, New(cfg), session(server), c)
		}
	}
	if s := out.String(); strings.Contains(s, "pencil") || strings.Contains(s, "not this") || strings.Count(s, "alice@example.test") < 6 {
		t.Error(s)
	}
}

type broken struct{ *people }

func (broken) Password(context.Context, *mail.Session, string, string) (string, error) {
	return "", mail.NewReply(454, mail.Enhanced{4, 7, 0}, "Later")
}
func (broken) Scram(context.Context, *mail.Session, string, Hash) (ScramKeys, string, error) {
	return ScramKeys{}, "", errors.New("disk on fire")
}

func TestTrouble(t *testing.T) {
	server, client, _ := tlsPair(t, tls.VersionTLS13, false)
	lim := &Limiter{Free: 1}
	a := New(Config{Credentials: broken{}, Limiter: lim})
	c, _ := NewClient([]string{Plain}, ClientConfig{User: "u", Password: "p", TLS: client})
	_, err := talk(t, a, session(server), c)
	if r := mail.AsReply(err); r == nil || r.Code != 454 {
		t.Error(err)
	}
	c, _ = NewClient([]string{ScramSHA256}, ClientConfig{User: "u", Password: "p"})
	if _, err = talk(t, a, session(nil), c); err == nil || errors.Is(err, mail.ErrCredentials) {
		t.Error(err)
	}
	if d := lim.Delay("u", session(nil).RemoteAddr); d != 0 {
		t.Error("our own trouble is counted as a failure of the peer", d)
	}
}

func BenchmarkScram(b *testing.B) {
	cfg := testConfig()
	a := New(cfg)
	ctx := context.Background()
	s := session(nil)
	b.ReportAllocs()
	for b.Loop() {
		x, err := a.Start(ctx, s, ScramSHA256)
		if err != nil {
			b.Fatal(err)
		}
		if _, _, err := x.Next(ctx, []byte("n,,n=nobody,r=fyko+d2lbbFgONRv9qkxdawL")); err != nil {
			b.Fatal(err)
		}
	}
}
