package pop3

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/sasl"
)

// memory is a Backend in memory: messages by account.
type memory struct {
	mu     sync.Mutex
	drops  map[string]map[int]string // by unique-id
	locked map[string]bool
	fail   error // of Delete
	broken bool  // reading stops in the middle
}

func newMemory(account string, messages ...string) *memory {
	m := &memory{drops: map[string]map[int]string{account: {}}, locked: map[string]bool{}}
	for i, text := range messages {
		m.drops[account][i+1] = text
	}
	return m
}

func (m *memory) Open(_ context.Context, s *mail.Session, limit int) (Drop, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	who := s.Login.Account
	if m.locked[who] {
		return nil, ErrInUse
	}
	m.locked[who] = true
	d := &memoryDrop{m: m, who: who}
	for id := 1; id <= 1000 && len(d.ids) < limit; id++ {
		if text, ok := m.drops[who][id]; ok {
			d.ids, d.texts = append(d.ids, id), append(d.texts, text)
		}
	}
	return d, nil
}

type memoryDrop struct {
	m     *memory
	who   string
	ids   []int
	texts []string
}

func (d *memoryDrop) Len() int         { return len(d.ids) }
func (d *memoryDrop) Size(i int) int64 { return int64(len(d.texts[i])) }
func (d *memoryDrop) AppendUIDL(b []byte, i int) []byte {
	return strconv.AppendInt(append(b, "id-"...), int64(d.ids[i]), 10)
}

func (d *memoryDrop) Read(_ context.Context, i int, f func(Content) error) error {
	d.m.mu.Lock()
	text, ok := d.m.drops[d.who][d.ids[i]]
	broken := d.m.broken
	d.m.mu.Unlock()
	if !ok {
		return ErrGone
	}
	return f(memoryContent{text, broken})
}

func (d *memoryDrop) Delete(_ context.Context, messages []int) error {
	d.m.mu.Lock()
	defer d.m.mu.Unlock()
	if d.m.fail != nil {
		return d.m.fail
	}
	for _, i := range messages {
		delete(d.m.drops[d.who], d.ids[i])
	}
	return nil
}

func (d *memoryDrop) Close() error {
	d.m.mu.Lock()
	defer d.m.mu.Unlock()
	d.m.locked[d.who] = false
	return nil
}

type memoryContent struct {
	text   string
	broken bool
}

func (c memoryContent) Size() int64 { return int64(len(c.text)) }
func (c memoryContent) Append(_ context.Context, dst []byte, off, n int64) ([]byte, error) {
	if c.broken && off > 0 {
		return dst, errors.New("the disk is broken")
	}
	return append(dst, c.text[off:min(off+n, int64(len(c.text)))]...), nil
}

// passwords are the credentials of the tests.
type passwords map[string]string

func (p passwords) Password(_ context.Context, _ *mail.Session, user, password string) (string, error) {
	switch {
	case user == "down":
		return "", errors.New("the database is away")
	case user == "later":
		return "", mail.NewReply(454, mail.Enhanced{4, 7, 0}, "come back later")
	case p[user] == password && password != "":
		return user, nil
	}
	return "", mail.ErrCredentials
}

func (p passwords) Scram(_ context.Context, _ *mail.Session, user string, hash sasl.Hash) (sasl.ScramKeys, string, error) {
	k, err := sasl.NewScramKeys(hash, p[user], []byte("salt of 16 octet"), 64)
	return k, user, err
}

const who = "alice@example.test"

// example is in three messages: two lines with dots, one that ends without CRLF, one with bare LFs.
var example = []string{
	"Subject: one\r\nFrom: x@example.org\r\n\r\n.hidden\r\n..\r\n.\r\nlast\r\n",
	"Subject: two\r\n\r\n1\r\n2\r\n3\r\nno end",
	"Subject: three\n\nbare\n.\nline\n",
}

type server struct {
	*Server
	mem  *memory
	addr string
	t    testing.TB
}

func serve(t testing.TB, change func(*Server), messages ...string) *server {
	t.Helper()
	mem := newMemory(who, messages...)
	srv := &Server{
		Backend: mem,
		Auth: sasl.New(sasl.Config{Credentials: passwords{who: "secret", "grüße@example.test": "geheim"}, PlaintextLoopback: true,
			ScramIterations: 64, Limiter: &sasl.Limiter{}}),
		Hostname: "mx.example.test", Limits: Limits{FailureDelay: -1},
	}
	if change != nil {
		change(srv)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(context.Background(), l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-done; !errors.Is(err, ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
	return &server{srv, mem, l.Addr().String(), t}
}

type client struct {
	t testing.TB
	c net.Conn
	r *bufio.Reader
}

func (s *server) dial() *client {
	s.t.Helper()
	nc, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { nc.Close() })
	c := &client{s.t, nc, bufio.NewReader(nc)}
	c.hear("+OK")
	return c
}

// login opens a session in the TRANSACTION state.
func (s *server) login() *client {
	c := s.dial()
	c.say("USER "+who, "+OK")
	c.say("PASS secret", "+OK")
	return c
}

func (c *client) read() string {
	c.t.Helper()
	c.c.SetReadDeadline(time.Now().Add(time.Minute))
	l, err := c.r.ReadString('\n')
	if err != nil {
		c.t.Fatalf("after %q: %v", l, err)
	}
	if !strings.HasSuffix(l, "\r\n") {
		c.t.Fatalf("line without CRLF: %q", l)
	}
	return l[:len(l)-2]
}

func (c *client) hear(prefix string) string {
	c.t.Helper()
	l := c.read()
	if !strings.HasPrefix(l, prefix) {
		c.t.Fatalf("got %q, want %q", l, prefix)
	}
	return l
}

func (c *client) send(text string) {
	c.t.Helper()
	if _, err := c.c.Write([]byte(text)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) say(line, prefix string) string {
	c.t.Helper()
	c.send(line + "\r\n")
	return c.hear(prefix)
}

// lines reads a multi-line response, its dots taken away.
func (c *client) lines() []string {
	c.t.Helper()
	var out []string
	for {
		l := c.read()
		if l == "." {
			return out
		}
		out = append(out, strings.TrimPrefix(l, "."))
	}
}

// closed waits for the end of the connection.
func (c *client) closed() {
	c.t.Helper()
	c.c.SetReadDeadline(time.Now().Add(time.Minute))
	for {
		if _, err := c.r.ReadString('\n'); err != nil {
			if isTimeout(err) {
				c.t.Fatal("the server does not close the connection")
			}
			return
		}
	}
}

func certificate(t testing.TB) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mx"}, NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"mx.example.test"}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

func serveAuth() mail.Authenticator {
	return sasl.New(sasl.Config{Credentials: passwords{who: "secret"}, PlaintextLoopback: true, ScramIterations: 64, Secret: []byte("secret of the house")})
}

// loopback is a pipe that seems to come from this machine.
type loopback struct{ net.Conn }

func (loopback) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

var past = time.Unix(1, 0)
