package imap_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/imap/imapmem"
)

// TestDrip: who has not logged in is not heard longer for saying one octet a second.
func TestDrip(t *testing.T) {
	for name, begin := range map[string]string{"command": "", "literal": "a LOGIN {40000}\r\n", "response": "a AUTHENTICATE PLAIN\r\n",
		"after logging out": "a LOGIN alice secret\r\nb UNAUTHENTICATE\r\n"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := &imap.Server{Backend: imapmem.New(), Auth: imapmem.Passwords{"alice": "secret"}, PlaintextLoopback: true}
				here, there := net.Pipe()
				go srv.ServeConn(t.Context(), loopback{there})
				var heard bytes.Buffer
				over := make(chan struct{})
				go func() {
					_, _ = io.Copy(&heard, here)
					close(over)
				}()
				start := time.Now()
				_, err := here.Write([]byte(begin + "x"))
				for err == nil && time.Since(start) < time.Hour {
					time.Sleep(time.Second)
					_, err = here.Write([]byte("x"))
				}
				if took := time.Since(start); took < 2*time.Minute || took > 2*time.Minute+2*time.Second {
					t.Errorf("the connection ended after %v", took)
				}
				_ = here.Close()
				<-over
				if !strings.Contains(heard.String(), "* BYE login took too long") {
					t.Errorf("%q", heard.String())
				}
			})
		})
	}
}

// loopback is a connection that comes from this machine.
type loopback struct{ net.Conn }

func (loopback) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

// TestEndlessLine: a line without an end is not read for ever, before login and after it.
func TestEndlessLine(t *testing.T) {
	for _, begin := range []string{"", "a LOGIN alice secret\r\n", "a AUTHENTICATE PLAIN\r\n", "a LOGIN alice secret\r\nb IDLE\r\n"} {
		srv := &imap.Server{Backend: imapmem.New(), Auth: imapmem.Passwords{"alice": "secret"}, PlaintextLoopback: true}
		line := &endless{left: 16 << 20}
		conn := &scriptConn{in: io.MultiReader(strings.NewReader(begin), line)}
		srv.ServeConn(context.Background(), conn)
		if read := 16<<20 - line.left; read > 3<<20 || !strings.Contains(conn.out.String(), "* BYE [TOOBIG]") {
			t.Errorf("after %q: %d octets were read: %q", begin, read, conn.out.String()[max(0, conn.out.Len()-200):])
		}
	}
}

// endless is a line of x.
type endless struct{ left int }

func (e *endless) Read(p []byte) (int, error) {
	n := min(len(p), e.left)
	if n == 0 {
		return 0, io.EOF
	}
	e.left -= n
	copy(p, bytes.Repeat([]byte("x"), n))
	return n, nil
}

// TestRefusedMessage: a message that is not taken is read over where one of its size could be taken, and the client hears why.
func TestRefusedMessage(t *testing.T) {
	message := strings.Repeat("x", 3<<20)
	for size, want := range map[int]string{3 << 20: "a NO [TRYCREATE]", 60 << 20: "* BYE [TRYCREATE] literal is too large to be read over: "} {
		srv := &imap.Server{Backend: imapmem.New(), Auth: imapmem.Passwords{"alice": "secret"}, PlaintextLoopback: true}
		conn := &scriptConn{in: strings.NewReader(fmt.Sprintf("l LOGIN alice secret\r\na APPEND Nowhere {%d+}\r\n%s\r\nb NOOP\r\n", size, message))}
		srv.ServeConn(context.Background(), conn)
		out := conn.out.String()
		if !strings.Contains(out, "\r\n"+want) || strings.HasPrefix(want, "a") && !strings.Contains(out, "\r\nb OK") {
			t.Errorf("%d octets: %q", size, out[max(0, len(out)-200):])
		}
	}
}
