package acme_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/samotop/samotop/internal/acme"
	"github.com/samotop/samotop/internal/certs"
	"github.com/samotop/samotop/internal/testports"
)

const (
	hostname  = "mx.a.test"
	tsigName  = "update."
	tsigKey   = "c2VjcmV0LXNlY3JldC1zZWNyZXQ="
	patience  = 2 * time.Minute
	wrongKey  = "d3Jvbmctd3Jvbmctd3Jvbmctd3I="
	localhost = "127.0.0.1:0"
)

// nameserver is the primary of the zone a.test: everything in it is at 127.0.0.1, and signed updates are taken.
type nameserver struct {
	addr string
	mu   sync.Mutex
	txt  map[string][]string
	seen int // updates
}

func newNameserver(t *testing.T) *nameserver {
	t.Helper()
	n := &nameserver{txt: map[string][]string{}}
	l, err := net.Listen("tcp", localhost)
	if err != nil {
		t.Fatal(err)
	}
	u, err := net.ListenPacket("udp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	n.addr = l.Addr().String()
	for _, s := range []*dns.Server{{Listener: l}, {PacketConn: u}} {
		s.Handler, s.TsigSecret = n, map[string]string{tsigName: tsigKey}
		s.MsgAcceptFunc = func(dns.Header) dns.MsgAcceptAction { return dns.MsgAccept }
		go s.ActivateAndServe() //nolint:errcheck // ends with the test
		t.Cleanup(func() { s.Shutdown() })
	}
	return n
}

func (n *nameserver) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	n.mu.Lock()
	defer n.mu.Unlock()
	m := new(dns.Msg).SetReply(q)
	m.Authoritative = true
	switch {
	case q.Opcode == dns.OpcodeUpdate && (q.IsTsig() == nil || w.TsigStatus() != nil):
		m.Rcode = dns.RcodeRefused
	case q.Opcode == dns.OpcodeUpdate:
		n.seen++
		for _, rr := range q.Ns {
			txt, ok := rr.(*dns.TXT)
			if !ok {
				continue
			}
			if rr.Header().Class == dns.ClassINET {
				n.txt[rr.Header().Name] = append(n.txt[rr.Header().Name], txt.Txt...)
			} else {
				delete(n.txt, rr.Header().Name)
			}
		}
	default:
		name := q.Question[0].Name
		hdr := dns.RR_Header{Name: name, Rrtype: q.Question[0].Qtype, Class: dns.ClassINET}
		switch q.Question[0].Qtype {
		case dns.TypeA:
			m.Answer = append(m.Answer, &dns.A{Hdr: hdr, A: net.IPv4(127, 0, 0, 1)})
		case dns.TypeTXT:
			for _, v := range n.txt[strings.ToLower(name)] {
				m.Answer = append(m.Answer, &dns.TXT{Hdr: hdr, Txt: []string{v}})
			}
		}
		if len(m.Answer) == 0 {
			m.Ns = append(m.Ns, &dns.SOA{Hdr: dns.RR_Header{Name: "a.test.", Rrtype: dns.TypeSOA, Class: dns.ClassINET}, Ns: "ns.a.test.", Mbox: "x.a.test."})
		}
	}
	if q.IsTsig() != nil && w.TsigStatus() == nil {
		m.SetTsig(tsigName, dns.HmacSHA256, 300, time.Now().Unix())
	}
	_ = w.WriteMsg(m) // a client that has gone
}

func free(t *testing.T) int {
	t.Helper()
	port, release, err := testports.One()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return port
}

// world is Pebble, which is Let's Encrypt's authority for tests, with a name server and a house's files.
type world struct {
	t         *testing.T
	dns       *nameserver
	http, tls int
	directory string
	roots     *x509.CertPool
	dir       string
	log       *bytes.Buffer
}

