package certs_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/samotop/samotop/internal/certs"
)

type house struct {
	dir, cert, key string
	now            time.Time
	log            bytes.Buffer
}

func newHouse(t *testing.T) *house {
	d := t.TempDir()
	h := &house{dir: d, cert: filepath.Join(d, "cert.pem"), key: filepath.Join(d, "key.pem"), now: time.Now()}
	h.renew(t, "mx.example.org")
	return h
}

// renew puts another certificate in place the way certificate tools do: by renaming.
func (h *house) renew(t *testing.T, name string) {
	t.Helper()
	c, k := filepath.Join(h.dir, "new-cert"), filepath.Join(h.dir, "new-key")
	if err := certs.Write(c, k, certs.Request{Hosts: []string{name, "localhost", "127.0.0.1"}}); err != nil {
		t.Fatal(err)
	}
	h.rename(t, c, h.cert)
	h.rename(t, k, h.key)
}

func (h *house) rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func (h *house) open(t *testing.T) *certs.Keeper {
	t.Helper()
	k, err := certs.Open(certs.Config{CertFile: h.cert, KeyFile: h.key, Clock: func() time.Time { return h.now },
		Log: slog.New(slog.NewTextHandler(&h.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func subject(t *testing.T, k *certs.Keeper) string {
	t.Helper()
	c, err := k.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	return c.Leaf.Subject.CommonName
}

func TestRenewal(t *testing.T) {
	h := newHouse(t)
	k := h.open(t)
	h.renew(t, "new.example.org")
	if s := subject(t, k); s != "mx.example.org" {
		t.Errorf("looked at the files within the interval: %s", s)
	}
	h.now = h.now.Add(2 * time.Second)
	if s := subject(t, k); s != "new.example.org" {
		t.Errorf("the new certificate was not taken up: %s", s)
	}
	if !strings.Contains(h.log.String(), "new certificate taken up") {
		t.Error(h.log.String())
	}
}

func TestBrokenRenewal(t *testing.T) {
	h := newHouse(t)
	k := h.open(t)
	for name, text := range map[string]string{h.cert: "-----BEGIN CERT", h.key: ""} {
		h.log.Reset()
		old, _ := os.ReadFile(name)
		os.WriteFile(name, []byte(text), 0o600)
		for range 3 {
			h.now = h.now.Add(2 * time.Second)
			if s := subject(t, k); s != "mx.example.org" {
				t.Fatal(s)
			}
		}
		if n := strings.Count(h.log.String(), "the old one stays"); n != 1 {
			t.Errorf("%s: said %d times: %s", name, n, h.log.String())
		}
		os.WriteFile(name, old, 0o600)
		h.now = h.now.Add(2 * time.Second)
		subject(t, k)
	}
	h.renew(t, "new.example.org")
	h.now = h.now.Add(2 * time.Second)
	if s := subject(t, k); s != "new.example.org" {
		t.Error(s)
	}
}

// TestSessionSurvives: a connection made before goes on, one made after sees the new certificate.
func TestSessionSurvives(t *testing.T) {
	h := newHouse(t)
	k := h.open(t)
	l, err := tls.Listen("tcp", "127.0.0.1:0", k.ServerConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				b := make([]byte, 1)
				for {
					if _, err := c.Read(b); err != nil {
						return
					}
					c.Write(b)
				}
			}()
		}
	}()
	dial := func() *tls.Conn {
		c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(time.Minute))
		return c
	}
	first := dial()
	h.renew(t, "new.example.org")
	h.now = h.now.Add(2 * time.Second)
	second := dial()
	if n := second.ConnectionState().PeerCertificates[0].Subject.CommonName; n != "new.example.org" {
		t.Error(n)
	}
	for _, c := range []net.Conn{first, second} {
		c.Write([]byte("x"))
		if n, err := c.Read(make([]byte, 1)); n != 1 || err != nil {
			t.Error(err)
		}
	}
}

func TestErrors(t *testing.T) {
	h, other := newHouse(t), newHouse(t)
	text := filepath.Join(h.dir, "text")
	os.WriteFile(text, []byte("hello"), 0o600)
	locked := filepath.Join(h.dir, "locked")
	os.WriteFile(locked, []byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"), 0o600)
	for _, c := range []struct{ cert, key, want string }{
		{filepath.Join(h.dir, "none"), h.key, "there is no such file"},
		{h.cert, filepath.Join(h.dir, "none"), "there is no such file"},
		{h.key, h.cert, "exchanged"},
		{h.cert, other.key, "does not belong to certificate"},
		{text, h.key, "not a PEM file"},
		{h.cert, locked, "passphrase"},
		{h.dir, h.key, "not a PEM file"},
	} {
		if _, err := certs.Load(c.cert, c.key); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s, %s: got %v, want %q", c.cert, c.key, err, c.want)
		}
	}
}

func TestWorry(t *testing.T) {
	h := newHouse(t)
	c, err := certs.Load(h.cert, h.key)
	if err != nil {
		t.Fatal(err)
	}
	if w := certs.Worry(c, h.key, time.Now()); w != "" {
		t.Error(w)
	}
	if w := certs.Worry(c, h.key, time.Now().Add(2*certs.SelfSignedValid)); !strings.Contains(w, "expired on") {
		t.Error(w)
	}
	if w := certs.Worry(c, h.key, time.Now().Add(-certs.SelfSignedValid)); !strings.Contains(w, "clock") {
		t.Error(w)
	}
	os.Chmod(h.key, 0o644)
	if w := certs.Worry(c, h.key, time.Now()); !strings.Contains(w, "chmod 600") {
		t.Error(w)
	}
}

func TestSelfSigned(t *testing.T) {
	h := newHouse(t)
	c, err := certs.Load(h.cert, h.key)
	if err != nil {
		t.Fatal(err)
	}
	if !certs.SelfSigned(c) || certs.Covers(c, "localhost") != nil || certs.Covers(c, "127.0.0.1") != nil || certs.Covers(c, "other.example") == nil {
		t.Error("not what was asked for")
	}
	pool := x509.NewCertPool()
	pool.AddCert(c.Leaf)
	if _, err := c.Leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: "mx.example.org"}); err != nil {
		t.Errorf("a client told to trust it does not: %v", err)
	}
	if fi, _ := os.Stat(h.key); fi.Mode().Perm() != 0o600 {
		t.Error(fi.Mode())
	}
	if err := certs.Write(h.cert, h.key, certs.Request{Hosts: []string{"x"}}); err == nil {
		t.Error("replaced a key")
	}
}
