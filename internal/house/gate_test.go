package house

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/samotop/samotop/guard"
)

// from gives connections the address that the peer says in its first line.
type from struct{ net.Listener }

type fromConn struct {
	net.Conn
	remote net.Addr
}

func (c fromConn) RemoteAddr() net.Addr { return c.remote }

func (l from) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	b := make([]byte, 16)
	if _, err := io.ReadFull(c, b); err != nil {
		return nil, err
	}
	a := netip.MustParseAddr(strings.TrimSpace(string(b)))
	return fromConn{c, net.TCPAddrFromAddrPort(netip.AddrPortFrom(a, 99))}, nil
}

// TestGate: who is banned is told so and sent away, on every listener; who is connected is cut off; who comes too often is
// put off.
func TestGate(t *testing.T) {
	a, err := guard.OpenAbuse(t.Context(), guard.AbuseConfig{Connections: 5})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	g := newGate(a)
	ctx, cancel := context.WithCancel(t.Context())
	watched := make(chan struct{})
	go func() { defer close(watched); g.watch(ctx) }()
	defer func() { cancel(); <-watched }()
	addrs := map[string]string{}
	for _, name := range []string{"smtp", "submission", "submissions", "imap", "pop3"} {
		raw, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		addrs[name] = raw.Addr().String()
		l := g.listener(name, from{raw})
		go func() { // greets, and answers until the peer or the gate ends it
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer c.Close()
					io.WriteString(c, "hello\r\n")
					io.Copy(c, c)
				}()
			}
		}()
	}
	dial := func(name, ip string) (*bufio.Reader, net.Conn, string) {
		t.Helper()
		c, err := net.Dial("tcp", addrs[name])
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(20 * time.Second))
		io.WriteString(c, ip+strings.Repeat(" ", 16-len(ip)))
		r := bufio.NewReader(c)
		line, _ := r.ReadString('\n')
		return r, c, line
	}
	r, c, line := dial("imap", "192.0.2.1")
	other, oc, _ := dial("imap", "192.0.2.9")
	if line != "hello\r\n" {
		t.Fatal(line)
	}
	if err := a.Add(t.Context(), guard.Ban{Network: netip.MustParsePrefix("192.0.2.1/32")}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.ReadByte(); err == nil {
		t.Error("the connection of who was banned lives on")
	}
	c.Close()
	io.WriteString(oc, "still here\r\n")
	if line, err := other.ReadString('\n'); line != "still here\r\n" {
		t.Error("somebody else was cut off", err)
	}
	for name, want := range map[string]string{"smtp": "554 5.7.1 ", "submission": "554 5.7.1 ", "submissions": "", "imap": "* BYE ", "pop3": "-ERR [SYS/PERM] "} {
		if _, _, line := dial(name, "192.0.2.1"); !strings.HasPrefix(line, want) || want == "" && line != "" {
			t.Errorf("%s says %q", name, line)
		}
	}
	for i := range 7 {
		if _, _, line := dial("smtp", "198.51.100.1"); (line == "hello\r\n") != (i < 5) || i >= 5 && !strings.HasPrefix(line, "421 4.7.0 ") {
			t.Errorf("connection %d: %q", i, line)
		}
	}
	if err := a.Remove(t.Context(), netip.MustParsePrefix("192.0.2.1/32")); err != nil {
		t.Fatal(err)
	}
	if _, _, line := dial("smtp", "192.0.2.1"); line != "hello\r\n" {
		t.Errorf("after the ban: %q", line)
	}
}
