package pop3

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samotop/samotop/sasl"
)

// TestDrip: a command that comes an octet a second is not waited for longer than one that does not come.
func TestDrip(t *testing.T) {
	for name, c := range map[string]struct {
		begin string
		limit time.Duration
	}{"command": {"", 2 * time.Minute}, "response": {"AUTH PLAIN\r\n", 2 * time.Minute}, "logged in": {"USER " + who + "\r\nPASS secret\r\n", 10 * time.Minute}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := dripped()
				here, there := net.Pipe()
				go srv.ServeConn(t.Context(), loopback{there})
				var heard bytes.Buffer
				over := make(chan struct{})
				go func() {
					_, _ = io.Copy(&heard, here)
					close(over)
				}()
				start := time.Now()
				_, err := here.Write([]byte(c.begin + "x"))
				for err == nil && time.Since(start) < time.Hour {
					time.Sleep(time.Second)
					_, err = here.Write([]byte("x"))
				}
				if took := time.Since(start); took < c.limit || took > c.limit+2*time.Second {
					t.Errorf("the connection ended after %v", took)
				}
				_ = here.Close()
				<-over
				if !strings.Contains(heard.String(), "-ERR idle for too long") {
					t.Errorf("%q", heard.String())
				}
			})
		})
	}
}

func dripped() *Server {
	return &Server{Backend: newMemory(who, example...), Auth: sasl.New(sasl.Config{Credentials: passwords{who: "secret"}, PlaintextLoopback: true, ScramIterations: 64})}
}

// TestEndlessLine: a line without an end is not read for ever.
func TestEndlessLine(t *testing.T) {
	srv := dripped()
	here, there := net.Pipe()
	go srv.ServeConn(t.Context(), loopback{there})
	heard := make(chan string)
	go func() {
		b, _ := io.ReadAll(here)
		heard <- string(b)
	}()
	sent := 0
	for chunk := bytes.Repeat([]byte("x"), 1<<16); sent < 16<<20; {
		n, err := here.Write(chunk)
		sent += n
		if err != nil {
			break
		}
	}
	_ = here.Close()
	if got := <-heard; sent > 2<<20 || !strings.Contains(got, "-ERR command line is too long") {
		t.Errorf("%d octets were read: %q", sent, got)
	}
}
