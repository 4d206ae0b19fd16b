package sasl

import (
	"crypto/tls"
	"errors"
	"strings"
	"testing"
)

func TestClientChoice(t *testing.T) {
	_, tls13, _ := tlsPair(t, tls.VersionTLS13, false)
	_, tls12, _ := tlsPair(t, tls.VersionTLS12, false)
	const all = "LOGIN PLAIN SCRAM-SHA-1 SCRAM-SHA-256 SCRAM-SHA-1-PLUS SCRAM-SHA-256-PLUS EXTERNAL"
	for _, c := range []struct {
		offered string
		c       ClientConfig
		want    string // mechanism and beginning of the initial response
	}{
		{all, ClientConfig{TLS: tls13}, "SCRAM-SHA-256-PLUS p=tls-exporter,,n=u,r="},
		{all, ClientConfig{TLS: tls12}, "SCRAM-SHA-256-PLUS p=tls-unique,,n=u,r="},
		{all, ClientConfig{}, "SCRAM-SHA-256 n,,n=u,r="},
		{all, ClientConfig{TLS: tls13, NoChannelBinding: true}, "SCRAM-SHA-256 n,,n=u,r="},
		{all, ClientConfig{TLS: tls13, External: true}, "EXTERNAL "},
		{"scram-sha-1 plain", ClientConfig{TLS: tls13}, "SCRAM-SHA-1 y,,n=u,r="},
		{"PLAIN LOGIN", ClientConfig{TLS: tls13, Authzid: "z"}, "PLAIN z\x00u\x00p"},
		{"LOGIN", ClientConfig{TLS: tls13}, "LOGIN "},
		{"LOGIN", ClientConfig{TLS: tls13, Authzid: "z"}, ""},
		{"PLAIN LOGIN", ClientConfig{}, ""},
		{"PLAIN LOGIN", ClientConfig{PlaintextInClear: true}, "PLAIN \x00u\x00p"},
		{"CRAM-MD5", ClientConfig{TLS: tls13}, ""},
		{"", ClientConfig{TLS: tls13}, ""},
	} {
		c.c.User, c.c.Password = "u", "p"
		got := ""
		cl, err := NewClient(strings.Fields(c.offered), c.c)
		if err == nil {
			first, err := cl.Start()
			if err != nil {
				t.Fatal(err)
			}
			got = cl.Mechanism() + " " + string(first)
		} else if !errors.Is(err, ErrNoMechanism) {
			t.Error(err)
		}
		if (c.want == "") != (got == "") || !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %q, want %q", c.offered, got, c.want)
		}
	}
}

// TestClientVector is the conversation of RFC 7677 section 3.
func TestClientVector(t *testing.T) {
	c := newScramClient(ClientConfig{User: "user", Password: "pencil"}, ScramSHA256, "n", nil)
	c.nonce, c.step = "rOprNGfwEbeRWgbNEkqO", 1
	c.bare = "n=user,r=" + c.nonce
	got, err := c.Next([]byte("r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"))
	want := "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
	if err != nil || string(got) != want {
		t.Fatalf("%s %v", got, err)
	}
	if c.Done() == nil {
		t.Error("done without the server's signature")
	}
	if _, err := c.Next([]byte("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")); err != nil || c.Done() != nil {
		t.Error(err)
	}
}

func TestHostileServer(t *testing.T) {
	for _, first := range []string{
		"", "r=other,s=AAAA,i=4096", "r=NONCE,s=AAAA,i=4096", "r=NONCEx,s=AAAA,i=0", "r=NONCEx,s=AAAA,i=-1",
		"r=NONCEx,s=AAAA,i=2000000000", "r=NONCEx,s=,i=1", "r=NONCEx,s=!,i=1", "m=x,r=NONCEx,s=AAAA,i=1", "e=other-error",
	} {
		c, err := NewClient([]string{ScramSHA256}, ClientConfig{User: "u", Password: "p"})
		if err != nil {
			t.Fatal(err)
		}
		start, _ := c.Start()
		nonce := string(start)[strings.LastIndex(string(start), "r=")+2:]
		if _, err := c.Next([]byte(strings.ReplaceAll(first, "NONCE", nonce))); !errors.Is(err, ErrServer) {
			t.Errorf("%s: %v", first, err)
		}
	}
	c, _ := NewClient([]string{ScramSHA256}, ClientConfig{User: "u", Password: "p"})
	start, _ := c.Start()
	nonce := string(start)[strings.LastIndex(string(start), "r=")+2:]
	if _, err := c.Next([]byte("r=" + nonce + "x,s=AAAA,i=1")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Next([]byte("v=AAAA")); !errors.Is(err, ErrServer) || c.Done() == nil {
		t.Errorf("a wrong server signature passes: %v", err)
	}
}

func TestClientAuth(t *testing.T) {
	server, client, _ := tlsPair(t, tls.VersionTLS13, false)
	auth := New(testConfig())
	a := &ClientAuth{Config: ClientConfig{User: "alice@example.test", Password: "pencil"}}
	if _, err := a.Begin(t.Context(), []string{"PLAIN"}, nil); !errors.Is(err, ErrNoMechanism) {
		t.Error("PLAIN in clear:", err)
	}
	c, err := a.Begin(t.Context(), auth.Mechanisms(session(server)), client)
	if err != nil || c.Mechanism() != ScramSHA256Plus {
		t.Fatal(c, err)
	}
	response, err := c.Start()
	if err != nil || c.Done() == nil {
		t.Fatal(err, "and done before its end")
	}
	x, err := auth.Start(t.Context(), session(server), c.Mechanism())
	if err != nil {
		t.Fatal(err)
	}
	for done := false; !done; {
		var challenge []byte
		if challenge, done, err = x.Next(t.Context(), response); err != nil {
			t.Fatal(err)
		}
		if response, err = c.Next(challenge); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Done(); err != nil {
		t.Error(err)
	}
}
