package pop3

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/samotop/samotop/sasl"
)

func TestTLS(t *testing.T) {
	s := serve(t, func(s *Server) {
		s.TLSConfig = certificate(t)
		s.Auth = sasl.New(sasl.Config{Credentials: passwords{who: "secret"}, ScramIterations: 64})
	}, example...)
	c := s.dial()
	c.say("USER "+who, "-ERR [SYS/PERM]")
	c.say("AUTH PLAIN", "-ERR")
	// what is sent along with STLS came in the clear: it is never run
	c.send("STLS\r\nQUIT\r\n")
	c.hear("+OK")
	tc := tls.Client(c.c, &tls.Config{InsecureSkipVerify: true})
	if err := tc.Handshake(); err != nil {
		t.Fatal(err)
	}
	c.c, c.r = tc, bufio.NewReader(tc)
	c.say("CAPA", "+OK")
	words := strings.Join(c.lines(), "\n")
	if strings.Contains(words, "STLS") || !strings.Contains(words, "USER") || !strings.Contains(words, "SCRAM-SHA-256-PLUS") {
		t.Error(words)
	}
	c.say("STLS", "-ERR")
	c.say("USER "+who, "+OK")
	c.say("PASS secret", "+OK")
	c.say("STAT", "+OK 3 ")
	c.say("QUIT", "+OK")
	c.closed()
}

