package sasl

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/samotop/samotop/mail"
)

// people is a Credentials in memory: passwords by user name in lower case.
type people struct {
	passwords map[string]string
	asked     atomic.Int64
}

const iterations = 64

func (p *people) Password(_ context.Context, _ *mail.Session, user, password string) (string, error) {
	p.asked.Add(1)
	user = strings.ToLower(user)
	if want, ok := p.passwords[user]; ok && PreparePassword(want) == password {
		return user, nil
	}
	return "", mail.ErrCredentials
}

func (p *people) Scram(_ context.Context, _ *mail.Session, user string, hash Hash) (ScramKeys, string, error) {
	user = strings.ToLower(user)
	want, ok := p.passwords[user]
	if !ok {
		return ScramKeys{}, "", mail.ErrCredentials
	}
	k, err := NewScramKeys(hash, want, []byte("salt of 16 octet"), iterations)
	return k, user, err
}

func (p *people) Certificate(_ context.Context, _ *mail.Session, leaf *x509.Certificate, authzid string) (string, error) {
	if name := leaf.Subject.CommonName; authzid == "" || authzid == name {
		return name, nil
	}
	return "", mail.ErrCredentials
}

func testPeople() *people {
	return &people{passwords: map[string]string{
		"alice@example.test": "pencil", "bob@example.test": "pâss,w=rd\u00a0x", "иван@example.test": "пароль",
	}}
}

func testConfig() Config {
	return Config{Credentials: testPeople(), Secret: []byte("secret of the house"), ScramIterations: iterations}
}

func session(state *tls.ConnectionState) *mail.Session {
	return &mail.Session{ID: "s", TLS: state, RemoteAddr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}}
}

// tlsPair makes a real handshake and returns both ends' states and the server's certificate.
func tlsPair(t testing.TB, version uint16, clientCert bool) (server, client *tls.ConnectionState, cert *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "alice@example.test"},
		NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"mx.test"}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	own := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	sc := &tls.Config{Certificates: []tls.Certificate{own}, MinVersion: version, MaxVersion: version}
	cc := &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version}
	if clientCert {
		sc.ClientAuth, cc.Certificates = tls.RequireAnyClientCert, []tls.Certificate{own}
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	ts, tc := tls.Server(a, sc), tls.Client(b, cc)
	failed := make(chan error, 1)
	go func() { failed <- ts.Handshake() }()
	if err := tc.Handshake(); err != nil {
		t.Fatal(err)
	}
	if version == tls.VersionTLS13 { // the client's last flight is read with the first data
		go tc.Write([]byte("x"))
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	s, c := ts.ConnectionState(), tc.ConnectionState()
	return &s, &c, cert
}

// talk runs a whole exchange between our server and a client.
func talk(t testing.TB, a mail.Authenticator, s *mail.Session, c mail.ClientExchange) (mail.Identity, error) {
	t.Helper()
	ctx := context.Background()
	x, err := a.Start(ctx, s, c.Mechanism())
	if err != nil {
		return mail.Identity{}, err
	}
	response, err := c.Start()
	if err != nil {
		return mail.Identity{}, err
	}
	for range 10 {
		challenge, done, err := x.Next(ctx, response)
		if err != nil {
			return mail.Identity{}, err
		}
		if done {
			if challenge != nil {
				if _, err := c.Next(challenge); err != nil {
					return mail.Identity{}, err
				}
			}
			return x.Identity(), c.Done()
		}
		if response, err = c.Next(challenge); err != nil {
			return mail.Identity{}, err
		}
	}
	t.Fatal("the exchange does not end")
	return mail.Identity{}, nil
}
