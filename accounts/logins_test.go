package accounts

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/sasl"
	"github.com/samotop/samotop/store/mem"
	"github.com/xdg-go/scram"
)

func TestPassword(t *testing.T) {
	a, _ := house(t)
	ctx := t.Context()
	no := false
	must(t)(a.AddAccount(ctx, "dave@example.test", Options{Password: "dave's"}))
	must(t)(a.SetAccount(ctx, "dave@example.test", Change{Enabled: &no}))
	must(t)(a.AddAlias(ctx, "me@example.test", "alice@example.test"))
	must(t)(a.AddAccount(ctx, "иван@bücher.test", Options{Password: "пароль e\u0301"}))
	for _, c := range []struct{ user, password, want string }{
		{"alice@example.test", "alice's password", "alice@example.test"},
		{"ALICE@Example.test", "alice's password", "alice@example.test"},
		{"ИВАН@bücher.test", "пароль é", "иван@xn--bcher-kva.test"},
		{"alice@example.test", "alice's passwore", ""}, {"alice@example.test", "", ""},
		{"alice", "alice's password", ""}, {"alice+x@example.test", "alice's password", ""}, {"me@example.test", "alice's password", ""},
		{"carol@example.test", "", ""}, {"carol@example.test", "x", ""}, {"dave@example.test", "dave's", ""},
		{"nobody@example.test", "x", ""}, {"", "x", ""}, {"\x00", "x", ""}, {"alice@example.test", strings.Repeat("x", 2000), ""},
	} {
		for range 2 { // by argon2id, then from what is remembered
			got, err := a.Password(ctx, nil, c.user, c.password)
			if got != c.want || (c.want == "") != errors.Is(err, mail.ErrCredentials) {
				t.Errorf("%q %q: %q %v", c.user, c.password, got, err)
			}
		}
	}
}

func TestPasswordChange(t *testing.T) {
	a, _ := house(t)
	ctx := t.Context()
	login := func(password string, want bool) {
		t.Helper()
		if _, err := a.Password(ctx, nil, "alice@example.test", password); (err == nil) != want {
			t.Errorf("%q: %v", password, err)
		}
	}
	login("alice's password", true)
	login("alice's password", true)
	ok(t, a.SetPassword(ctx, "alice@example.test", "another"))
	login("alice's password", false)
	login("another", true)
	login("another", true)
	if err := a.SetPassword(ctx, "alice@example.test", ""); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
	must(t)(a.RemoveAccount(ctx, "alice@example.test"))
	login("another", false)
	must(t)(a.AddAccount(ctx, "alice@example.test", Options{}))
	login("another", false)
}

func TestRememberedLoginsEnd(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	var mu sync.Mutex
	c := config(mem.New(mem.Options{}))
	c.Clock = func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	c.MaxLogins = 2
	a := open(t, c)
	a.logins.remember(1, "x", 0)
	if known, _ := a.logins.has(1, "x"); !known {
		t.Error("not remembered")
	}
	if known, _ := a.logins.has(1, "y"); known {
		t.Error("another password")
	}
	if known, _ := a.logins.has(2, "x"); known {
		t.Error("another account")
	}
	a.logins.remember(2, "x", 0)
	a.logins.remember(3, "x", 0)
	if known, _ := a.logins.has(1, "x"); known || len(a.logins.known.m) != 2 {
		t.Error("not bounded")
	}
	_, epoch := a.logins.has(4, "x")
	a.logins.drop(5)
	a.logins.remember(4, "x", epoch)
	if known, _ := a.logins.has(4, "x"); known {
		t.Error("a verification outlived a change of password")
	}
	mu.Lock()
	now = now.Add(time.Hour)
	mu.Unlock()
	if known, _ := a.logins.has(3, "x"); known {
		t.Error("remembered for ever")
	}
}

func TestRehash(t *testing.T) {
	a, e := house(t)
	ctx := t.Context()
	ok(t, a.Close())
	c := config(e)
	c.Hash.Passes, c.Hash.ScramIterations = 2, 32
	b := open(t, c)
	must(t)(b.Password(ctx, nil, "alice@example.test", "alice's password"))
	s, _, err := b.secrets(ctx, 1)
	if err != nil || !strings.Contains(s.phc, "m=64,t=2,p=1") || s.scram[sasl.SHA256].Iterations != 32 {
		t.Error(s, err)
	}
	must(t)(b.Password(ctx, nil, "alice@example.test", "alice's password"))
	sound(t, b)
}