func TestImplicitTLS(t *testing.T) {
	s := serve(t, func(s *Server) { s.TLSConfig, s.ImplicitTLS = certificate(t), true }, example...)
	nc, err := tls.Dial("tcp", s.addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	c := &client{t, nc, bufio.NewReader(nc)}
	c.hear("+OK mx.example.test POP3 ready")
	c.say("USER "+who, "+OK")
	c.say("PASS secret", "+OK")
}

// TestScram is an exchange of several steps, whose last one is a challenge that the client only acknowledges.
func TestScram(t *testing.T) {
	s := serve(t, nil, example...)
	c := s.dial()
	x, err := sasl.NewClient([]string{"SCRAM-SHA-256"}, sasl.ClientConfig{User: who, Password: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	first, err := x.Start()
	if err != nil {
		t.Fatal(err)
	}
	l := c.say("AUTH SCRAM-SHA-256 "+base64.StdEncoding.EncodeToString(first), "+ ")
	for strings.HasPrefix(l, "+ ") {
		challenge, err := base64.StdEncoding.DecodeString(l[2:])
		if err != nil {
			t.Fatal(err)
		}
		answer, err := x.Next(challenge)
		if err != nil {
			t.Fatal(err)
		}
		l = c.say(base64.StdEncoding.EncodeToString(answer), "+")
	}
	if err := x.Done(); err != nil || !strings.HasPrefix(l, "+OK") {
		t.Fatal(l, err)
	}
	c.say("STAT", "+OK 3")
}

func TestLock(t *testing.T) {
	s := serve(t, nil, example...)
	a, b := s.login(), s.dial()
	b.say("USER "+who, "+OK")
	b.say("PASS secret", "-ERR [IN-USE]")
	a.say("QUIT", "+OK")
	b.say("USER "+who, "+OK") // the session stays where it was
	b.say("PASS secret", "+OK")
}

func TestUpdateFails(t *testing.T) {
	s := serve(t, nil, example...)
	s.mem.fail = errors.New("no disk")
	c := s.login()
	c.say("DELE 1", "+OK")
	c.say("QUIT", "-ERR [SYS/TEMP] some deleted messages were not removed")
	c.closed()
}

// TestBroken: a message that cannot be read to its end never looks whole.
func TestBroken(t *testing.T) {
	s := serve(t, nil, "Subject: x\r\n\r\n"+strings.Repeat("0123456789\r\n", 10_000))
	s.mem.broken = true
	c := s.login()
	c.send("RETR 1\r\n")
	all, _ := io.ReadAll(c.r)
	if bytes.HasSuffix(all, []byte("\r\n.\r\n")) {
		t.Error("the message seems to be whole")
	}
}

func TestGone(t *testing.T) {
	s := serve(t, nil, example...)
	c := s.login()
	s.mem.mu.Lock()
	delete(s.mem.drops[who], 2)
	s.mem.mu.Unlock()
	c.say("RETR 2", "-ERR this message has been removed")
	c.say("DELE 2", "+OK")
	c.say("QUIT", "+OK")
}

func TestLimits(t *testing.T) {
	s := serve(t, func(s *Server) {
		s.Limits = Limits{FailureDelay: -1, Errors: 3, LoginFailures: 2, Commands: 8, Messages: 2, LineOctets: 60, AuthOctets: 3000}
	}, example...)
	c := s.dial()
	for range 3 {
		c.say("X", "-ERR")
	}
	c.closed()
	c = s.dial()
	for range 2 {
		c.say("USER x", "+OK")
		c.say("PASS x", "-ERR [AUTH]")
	}
	c.closed()
	c = s.login()
	c.say("STAT", "+OK 2 ") // the oldest
	c.say("NOOP "+strings.Repeat("x", 100), "-ERR command line is too long")
	c.say(strings.Repeat("x", 10_000), "-ERR command line is too long")
	for range 3 {
		c.say("NOOP", "+OK")
	}
	c.hear("-ERR [SYS/TEMP] too many commands")
	c.closed()
	c = s.dial()
	c.say("AUTH PLAIN "+strings.Repeat("A", 2000), "-ERR auth") // long initial responses are read
	c.say("AUTH PLAIN "+strings.Repeat("A", 5000), "-ERR command line is too long")
	c.say("CAPA "+strings.Repeat("A", 2000), "-ERR command line is too long")
}

func TestConnections(t *testing.T) {
	s := serve(t, func(s *Server) { s.Limits.Connections = 1 })
	c := s.dial()
	nc, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	l, err := bufio.NewReader(nc).ReadString('\n')
	if err != nil || !strings.HasPrefix(l, "-ERR [SYS/TEMP] too many") {
		t.Error(l, err)
	}
	c.say("QUIT", "+OK")
}

func TestTimeouts(t *testing.T) {
	s := serve(t, func(s *Server) { s.Limits.LoginTimeout = 50 * time.Millisecond })
	c := s.dial()
	c.hear("-ERR idle")
	c.closed()
	s = serve(t, func(s *Server) { s.Limits.IdleTimeout = 50 * time.Millisecond }, example...)
	c = s.login()
	c.send("DELE 1\r\n")
	c.closed()
	waitUnlocked(t, s)
	if len(s.mem.drops[who]) != 3 {
		t.Error("autologout deleted something (RFC 1939 section 3)")
	}
}

// TestDrain: a session without marked messages ends at once, one with them gets to say QUIT.
func TestDrain(t *testing.T) {
	s := serve(t, func(s *Server) { s.Limits.DrainTime = time.Minute }, example...)
	a := s.login()
	a.say("DELE 1", "+OK")
	b := s.dial()
	done := make(chan error, 1)
	go func() { done <- s.Shutdown(context.Background()) }()
	b.hear("-ERR [SYS/TEMP] server is stopping")
	b.closed()
	a.say("STAT", "+OK 2")
	a.say("QUIT", "+OK")
	if err := <-done; err != nil {
		t.Error(err)
	}
	if len(s.mem.drops[who]) != 2 {
		t.Error("the message was not deleted")
	}
}

// TestManyAtOnce: sessions of many accounts, for the race detector.
func TestManyAtOnce(t *testing.T) {
	s := serve(t, nil, example...)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			nc, err := net.Dial("tcp", s.addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer nc.Close()
			if _, err := io.WriteString(nc, "USER "+who+"\r\nPASS secret\r\nUIDL\r\nRETR 1\r\nTOP 2 1\r\nQUIT\r\n"); err != nil {
				t.Error(err)
			}
			if all, err := io.ReadAll(nc); err != nil || !bytes.Contains(all, []byte("+OK bye")) {
				t.Errorf("%q %v", all, err)
			}
		})
	}
	wg.Wait()
}

// TestLarge: a message larger than every buffer comes whole, and pipelined commands after it are answered.
func TestLarge(t *testing.T) {
	text := "Subject: large\r\n\r\n" + strings.Repeat(".line of text\r\n", 100_000)
	s := serve(t, nil, text)
	c := s.login()
	c.send("RETR 1\r\nNOOP\r\n")
	c.hear("+OK")
	if got := strings.Join(c.lines(), "\r\n") + "\r\n"; got != text {
		t.Errorf("%d octets came of %d", len(got), len(text))
	}
	c.hear("+OK")
}

func BenchmarkRetrieve(b *testing.B) {
	text := "Subject: large\r\n\r\n" + strings.Repeat("a line of text that is about as long as lines of mail are, or so\r\n", 1000)
	s := serve(b, nil, text)
	c := s.login()
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		c.send("RETR 1\r\n")
		for {
			l, err := c.r.ReadSlice('\n')
			if err != nil {
				b.Fatal(err)
			}
			if string(l) == ".\r\n" {
				break
			}
		}
	}
}
