package authproto

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/samotop/samotop/accounts"
	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/sasl"
	"github.com/samotop/samotop/store/mem"
)

// room serves alice with the password "pencil", as the accounts room of a split house does.
func room(t *testing.T) *Client {
	t.Helper()
	ctx := t.Context()
	a, err := accounts.Open(ctx, accounts.Config{Engine: mem.New(mem.Options{}), Hash: accounts.HashParams{MemoryKiB: 64, Passes: 1, ScramIterations: 16}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.AddDomain(ctx, "example.test"); err != nil {
		t.Fatal(err)
	}
	if _, err := a.AddAccount(ctx, "alice@example.test", accounts.Options{Password: "pencil"}); err != nil {
		t.Fatal(err)
	}
	auth := sasl.New(sasl.Config{Credentials: a, Secret: a.Secret(), PlaintextLoopback: true, Channel: Channel, Certificates: a})
	dial := start(t, &Server{Auth: auth, Bound: true, Certificates: true})
	c := &Client{Dial: func(context.Context) (net.Conn, error) { return dial().Conn, nil }}
	t.Cleanup(func() { c.Close() })
	return c
}

// tlsPair returns the two views of one TLS connection, and the certificate.
func tlsPair(t *testing.T, version uint16) (server, client tls.ConnectionState, cert *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"mx.example.test"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a, b := net.Pipe()
	s := tls.Server(a, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MaxVersion: version})
	c := tls.Client(b, &tls.Config{InsecureSkipVerify: true, MaxVersion: version})
	var wg sync.WaitGroup
	wg.Go(func() { err = s.HandshakeContext(t.Context()) })
	if err := c.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if err != nil {
		t.Fatal(err)
	}
	return s.ConnectionState(), c.ConnectionState(), cert
}

// login goes through an exchange from both sides.
func login(t *testing.T, auth mail.Authenticator, s *mail.Session, mechanism string, conf sasl.ClientConfig) (mail.Identity, error) {
	t.Helper()
	x, err := auth.Start(t.Context(), s, mechanism)
	if err != nil {
		return mail.Identity{}, err
	}
	peer, err := sasl.NewClient([]string{mechanism}, conf)
	if err != nil {
		t.Fatal(err)
	}
	response, err := peer.Start()
	if err != nil {
		t.Fatal(err)
	}
	for {
		challenge, done, err := x.Next(t.Context(), response)
		if err != nil {
			return mail.Identity{}, err
		}
		if challenge != nil {
			if response, err = peer.Next(challenge); err != nil {
				t.Fatal(err)
			}
		}
		if done {
			if err := peer.Done(); err != nil {
				t.Fatal(err)
			}
			return x.Identity(), nil
		}
	}
}

func TestClientMechanisms(t *testing.T) {
	c := room(t)
	server13, client13, cert := tlsPair(t, tls.VersionTLS13)
	server12, client12, cert12 := tlsPair(t, tls.VersionTLS12)
	for name, x := range map[string]struct {
		server, client *tls.ConnectionState
		cert           *x509.Certificate
	}{"clear": {}, "TLS 1.3": {&server13, &client13, cert}, "TLS 1.2": {&server12, &client12, cert12}} {
		c.Channel = func(s *mail.Session, kind string) ([]byte, bool) { return sasl.Channel(s.TLS, kind, x.cert) }
		s := &mail.Session{ID: "s1", Service: "msa", TLS: x.server, RemoteAddr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 4711}}
		want := []string{sasl.ScramSHA256, sasl.ScramSHA1}
		if x.server != nil {
			want = []string{sasl.ScramSHA256Plus, sasl.ScramSHA1Plus, sasl.ScramSHA256, sasl.ScramSHA1, sasl.Plain, sasl.Login}
		}
		offered := c.Mechanisms(s)
		if !slices.Equal(offered, want) {
			t.Errorf("%s: offered %q, want %q", name, offered, want)
		}
		for _, m := range offered {
			if x.client != nil && (m == sasl.ScramSHA256 || m == sasl.ScramSHA1) {
				continue // a client that can bind insists on it
			}
			who, err := login(t, c, s, m, sasl.ClientConfig{User: "alice@example.test", Password: "pencil", TLS: x.client})
			if err != nil || who.Account != "alice@example.test" || who.Mechanism != m {
				t.Errorf("%s %s: %v, %v", name, m, who, err)
			}
			if _, err := login(t, c, s, m, sasl.ClientConfig{User: "alice@example.test", Password: "wrong", TLS: x.client}); !errors.Is(err, mail.ErrCredentials) {
				t.Errorf("%s %s with a wrong password: %v", name, m, err)
			}
		}
	}
}

// A machine in the middle with a certificate of its own has another channel.
func TestClientChannelOfAnother(t *testing.T) {
	c := room(t)
	server, _, cert := tlsPair(t, tls.VersionTLS13)
	_, other, _ := tlsPair(t, tls.VersionTLS13)
	c.Channel = func(s *mail.Session, kind string) ([]byte, bool) { return sasl.Channel(s.TLS, kind, cert) }
	_, err := login(t, c, &mail.Session{TLS: &server}, sasl.ScramSHA256Plus, sasl.ClientConfig{User: "alice@example.test", Password: "pencil", TLS: &other})
	if !errors.Is(err, mail.ErrCredentials) {
		t.Errorf("logged in through another channel: %v", err)
	}
}

