package house

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pires/go-proxyproto"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/smtp"
	"github.com/samotop/samotop/smtp/smtptest"
)

// v2 is a header of version 2.
func v2(t *testing.T, h proxyproto.Header) string {
	t.Helper()
	h.Version = 2
	b, err := h.Format()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestProxyHeader: of whom a connection is, by what it begins with and by who made it.
func TestProxyHeader(t *testing.T) {
	client, here := &net.TCPAddr{IP: net.IPv4(198, 51, 100, 7), Port: 4321}, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 25}
	client6, here6 := &net.TCPAddr{IP: net.ParseIP("2001:db8::7"), Port: 4321}, &net.TCPAddr{IP: net.ParseIP("2001:db8::1"), Port: 25}
	one := "PROXY TCP4 198.51.100.7 192.0.2.1 4321 25\r\n"
	for name, c := range map[string]struct {
		trusted bool
		first   string
		want    string // the greeting's beginning, "" if the connection is closed without one
		remote  string // "" for 127.0.0.1 itself
	}{
		"v1":                   {true, one, "220", "198.51.100.7:4321"},
		"v1, IPv6":             {true, "PROXY TCP6 2001:db8::7 2001:db8::1 4321 25\r\n", "220", "[2001:db8::7]:4321"},
		"v1, of whom unknown":  {true, "PROXY UNKNOWN\r\n", "", ""},
		"v1 without an end":    {true, "PROXY TCP4 198.51.100.7 192.0.2.1 " + strings.Repeat("4", 200), "", ""},
		"v1, bad address":      {true, "PROXY TCP4 198.51.100 192.0.2.1 4321 25\r\n", "", ""},
		"v2":                   {true, v2(t, proxyproto.Header{Command: proxyproto.PROXY, TransportProtocol: proxyproto.TCPv4, SourceAddr: client, DestinationAddr: here}), "220", "198.51.100.7:4321"},
		"v2, IPv6":             {true, v2(t, proxyproto.Header{Command: proxyproto.PROXY, TransportProtocol: proxyproto.TCPv6, SourceAddr: client6, DestinationAddr: here6}), "220", "[2001:db8::7]:4321"},
		"v2, the proxy itself": {true, v2(t, proxyproto.Header{Command: proxyproto.LOCAL, TransportProtocol: proxyproto.UNSPEC}), "220", ""},
		"v2, a Unix socket":    {true, v2(t, proxyproto.Header{Command: proxyproto.PROXY, TransportProtocol: proxyproto.UnixStream, SourceAddr: &net.UnixAddr{Name: "a", Net: "unix"}, DestinationAddr: &net.UnixAddr{Name: "b", Net: "unix"}}), "", ""},
		"v2, cut":              {true, "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\xff", "", ""},
		"no header":            {true, "EHLO a.test\r\n", "", ""},
		"a stranger":           {false, "", "220", ""},
		"a stranger's header":  {false, one, "220", ""},
	} {
		t.Run(name, func(t *testing.T) {
			asked := make(chan string, 4)
			inner, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			l := newProxied(inner, func(net.Addr) bool { return c.trusted }, slog.New(slog.DiscardHandler))
			srv := &smtp.Server{Hostname: "mx.test", Door: mail.DoorFunc(func(_ context.Context, s *mail.Session) (mail.Receiver, error) {
				asked <- s.RemoteAddr.String()
				return nil, nil
			})}
			served := make(chan error, 1)
			go func() { served <- srv.Serve(context.Background(), l) }()
			defer func() {
				if err := srv.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
				<-served
			}()
			conn, err := net.Dial("tcp", inner.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, c.first); err != nil {
				t.Fatal(err)
			}
			if name == "v2, cut" {
				conn.(*net.TCPConn).CloseWrite()
			}
			r := bufio.NewReader(conn)
			line, _ := r.ReadString('\n')
			if c.want == "" {
				if line != "" {
					t.Errorf("%q", line)
				}
				return
			}
			if c.remote == "" {
				c.remote = conn.LocalAddr().String()
			}
			if got := <-asked; !strings.HasPrefix(line, c.want) || got != c.remote {
				t.Errorf("%q to %s, not to %s", line, got, c.remote)
			}
			if !c.trusted && c.first != "" {
				if line, _ := r.ReadString('\n'); !strings.HasPrefix(line, "500 5.5.2") {
					t.Errorf("a stranger's header: %q", line)
				}
			}
		})
	}
}

// pipes is a listener of connections in memory.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (p pipes) Close() error   { close(p); return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

// TestProxyTime: a proxy that says nothing is cut off, and keeps nobody else waiting.
func TestProxyTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := make(pipes)
		l := newProxied(inner, func(net.Addr) bool { return true }, slog.New(slog.DiscardHandler))
		slow, server := smtptest.Pipe()
		start := time.Now()
		inner <- server
		quick, server := smtptest.Pipe()
		inner <- server
		if _, err := io.WriteString(quick, "PROXY TCP4 198.51.100.7 192.0.2.1 4321 25\r\n"); err != nil {
			t.Fatal(err)
		}
		c, err := l.Accept()
		if err != nil || c.RemoteAddr().String() != "198.51.100.7:4321" || time.Since(start) != 0 {
			t.Error(err, time.Since(start))
		}
		if _, err := slow.Read(make([]byte, 1)); err == nil || time.Since(start) != proxyHeaderTime {
			t.Error(err, time.Since(start))
		}
		waiting, server := smtptest.Pipe()
		inner <- server
		synctest.Wait()
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if _, err := waiting.Read(make([]byte, 1)); err == nil {
			t.Error("a connection outlives its listener")
		}
		if _, err := l.Accept(); err == nil {
			t.Error("accepts after Close")
		}
	})
}

// FuzzProxyHeader: whatever a proxy sends, a connection comes out only with the address of a TCP client.
func FuzzProxyHeader(f *testing.F) {
	f.Add([]byte("PROXY TCP4 198.51.100.7 192.0.2.1 4321 25\r\nEHLO"))
	f.Add([]byte("PROXY UNKNOWN\r\n"))
	f.Add([]byte("\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"))
	f.Add([]byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x01\x02\x03\x04\x05\x06\x07\x08\x00\x19\x10\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		inner := make(pipes)
		l := newProxied(inner, func(net.Addr) bool { return true }, slog.New(slog.DiscardHandler))
		client, server := smtptest.Pipe()
		inner <- server
		if len(b) > 32<<10 {
			b = b[:32<<10]
		}
		if _, err := client.Write(b); err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			if _, err := netip.ParseAddrPort(c.RemoteAddr().String()); err != nil && fmt.Sprint(c.RemoteAddr()) != fmt.Sprint(server.RemoteAddr()) {
				t.Errorf("%q gave %v", b, c.RemoteAddr())
			}
		}()
		client.Close()
		for range 50 {
			select {
			case <-done:
			case <-time.After(time.Millisecond):
				continue
			}
			break
		}
		_ = l.Close()
		<-done
	})
}
