package accept

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestEnter(t *testing.T) {
	var g Gate[int]
	one, two := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	for i, c := range []struct {
		network netip.Addr
		want    Verdict
	}{{one, Entered}, {one, Entered}, {one, TooManyOfNetwork}, {two, Entered}, {netip.Addr{}, Entered}, {two, TooMany}} {
		if v := g.Enter(i, c.network, 4, 2); v != c.want {
			t.Errorf("%d: %v, want %v", i, v, c.want)
		}
	}
	g.Leave(0)
	if v := g.Enter(7, one, 4, 2); v != Entered {
		t.Errorf("after one has left: %v", v)
	}
	for _, s := range []int{1, 3, 4, 7} {
		g.Leave(s)
	}
	if len(g.from) != 0 || len(g.sessions) != 0 {
		t.Errorf("left behind: %v, %v", g.from, g.sessions)
	}
}

func TestNetwork(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1:25": "192.0.2.1", "[::ffff:192.0.2.1]:25": "192.0.2.1", "[2001:db8:1:2:3::4]:25": "2001:db8:1:2::", "[fe80::1%lo]:25": "fe80::",
	} {
		if got := Network(net.TCPAddrFromAddrPort(netip.MustParseAddrPort(in))); got.String() != want {
			t.Errorf("%s: %v", in, got)
		}
	}
	for _, a := range []net.Addr{nil, &net.UnixAddr{Name: "/x", Net: "unix"}} {
		if got := Network(a); got.IsValid() {
			t.Errorf("%v: %v", a, got)
		}
	}
}

// faulty is a listener that fails some times.
type faulty struct {
	net.Listener
	errs []error
}

func (f *faulty) Accept() (net.Conn, error) {
	if len(f.errs) > 0 {
		err := f.errs[0]
		f.errs = f.errs[1:]
		return nil, err
	}
	return f.Listener.Accept()
}

type passing struct{ error }

func (passing) Temporary() bool { return true }
func (passing) Timeout() bool   { return false }

func listen(t *testing.T) net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestServe(t *testing.T) {
	var g Gate[net.Conn]
	full := passing{errors.New("too many open files")}
	l := listen(t)
	f := &faulty{Listener: l, errs: []error{full, full}}
	var retries atomic.Int32
	took := make(chan net.Conn, 1)
	ended := make(chan error, 1)
	go func() {
		ended <- g.Serve(context.Background(), f, func(error, time.Duration) { retries.Add(1) }, func(c net.Conn) { took <- c })
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	(<-took).Close()
	if retries.Load() != 2 {
		t.Errorf("%d retries", retries.Load())
	}
	if err := g.Drain(context.Background(), func(net.Conn) {}, func(net.Conn) {}); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, ErrDraining) {
		t.Error(err)
	}
	if err := g.Serve(context.Background(), listen(t), nil, nil); !errors.Is(err, ErrDraining) {
		t.Errorf("after Drain: %v", err)
	}
	if v := g.Enter(c, netip.Addr{}, 9, 9); v != Stopping {
		t.Errorf("after Drain: %v", v)
	}
}

func TestServeEnds(t *testing.T) {
	var g Gate[net.Conn]
	broken := errors.New("broken")
	if err := g.Serve(context.Background(), &faulty{Listener: listen(t), errs: []error{broken}}, nil, nil); err != broken {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := g.Serve(ctx, listen(t), nil, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestDrain: who is asked leaves in his time, who does not is cut, and Drain waits for both.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate[chan string]
		session := func(obeys bool) chan string {
			c := make(chan string, 2)
			if g.Enter(c, netip.Addr{}, 9, 9) != Entered {
				t.Fatal("not let in")
			}
			go func() {
				defer g.Leave(c)
				for word := range c {
					if word == "cut" {
						time.Sleep(time.Second)
						return
					}
					if obeys {
						time.Sleep(3 * time.Second)
						return
					}
				}
			}()
			return c
		}
		start := time.Now()
		ask, cut := func(c chan string) { c <- "ask" }, func(c chan string) { c <- "cut" }
		session(true)
		session(false)
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := g.Drain(ctx, ask, cut); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if took := time.Since(start); took != 11*time.Second {
			t.Errorf("drained after %v", took)
		}
		if err := g.Drain(context.Background(), ask, cut); err != nil {
			t.Errorf("again: %v", err)
		}
	})
}
