package imap_test

import (
	"bufio"
	"compress/flate"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/imap/imapmem"
)

// certificate makes a certificate for the tests.
func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// client is a connection that the tests talk on.
type client struct {
	t testing.TB
	net.Conn
	r *bufio.Reader
}

func connect(t testing.TB, addr string) *client {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
	return &client{t, nc, bufio.NewReader(nc)}
}

func (c *client) line() string {
	c.t.Helper()
	l, err := c.r.ReadString('\n')
	if err != nil {
		c.t.Fatalf("read: %v", err)
	}
	return strings.TrimRight(l, "\r\n")
}

func (c *client) want(prefix string) string {
	c.t.Helper()
	l := c.line()
	if !strings.HasPrefix(l, prefix) {
		c.t.Fatalf("got %q, want %q", l, prefix)
	}
	return l
}

// cmd sends a command and returns everything up to its tagged answer.
func (c *client) cmd(format string, args ...any) string {
	c.t.Helper()
	s := fmt.Sprintf(format, args...)
	if _, err := io.WriteString(c, s+"\r\n"); err != nil {
		c.t.Fatal(err)
	}
	tag, _, _ := strings.Cut(s, " ")
	var out strings.Builder
	for {
		l := c.line()
		out.WriteString(l + "\n")
		if strings.HasPrefix(l, tag+" ") {
			return out.String()
		}
	}
}

func TestStartTLSDropsPlaintext(t *testing.T) {
	cert := certificate(t)
	addr := newServer(t, func(s *imap.Server) {
		s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
		s.PlaintextLoopback = false
	})
	c := connect(t, addr)
	if l := c.want("* OK"); !strings.Contains(l, "STARTTLS LOGINDISABLED") || strings.Contains(l, "AUTH=PLAIN") {
		t.Errorf("greeting: %s", l)
	}
	if got := c.cmd("a LOGIN alice@example.test secret"); !strings.HasPrefix(got, "a NO [PRIVACYREQUIRED]") {
		t.Error(got)
	}
	if got := c.cmd("b AUTHENTICATE PLAIN AGEAYg=="); !strings.HasPrefix(got, "b NO [PRIVACYREQUIRED]") {
		t.Error(got)
	}
	fmt.Fprintf(c, "c STARTTLS\r\nd LOGIN alice@example.test secret\r\n") // injected before the handshake
	c.want("c OK")
	tc := tls.Client(c.Conn, &tls.Config{InsecureSkipVerify: true})
	if err := tc.Handshake(); err != nil {
		t.Fatal(err)
	}
	s := &client{t, tc, bufio.NewReader(tc)}
	got := s.cmd("e CAPABILITY")
	if strings.Contains(got, "d OK") || strings.Contains(got, "STARTTLS") || !strings.Contains(got, "AUTH=PLAIN") || strings.Contains(got, "IDLE") {
		t.Error(got)
	}
	if got := s.cmd("f STARTTLS"); !strings.HasPrefix(got, "f BAD") {
		t.Error(got)
	}
	if got := s.cmd("g LOGIN alice@example.test secret"); !strings.HasPrefix(got, "g OK") {
		t.Error(got)
	}
}

func TestImplicitTLSIdle(t *testing.T) {
	cert := certificate(t)
	addr := newServer(t, func(s *imap.Server) {
		s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
		s.ImplicitTLS = true
	})
	open := func() *client {
		raw := connect(t, addr)
		tc := tls.Client(raw.Conn, &tls.Config{InsecureSkipVerify: true})
		c := &client{t, tc, bufio.NewReader(tc)}
		c.want("* OK")
		c.cmd("a LOGIN alice@example.test secret")
		c.cmd("b SELECT INBOX")
		return c
	}
	one, two := open(), open()
	fmt.Fprintf(one, "c IDLE\r\n")
	one.want("+ ")
	for i := 1; i <= 3; i++ { // deadlines that wake it must not break TLS
		two.cmd("d APPEND INBOX {6+}\r\na: b\r\n")
		one.want(fmt.Sprintf("* %d EXISTS", i))
		one.want("* ")
	}
	fmt.Fprintf(one, "DONE\r\n")
	one.want("c OK")
}