func newWorld(t *testing.T) *world {
	t.Helper()
	pebble, err := exec.LookPath("pebble")
	if err != nil {
		t.Skip("pebble is not installed: go install github.com/letsencrypt/pebble/v2/cmd/pebble@v2.10.1")
	}
	w := &world{t: t, dns: newNameserver(t), http: free(t), tls: free(t), dir: t.TempDir(), log: &bytes.Buffer{}}
	api := free(t)
	cert, key := filepath.Join(w.dir, "ca.pem"), filepath.Join(w.dir, "ca.key")
	if err := certs.Write(cert, key, certs.Request{Hosts: []string{"localhost", "127.0.0.1"}}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	w.roots = x509.NewCertPool()
	w.roots.AppendCertsFromPEM(text)
	conf, err := json.Marshal(map[string]any{"pebble": map[string]any{"listenAddress": fmt.Sprintf("127.0.0.1:%d", api), "certificate": cert, "privateKey": key,
		"httpPort": w.http, "tlsPort": w.tls, "retryAfter": map[string]int{"authz": 1, "order": 1}}})
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(w.dir, "pebble.json")
	if err := os.WriteFile(name, conf, 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(pebble, "-config", name, "-dnsserver", w.dns.addr)
	c.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0")
	c.Stdout, c.Stderr = w.log, w.log
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	w.directory = fmt.Sprintf("https://127.0.0.1:%d/dir", api)
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: w.roots}}}
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if r, err := client.Get(w.directory); err == nil {
			r.Body.Close()
			break
		} else if time.Now().After(end) {
			t.Fatal("pebble does not serve: ", err)
		}
	}
	if err := certs.Write(w.file("cert"), w.file("key"), certs.Request{Hosts: []string{hostname}}); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) file(name string) string { return filepath.Join(w.dir, "tls", name+".pem") }

// config is complete but for the challenge.
func (w *world) config() acme.Config {
	return acme.Config{Dir: filepath.Join(w.dir, "certs"), Hostname: hostname, CertFile: w.file("cert"), KeyFile: w.file("key"), Directory: w.directory,
		Roots: w.roots, Email: "me@a.test", Log: slog.New(slog.NewTextHandler(w.t.Output(), nil))}
}

// run runs a Manager until the test or stop ends it.
func (w *world) run(cfg acme.Config, serve func(*acme.Manager)) (m *acme.Manager, stop func()) {
	w.t.Helper()
	m, err := acme.New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	if serve != nil {
		serve(m)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	return m, func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	}
}

// await waits for another certificate than the one given.
func (w *world) await(not *x509.Certificate) *x509.Certificate {
	w.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		c, err := certs.Load(w.file("cert"), w.file("key"))
		if err == nil && !certs.SelfSigned(c) && (not == nil || !c.Leaf.Equal(not)) {
			return c.Leaf
		}
		if time.Now().After(end) {
			w.t.Fatalf("no new certificate\n%s", w.log)
		}
	}
}

// spki is what TLSA 3 1 1 publishes: the key, not the certificate (RFC 7671 section 5.1).
func spki(c *x509.Certificate) string { return string(c.RawSubjectPublicKeyInfo) }

