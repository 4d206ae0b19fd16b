package test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestSplitExternal: in a house whose rooms are processes of their own people log in with client certificates (SASL EXTERNAL), by
// IMAP and for submission, though another process knows the accounts.
func TestSplitExternal(t *testing.T) {
	s := &split{house: newHouse(t, "x.test", "alice", "bob"), procs: map[string]process{}}
	ca := filepath.Join(t.TempDir(), "people.pem")
	alice := peoplesCertificate(t, ca, "alice@x.test")
	s.dropIn("ca", fmt.Sprintf("[tls]\nclient_ca = %q\n", ca))
	s.startAll()
	for _, x := range []struct {
		with []tls.Certificate
		as   string // "=": nobody is named
		want string
	}{{alice, "=", "OK"}, {alice, "Ym9iQHgudGVzdA==", "NO"}, {nil, "=", "NO"}} {
		conf := &tls.Config{InsecureSkipVerify: true, Certificates: x.with}
		if got := s.external(993, conf, "a AUTHENTICATE EXTERNAL "+x.as, "a "); !strings.HasPrefix(got, "a "+x.want) {
			t.Errorf("imap, as %q, certificate %v: %s", x.as, x.with != nil, got)
		}
		want := map[string]string{"OK": "235 ", "NO": "5"}[x.want]
		if got := s.external(465, conf, "EHLO x.example\r\nAUTH EXTERNAL "+x.as, want); !strings.HasPrefix(got, want) {
			t.Errorf("submission, as %q, certificate %v: %s", x.as, x.with != nil, got)
		}
	}
}

// external says something on a TLS port and returns the first line that begins so.
func (h *house) external(port int, conf *tls.Config, say, answer string) string {
	h.t.Helper()
	nc, err := tls.Dial("tcp", h.addr(port), conf)
	if err != nil {
		h.t.Fatal(err)
	}
	defer nc.Close()
	c := h.conversation(nc)
	c.say(say)
	return strings.TrimSpace(c.hear(answer))
}

// peoplesCertificate writes an authority's certificate to a file and returns one that it gave to somebody.
func peoplesCertificate(t *testing.T, file, address string) []tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "people"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, key.Public(), key)
	if err == nil {
		err = os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "somebody"}, EmailAddresses: []string{address},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if der, err = x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), key); err != nil {
		t.Fatal(err)
	}
	return []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
}