func TestClientMany(t *testing.T) {
	c := room(t)
	server, client, _ := tlsPair(t, tls.VersionTLS13)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := login(t, c, &mail.Session{TLS: &server}, sasl.Plain, sasl.ClientConfig{User: "alice@example.test", Password: "pencil", TLS: &client}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestClientReconnects(t *testing.T) {
	path := filepath.Join(t.TempDir(), "auth.sock")
	c := &Client{Dial: func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "unix", path) },
		BackoffMin: time.Nanosecond, BackoffMax: time.Nanosecond}
	defer c.Close()
	s := &mail.Session{TLS: new(tls.ConnectionState)}
	if _, err := c.Start(t.Context(), s, sasl.Plain); mail.AsReply(err).Code != 454 {
		t.Errorf("nobody is there: %v", err)
	}
	a, err := accounts.Open(t.Context(), accounts.Config{Engine: mem.New(mem.Options{}), Hash: accounts.HashParams{MemoryKiB: 64, Passes: 1, ScramIterations: 16}})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 { // the server comes and goes
		ctx, cancel := context.WithCancel(t.Context())
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error)
		srv := &Server{Auth: sasl.New(sasl.Config{Credentials: a, Secret: a.Secret()})}
		go func() { ended <- srv.Serve(ctx, l) }()
		if _, err := login(t, c, s, sasl.Plain, sasl.ClientConfig{User: "alice@example.test", Password: "pencil", TLS: s.TLS}); !errors.Is(err, mail.ErrCredentials) {
			t.Errorf("no such user: %v", err)
		}
		x, err := c.Start(t.Context(), s, sasl.Login)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := x.Next(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		cancel()
		<-ended
		if _, _, err := x.Next(t.Context(), []byte("alice")); mail.AsReply(err).Code != 454 {
			t.Errorf("in the middle of an exchange: %v", err)
		}
		if got := c.Mechanisms(s); !slices.Contains(got, sasl.Plain) {
			t.Errorf("while it is away: %q", got)
		}
	}
}

// A server that talks nonsense costs no more than the login.
func FuzzClient(f *testing.F) {
	hello := "VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nSPID\t1\nCUID\t1\nCOOKIE\tff\nDONE\n"
	for _, s := range []string{"OK\t1\tuser=a\n", "FAIL\t1\ttemp\n", "CONT\t1\t\nOK\t1\n", "CONT\t1\nOK\n", "OK\t1\tuser=a\tresp=!\n", "CONT\t1\tYQ==\nCONT\t1\tYQ==\nCONT\t1\tYQ==\n"} {
		f.Add(hello + s)
	}
	f.Add("DONE\n")
	f.Add("MECH\nVERSION\t1\n")
	f.Fuzz(func(t *testing.T, text string) {
		a, b := net.Pipe()
		go func() {
			go func() {
				var sink [1024]byte
				for {
					if _, err := b.Read(sink[:]); err != nil {
						return
					}
				}
			}()
			b.Write([]byte(text)) // the client may be gone
			b.Close()
		}()
		dialed := false
		c := &Client{Dial: func(context.Context) (net.Conn, error) {
			if dialed {
				return nil, net.ErrClosed
			}
			dialed = true
			return a, nil
		}, BackoffMin: time.Hour, BackoffMax: time.Hour}
		defer c.Close()
		defer a.Close()
		x, err := c.Start(t.Context(), &mail.Session{TLS: new(tls.ConnectionState)}, "PLAIN")
		for i := 0; i < 5 && err == nil; i++ {
			var done bool
			if _, done, err = x.Next(t.Context(), []byte("\x00a\x00b")); done && err == nil {
				if x.Identity().Account == "" {
					t.Error("nobody logged in")
				}
				return
			}
		}
	})
}

// TestClientCertificate: who has shown a certificate that was verified may log in with it; others are not offered EXTERNAL.
func TestClientCertificate(t *testing.T) {
	c := room(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	certificate := func(octets int, addresses ...string) *x509.Certificate {
		t.Helper()
		template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), EmailAddresses: addresses, SubjectKeyId: make([]byte, octets)}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return leaf
	}
	alice := certificate(0, "alice@example.test")
	for name, x := range map[string]struct {
		leaf     *x509.Certificate
		verified bool
		offered  bool
		want     error
	}{
		"alice's":      {alice, true, true, nil},
		"not verified": {alice, false, false, nil},
		"none":         {nil, false, false, nil},
		"a stranger's": {certificate(0, "carol@example.test"), true, true, mail.ErrCredentials},
		"too large":    {certificate(maxCertificateOctets, "alice@example.test"), true, false, nil},
	} {
		state := &tls.ConnectionState{HandshakeComplete: true}
		if x.leaf != nil {
			state.PeerCertificates = []*x509.Certificate{x.leaf}
		}
		if x.verified {
			state.VerifiedChains = [][]*x509.Certificate{{x.leaf}}
		}
		s := &mail.Session{ID: "s1", Service: "mailbox", TLS: state}
		if offered := slices.Contains(c.Mechanisms(s), sasl.External); offered != x.offered {
			t.Errorf("%s: offered %v", name, offered)
		}
		ex, err := c.Start(t.Context(), s, sasl.External)
		if !x.offered {
			if !errors.Is(err, mail.ErrMechanism) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(name, err)
		}
		_, done, err := ex.Next(t.Context(), []byte{})
		if !errors.Is(err, x.want) || done != (x.want == nil) || done && ex.Identity().Account != "alice@example.test" {
			t.Errorf("%s: %v %v %v", name, done, ex.Identity(), err)
		}
	}
}