func TestHasherIsBounded(t *testing.T) {
	a, _ := house(t)
	a.hasher.most = 1
	for range cap(a.hasher.slots) {
		a.hasher.slots <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	waits := make(chan error, 1)
	go func() {
		_, err := a.Password(ctx, nil, "alice@example.test", "alice's password")
		waits <- err
	}()
	for a.hasher.queued.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	_, err := a.Password(t.Context(), nil, "alice@example.test", "alice's password")
	var r *mail.Reply
	if !errors.As(err, &r) || r.Code != 454 {
		t.Error(err)
	}
	cancel()
	if err := <-waits; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestScramLogin logs in through package sasl with an independent client.
func TestScramLogin(t *testing.T) {
	a, _ := house(t)
	auth := sasl.New(sasl.Config{Credentials: a, Secret: a.Secret(), ScramIterations: a.ScramIterations()})
	s := &mail.Session{RemoteAddr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)}}
	for _, h := range []struct {
		name string
		new  scram.HashGeneratorFcn
	}{{sasl.ScramSHA256, scram.SHA256}, {sasl.ScramSHA1, scram.SHA1}} {
		for _, c := range []struct{ user, password, want string }{
			{"Bob@example.test", "bob's password", "bob@example.test"}, {"bob@example.test", "wrong", ""},
			{"carol@example.test", "x", ""}, {"nobody@example.test", "x", ""},
		} {
			client, err := h.new.NewClient(c.user, c.password, "")
			ok(t, err)
			conv := client.WithMinIterations(1).NewConversation()
			x, err := auth.Start(t.Context(), s, h.name)
			ok(t, err)
			first, err := conv.Step("")
			ok(t, err)
			challenge, _, err := x.Next(t.Context(), []byte(first))
			ok(t, err)
			final, err := conv.Step(string(challenge))
			ok(t, err)
			end, done, err := x.Next(t.Context(), []byte(final))
			if c.want == "" {
				if !errors.Is(err, mail.ErrCredentials) || done {
					t.Errorf("%+v: %v", c, err)
				}
				continue
			}
			ok(t, err)
			if _, err := conv.Step(string(end)); err != nil || !conv.Valid() || x.Identity().Account != c.want {
				t.Errorf("%+v: %v %v", c, err, x.Identity())
			}
		}
	}
}

// TestNobodyIsToldApart: all spellings of a name nobody has get one salt, as all spellings of one that somebody has.
func TestNobodyIsToldApart(t *testing.T) {
	a, _ := house(t)
	must(t)(a.AddAccount(t.Context(), "straße@bücher.test", Options{Password: "x"}))
	auth := sasl.New(sasl.Config{Credentials: a, Secret: a.Secret(), ScramIterations: a.ScramIterations()})
	salt := func(user string) string {
		x, err := auth.Start(t.Context(), &mail.Session{}, sasl.ScramSHA256)
		ok(t, err)
		c, _, err := x.Next(t.Context(), []byte("n,,n="+user+",r=x"))
		ok(t, err)
		parts := strings.SplitN(string(c), ",", 2)
		return parts[1]
	}
	for _, who := range []string{"straße@bücher.test", "grüße@bücher.test", "carol@example.test"} {
		want := salt(who)
		for _, other := range []string{strings.ToUpper(who), strings.ReplaceAll(who, "ß", "ss"), strings.ReplaceAll(who, "bücher", "xn--bcher-kva")} {
			if got := salt(other); got != want || len(got) != len("s=,i=16")+24 {
				t.Errorf("%s: %s, %s: %s", who, want, other, got)
			}
		}
	}
}

func TestCertificate(t *testing.T) {
	a, _ := house(t)
	verified := &mail.Session{TLS: &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{}}}}
	unverified := &mail.Session{TLS: &tls.ConnectionState{}}
	for _, c := range []struct {
		s       *mail.Session
		names   string
		authzid string
		want    string
	}{
		{verified, "Alice@example.test", "", "alice@example.test"},
		{verified, "alice@example.test ALICE@example.test nobody@example.test", "", "alice@example.test"},
		{verified, "alice@example.test bob@example.test", "", ""},
		{verified, "alice@example.test bob@example.test", "BOB@example.test", "bob@example.test"},
		{verified, "alice@example.test", "bob@example.test", ""},
		{verified, "", "", ""}, {verified, "nobody@example.test", "", ""},
		{unverified, "alice@example.test", "", ""}, {&mail.Session{}, "alice@example.test", "", ""},
	} {
		got, err := a.Certificate(t.Context(), c.s, &x509.Certificate{EmailAddresses: strings.Fields(c.names)}, c.authzid)
		if got != c.want || (c.want == "") != errors.Is(err, mail.ErrCredentials) {
			t.Errorf("%s as %q: %q %v", c.names, c.authzid, got, err)
		}
	}
}

func BenchmarkRememberedLogin(b *testing.B) {
	a, _ := house(b)
	ctx := context.Background()
	must(b)(a.Password(ctx, nil, "alice@example.test", "alice's password"))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Password(ctx, nil, "alice@example.test", "alice's password"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkArgon2id is a login whose password is not remembered, with the parameters of a house.
func BenchmarkArgon2id(b *testing.B) {
	c := Config{Engine: mem.New(mem.Options{}), LoginTTL: -1}
	a := open(b, c)
	ctx := context.Background()
	must(b)(a.AddDomain(ctx, "example.test"))
	must(b)(a.AddAccount(ctx, "alice@example.test", Options{Password: "x"}))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Password(ctx, nil, "alice@example.test", "x"); err != nil {
			b.Fatal(err)
		}
	}
}