// TestChallenges gets a certificate by each challenge and renews it: the key stays.
func TestChallenges(t *testing.T) {
	for name, set := range map[string]func(w *world, c *acme.Config) func(*acme.Manager){
		"HTTP-01": func(w *world, c *acme.Config) func(*acme.Manager) {
			c.HTTPAddress = fmt.Sprintf("127.0.0.1:%d", w.http)
			return func(m *acme.Manager) {
				srv := &http.Server{Addr: c.HTTPAddress, Handler: m.HTTP()}
				l, err := net.Listen("tcp", c.HTTPAddress)
				if err != nil {
					w.t.Fatal(err)
				}
				go srv.Serve(l) //nolint:errcheck // ends with the test
				w.t.Cleanup(func() { srv.Close() })
			}
		},
		"TLS-ALPN-01": func(w *world, c *acme.Config) func(*acme.Manager) {
			c.TLSAddress = fmt.Sprintf("127.0.0.1:%d", w.tls)
			return func(m *acme.Manager) {
				l, err := tls.Listen("tcp", c.TLSAddress, m.TLS())
				if err != nil {
					w.t.Fatal(err)
				}
				w.t.Cleanup(func() { l.Close() })
				go func() {
					for {
						conn, err := l.Accept()
						if err != nil {
							return
						}
						_ = conn.(*tls.Conn).Handshake()
						conn.Close()
					}
				}()
			}
		},
		"DNS-01": func(w *world, c *acme.Config) func(*acme.Manager) {
			c.DNS = &acme.DNS{Server: w.dns.addr, KeyName: "update", Secret: tsigKey}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			cfg := w.config()
			serve := set(w, &cfg)
			before, err := certs.Load(w.file("cert"), w.file("key"))
			if err != nil {
				t.Fatal(err)
			}
			m, stop := w.run(cfg, serve)
			first := w.await(nil)
			if err := first.VerifyHostname(hostname); err != nil {
				t.Error(err)
			}
			if err := m.Renew(t.Context()); err != nil {
				t.Fatal(err)
			}
			second := w.await(first)
			if spki(first) != spki(before.Leaf) || spki(second) != spki(first) {
				t.Error("the key changed")
			}
			stop()
			if name != "DNS-01" {
				return
			}
			w.dns.mu.Lock()
			defer w.dns.mu.Unlock()
			if w.dns.seen < 2 || len(w.dns.txt) != 0 {
				t.Errorf("%d updates, left in the zone: %v", w.dns.seen, w.dns.txt)
			}
		})
	}
}

// TestKeyReplaced: who replaces the key gets a certificate for it at the next start; who has one keeps it.
func TestKeyReplaced(t *testing.T) {
	w := newWorld(t)
	cfg := w.config()
	cfg.Email = "" // nobody is asked for one
	cfg.DNS = &acme.DNS{Server: w.dns.addr, KeyName: "update", Secret: tsigKey}
	_, stop := w.run(cfg, nil)
	first := w.await(nil)
	stop()

	if err := os.Remove(w.file("cert")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(w.file("key")); err != nil {
		t.Fatal(err)
	}
	if err := certs.Write(w.file("cert"), w.file("key"), certs.Request{Hosts: []string{hostname}}); err != nil {
		t.Fatal(err)
	}
	_, stop = w.run(cfg, nil)
	second := w.await(first)
	stop()
	if spki(first) == spki(second) {
		t.Error("the new key is not used")
	}
	_, stop = w.run(cfg, nil)
	stop()
	if c := w.await(nil); !c.Equal(second) {
		t.Error("a certificate was ordered although one is there")
	}
}

// TestRefused: where nothing can be got, the certificate that is there stays.
func TestRefused(t *testing.T) {
	w := newWorld(t)
	cfg := w.config()
	cfg.DNS = &acme.DNS{Server: w.dns.addr, KeyName: "update", Secret: wrongKey}
	m, stop := w.run(cfg, nil)
	if err := m.Renew(t.Context()); err == nil {
		t.Error("an order succeeded whose challenge could not be answered")
	}
	stop()
	c, err := certs.Load(w.file("cert"), w.file("key"))
	if err != nil || !certs.SelfSigned(c) {
		t.Error("the certificate does not stay: ", err)
	}
}

func TestNew(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "c"), filepath.Join(dir, "k")
	cfg := acme.Config{Dir: dir, Hostname: hostname, CertFile: cert, KeyFile: key, Directory: acme.LetsEncrypt, HTTPAddress: "127.0.0.1:80"}
	if _, err := acme.New(cfg); err == nil {
		t.Error("there is no key")
	}
	if err := certs.Write(cert, key, certs.Request{Hosts: []string{hostname}}); err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{"", "127.0.0.1"} {
		cfg.HTTPAddress = address
		if _, err := acme.New(cfg); err == nil {
			t.Errorf("%q answers no challenge", address)
		}
	}
}