func TestCompress(t *testing.T) {
	c := connect(t, newServer(t, nil))
	c.want("* OK")
	c.cmd("a LOGIN alice@example.test secret")
	c.cmd("b SELECT INBOX")
	if got := c.cmd("c COMPRESS DEFLATE"); !strings.HasPrefix(got, "c OK") {
		t.Fatal(got)
	}
	w, err := flate.NewWriter(c.Conn, flate.DefaultCompression)
	if err != nil {
		t.Fatal(err)
	}
	z := &client{t, &flateConn{c.Conn, w}, bufio.NewReader(flate.NewReader(c.r))}
	if got := z.cmd("d COMPRESS DEFLATE"); !strings.HasPrefix(got, "d NO [COMPRESSIONACTIVE]") {
		t.Error(got)
	}
	z.cmd("e APPEND INBOX {3000+}\r\n%s", strings.Repeat("a: b\r\n", 500))
	if got := z.cmd("f FETCH 1 BODY[]"); !strings.Contains(got, "{3000}") {
		t.Error(got)
	}
	fmt.Fprintf(z, "g IDLE\r\n")
	z.want("+ ")
	other := connect(t, c.RemoteAddr().String())
	other.want("* OK")
	other.cmd("a LOGIN alice@example.test secret")
	for i := 2; i < 4; i++ {
		other.cmd("b APPEND INBOX {6+}\r\na: b\r\n")
		z.want(fmt.Sprintf("* %d EXISTS", i))
		z.want("* ")
	}
	fmt.Fprintf(z, "DONE\r\n")
	z.want("g OK")
}

type flateConn struct {
	net.Conn
	w *flate.Writer
}

func (f *flateConn) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	if err == nil {
		err = f.w.Flush()
	}
	return n, err
}

func TestShutdownSaysBye(t *testing.T) {
	srv := &imap.Server{Backend: imapmem.New(), Auth: imapmem.Passwords{"a": "b"}, PlaintextLoopback: true}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go srv.Serve(context.Background(), l)
	idle, waiting := connect(t, l.Addr().String()), connect(t, l.Addr().String())
	idle.want("* OK")
	waiting.want("* OK")
	idle.cmd("a LOGIN a b")
	idle.cmd("b SELECT INBOX")
	fmt.Fprintf(idle, "c IDLE\r\n")
	idle.want("+ ")
	if err := srv.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	idle.want("* BYE [UNAVAILABLE]")
	waiting.want("* BYE [UNAVAILABLE]")
	if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
		t.Error("still accepting")
	}
}

// TestPipeline: commands sent at once are answered in order, in few writes.
func TestPipeline(t *testing.T) {
	c := connect(t, newServer(t, nil))
	c.want("* OK")
	var b strings.Builder
	b.WriteString("l LOGIN alice@example.test secret\r\n")
	for i := range 500 {
		fmt.Fprintf(&b, "t%d NOOP\r\n", i)
	}
	io.WriteString(c, b.String())
	c.want("l OK")
	for i := range 500 {
		c.want(fmt.Sprintf("t%d OK", i))
	}
}

func TestLoginLimits(t *testing.T) {
	addr := newServer(t, func(s *imap.Server) {
		s.Limits.LoginTimeout = 100 * time.Millisecond
		s.Limits.Connections = 2
	})
	a := connect(t, addr)
	a.want("* OK")
	b := connect(t, addr)
	b.want("* OK")
	connect(t, addr).want("* BYE [LIMIT]")
	a.want("* BYE login took too long")

	c := connect(t, newServer(t, nil))
	c.want("* OK")
	for i := range 3 {
		fmt.Fprintf(c, "a%d LOGIN alice@example.test no\r\n", i)
		c.want(fmt.Sprintf("a%d NO [AUTHENTICATIONFAILED]", i))
	}
	c.want("* BYE too many failed logins")
}

// TestIdleMemory measures what an idle connection holds.
func TestIdleMemory(t *testing.T) {
	const n = 500
	addr := newServer(t, nil)
	measure := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	before := measure()
	conns := make([]net.Conn, n)
	buf := make([]byte, 4096)
	for i := range conns {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		conns[i] = nc
		read := func(end string) {
			got := ""
			for !strings.Contains(got, end) {
				m, err := nc.Read(buf)
				if err != nil {
					t.Fatal(err)
				}
				got += string(buf[:m])
			}
		}
		read("* OK")
		io.WriteString(nc, "a LOGIN alice@example.test secret\r\n")
		read("a OK")
		io.WriteString(nc, "b SELECT INBOX\r\n")
		read("b OK")
		io.WriteString(nc, "c IDLE\r\n")
		read("+ ")
	}
	per := (measure() - before) / n
	t.Logf("%d octets for each connection in IDLE, with the client's end", per)
	if per > 20<<10 && !raceEnabled { // the race detector has costs of its own
		t.Errorf("an idle connection holds %d octets", per)
	}
}
