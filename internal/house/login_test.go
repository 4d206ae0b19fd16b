package house_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/samotop/samotop/internal/house"
	"github.com/samotop/samotop/management"
)

// TestLoginByTokenAndCertificate: OAUTHBEARER and XOAUTH2 with tokens of the issuer of [oauth], EXTERNAL with a certificate of
// tls.client_ca, at IMAP and at submission.
func TestLoginByTokenAndCertificate(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := made(t, house.CreateOptions{})
	issuer := tokenIssuer(t, key)
	c.Config.OAuth.Issuer, c.Config.OAuth.Audience = issuer, []string{"mail"}
	c.Config.TLS.ClientCA = filepath.Join(t.TempDir(), "ca.pem")
	cert := clientCertificate(t, key, c.Config.TLS.ClientCA, "bob@example.test")
	r := serve(t, c)
	cl := r.client()
	if err := cl.Call(t.Context(), "domain/add", management.NameArgs{Name: "example.test"}, nil); err != nil {
		t.Fatal(err)
	}
	if err := cl.Call(t.Context(), "account/add", management.AccountArgs{Address: "bob@example.test", Password: "secret-1"}, nil); err != nil {
		t.Fatal(err)
	}
	good, bad := signed(t, key, issuer, "mail"), signed(t, key, issuer, "web")
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	conf := &tls.Config{InsecureSkipVerify: true}
	for _, x := range []struct {
		certificate         bool
		mechanism, response string
		want                string
	}{
		{false, "OAUTHBEARER", "n,a=bob@example.test,\x01auth=Bearer " + good + "\x01\x01", "OK"},
		{false, "XOAUTH2", "user=bob@example.test\x01auth=Bearer " + good + "\x01\x01", "OK"},
		{false, "OAUTHBEARER", "n,,\x01auth=Bearer " + bad + "\x01\x01", "NO"},
		{false, "EXTERNAL", "", "NO"},
		{true, "EXTERNAL", "", "OK"},
		{true, "EXTERNAL", "bob@example.test", "OK"},
		{true, "EXTERNAL", "alice@example.test", "NO"},
	} {
		conf := conf.Clone()
		if x.certificate {
			conf.Certificates = []tls.Certificate{cert}
		}
		response := b64(x.response)
		if response == "" {
			response = "="
		}
		name := fmt.Sprintf("%s certificate=%v %s", x.mechanism, x.certificate, x.want)
		if got := imapAuth(t, r.addr("993"), conf, x.mechanism, response); got != x.want {
			t.Errorf("imap %s: %s", name, got)
		}
		if got := submissionAuth(t, r.addr("465"), conf, x.mechanism, response); got != x.want {
			t.Errorf("submission %s: %s", name, got)
		}
	}
}

// imapAuth logs in and returns OK or NO.
func imapAuth(t *testing.T, addr string, conf *tls.Config, mechanism, response string) string {
	t.Helper()
	nc, err := tls.Dial("tcp", addr, conf)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
	rd := bufio.NewScanner(nc)
	fmt.Fprintf(nc, "a AUTHENTICATE %s %s\r\n", mechanism, response)
	for rd.Scan() {
		switch line := rd.Text(); {
		case strings.HasPrefix(line, "+ "):
			fmt.Fprint(nc, "AQ==\r\n")
		case strings.HasPrefix(line, "a "):
			return line[2:4]
		}
	}
	t.Fatal(rd.Err())
	return ""
}

// submissionAuth does the same by SMTP.
func submissionAuth(t *testing.T, addr string, conf *tls.Config, mechanism, response string) string {
	t.Helper()
	nc, err := tls.Dial("tcp", addr, conf)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
	c := textproto.NewConn(nc)
	if _, _, err := c.ReadResponse(220); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(nc, "EHLO client.test\r\n")
	if _, _, err := c.ReadResponse(250); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(nc, "AUTH %s %s\r\n", mechanism, response)
	for {
		code, _, err := c.ReadResponse(0)
		if err != nil {
			t.Fatal(err)
		}
		switch code {
		case 334:
			fmt.Fprint(nc, "AQ==\r\n")
		case 235:
			return "OK"
		default:
			return "NO"
		}
	}
}

// tokenIssuer is an OpenID issuer on loopback.
func tokenIssuer(t *testing.T, key *ecdsa.PrivateKey) string {
	t.Helper()
	mux := http.NewServeMux()
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	answer := func(path string, v any) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(v) })
	}
	answer("/.well-known/openid-configuration", map[string]any{"issuer": srv.URL, "jwks_uri": srv.URL + "/keys",
		"id_token_signing_alg_values_supported": []string{"ES256"}})
	answer("/keys", jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k", Algorithm: "ES256", Use: "sig"}}})
	return srv.URL
}

// signed makes a token for bob.
func signed(t *testing.T, key *ecdsa.PrivateKey, issuer, audience string) string {
	t.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "k"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(map[string]any{"iss": issuer, "aud": audience, "email": "bob@example.test", "exp": time.Now().Add(time.Hour).Unix()})
	if err != nil {
		t.Fatal(err)
	}
	sig, err := s.Sign(b)
	if err != nil {
		t.Fatal(err)
	}
	out, err := sig.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// clientCertificate makes an authority, writes its certificate to a file, and has it certify an address.
func clientCertificate(t *testing.T, key *ecdsa.PrivateKey, file, address string) tls.Certificate {
	t.Helper()
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "people"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "bob"}, EmailAddresses: []string{address},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if der, err = x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), key); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
