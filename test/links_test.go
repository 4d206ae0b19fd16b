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
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
)

// authority signs the certificates of the machines of a house.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	a.cert, a.key, a.pem = a.sign(&x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

func (a *authority) sign(c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey, []byte) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c.SerialNumber, c.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: "links"}
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// machine writes links/{ca,cert,key}.pem of a house, and returns the same for use here.
func (a *authority) machine(dir string) tls.Certificate {
	a.t.Helper()
	_, key, cert := a.sign(&x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}})
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	private := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if err := os.MkdirAll(filepath.Join(dir, "links"), 0o700); err != nil {
		a.t.Fatal(err)
	}
	for name, text := range map[string][]byte{"ca": a.pem, "cert": cert, "key": private} {
		tmp := filepath.Join(dir, "links", name+".new")
		if err := os.WriteFile(tmp, text, 0o600); err != nil {
			a.t.Fatal(err)
		}
		if err := os.Rename(tmp, filepath.Join(dir, "links", name+".pem")); err != nil {
			a.t.Fatal(err)
		}
	}
	c, err := tls.X509KeyPair(cert, private)
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

const linkFiles = "[links]\nca = \"links/ca.pem\"\ncert = \"links/cert.pem\"\nkey = \"links/key.pem\"\n"

// TestLinksBetweenMachines: the mta and the guard are on one machine, the rest on another. Whoever has no certificate of the
// house's own authority is turned away, at both ends.
func TestLinksBetweenMachines(t *testing.T) {
	ours, strangers := newAuthority(t), newAuthority(t)
	back := newHouse(t, "a.test", "alice")
	mine := ours.machine(back.dir)
	var listen, links []string
	for i, room := range []string{"mailbox", "qm", "rules", "events", "accounts"} {
		at := fmt.Sprintf("127.0.0.1:%d", back.base+50+i)
		listen = append(listen, fmt.Sprintf("%s = %q", room, at))
		links = append(links, fmt.Sprintf("%s = \"tls://%s\"\n", room, at))
	}
	front := newHouse(t, "a.test")
	for front.base == back.base {
		front = newHouse(t, "a.test")
	}
	evidence, junk := fmt.Sprintf("127.0.0.1:%d", front.base+55), fmt.Sprintf("127.0.0.1:%d", front.base+56)
	back.dropIn("links", linkFiles+"listen = { "+strings.Join(listen, ", ")+" }\n"+
		fmt.Sprintf("evidence = \"tls://%s\"\njunk = \"tls://%s\"\n", evidence, junk))
	back.dropIn("guard", "[guard]\nsent_messages_per_hour = 1\nalarm = false\n")
	rooms, err := back.serve("mailbox", "accounts", "qm", "msa", "management")
	if err != nil {
		t.Fatal(err)
	}
	back.process = rooms

	ours.machine(front.dir)
	front.dropIn("guard", "[guard]\nsent_messages_per_hour = 1\nalarm = false\n")
	front.dropIn("links", linkFiles+strings.Join(links, "")+fmt.Sprintf("listen = { evidence = %q, junk = %q }\n", evidence, junk))
	start := func() process {
		t.Helper()
		p, err := front.serve("mta", "guard")
		if err != nil {
			t.Fatal(err)
		}
		front.process = p
		return p
	}
	message := letter("x@x.example", "alice@a.test", "far", "hello")
	start()
	if err := front.send("x@x.example", []string{"alice@a.test"}, message); err != nil {
		t.Fatalf("%v\n%s\n%s", err, front.log, back.log)
	}
	back.await("alice@a.test", 1)
	if err := front.send("x@x.example", []string{"nobody@a.test"}, message); err == nil || !strings.Contains(err.Error(), "5.1.1") {
		t.Errorf("unknown user: %v", err)
	}
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		out, err := back.try("", "why", "alice@a.test")
		if err == nil && strings.Contains(out, " mta ") {
			break
		}
		if time.Now().After(end) {
			t.Errorf("the journal does not hear of the other machine: %v\n%s\n%s", err, out, front.log)
			break
		}
	}

	// The guard over there is asked what may be sent here, and taught by what people do here.
	for i := range 2 {
		err := back.submit("alice@a.test", []string{"admin@a.test"}, letter("alice@a.test", "admin@a.test", "much", "hello"))
		if (err != nil) != (i == 1) || err != nil && !strings.Contains(err.Error(), "4.7.1") {
			t.Errorf("message %d: %v", i, err)
		}
	}
	back.toJunk("alice@a.test")
	front.until("the filter of the other machine learns", func() bool {
		out, _ := front.try("", "junk", "stats", "alice@a.test")
		return strings.Contains(strings.Join(strings.Fields(out), " "), "alice@a.test 0 1 ")
	})

	// The door shows itself to nobody else.
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ours.pem)
	for name, certs := range map[string][]tls.Certificate{"": nil, "a stranger's": {strangers.machine(t.TempDir())}, "ours": {mine}} {
		if got := speaks(fmt.Sprintf("127.0.0.1:%d", back.base+50), &tls.Config{RootCAs: pool, Certificates: certs, ServerName: "127.0.0.1"}); got != (name == "ours") {
			t.Errorf("with the certificate %q the mailbox speaks: %v", name, got)
		}
	}

	// A machine whose authority is another cannot get in, and the front does not believe a room that shows such a certificate.
	refused := func(why string) {
		t.Helper()
		if err := front.send("x@x.example", []string{"alice@a.test"}, message); err == nil || !strings.HasPrefix(err.Error(), "4") {
			t.Errorf("%s: %v", why, err)
		}
		if err := front.stop(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
	}
	if err := front.stop(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	strangers.machine(front.dir)
	start()
	refused("a stranger's machine gets in")
	ours.machine(front.dir)
	if err := os.WriteFile(filepath.Join(front.dir, "links", "ca.pem"), strangers.pem, 0o600); err != nil {
		t.Fatal(err)
	}
	start()
	refused("a stranger's room is believed")
	ours.machine(front.dir)
	start()
	if err := front.send("x@x.example", []string{"alice@a.test"}, message); err != nil {
		t.Error(err)
	}
	back.await("alice@a.test", 1)
}

// toJunk moves the first message in somebody's INBOX to Junk.
func (h *house) toJunk(user string) {
	h.t.Helper()
	c := h.imap(user)
	defer c.Close()
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		h.t.Fatal(err)
	}
	if _, err := c.Move(imap.SeqSetNum(1), "Junk").Wait(); err != nil {
		h.t.Fatal(err)
	}
}

// speaks reports whether a door greets who shows a certificate.
func speaks(address string, conf *tls.Config) bool {
	c, err := tls.Dial("tcp", address, conf)
	if err != nil {
		return false
	}
	defer c.Close()
	b := make([]byte, 3)
	_, err = c.Read(b) // with TLS 1.3 the refusal of a certificate comes here
	return err == nil && string(b) == "220"
}
