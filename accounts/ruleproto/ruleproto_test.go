package ruleproto

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/samotop/samotop/mail"
)

// truth is what a server answers from.
type truth struct {
	mu      sync.Mutex
	values  map[string]int
	changed chan struct{}
	asked   atomic.Int64
}

func newTruth() *truth { return &truth{values: map[string]int{}, changed: make(chan struct{}, 1)} }

func (x *truth) set(name string, v int) {
	x.mu.Lock()
	x.values[name] = v
	x.mu.Unlock()
	select {
	case x.changed <- struct{}{}:
	default:
	}
}

func (x *truth) changes(ctx context.Context) iter.Seq2[struct{}, error] {
	return func(yield func(struct{}, error) bool) {
		for {
			select {
			case <-ctx.Done():
				return
			case <-x.changed:
				if !yield(struct{}{}, nil) {
					return
				}
			}
		}
	}
}

func (x *truth) get(_ context.Context, name string) (int, error) {
	x.asked.Add(1)
	x.mu.Lock()
	defer x.mu.Unlock()
	switch name {
	case "refused":
		return 0, mail.NewReply(550, mail.Enhanced{5, 1, 1}, "No such user here")
	case "unknown":
		return 0, &Error{Kind: "unknown", Text: "account unknown is not known"}
	case "kind":
		return 0, io.ErrUnexpectedEOF
	case "broken":
		return 0, errors.New("secret cause")
	}
	return x.values[name], nil
}

// serve runs a server on a socket until the function that it returns is called.
func serve(t *testing.T, x *truth, path string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Methods: map[string]Method{"get": Handle(x.get)}, Changes: x.changes, Kind: func(err error) string {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return "eof"
		}
		return ""
	}}
	var wg sync.WaitGroup
	wg.Go(func() { s.Run(ctx) })
	srv := &http.Server{Handler: s, BaseContext: func(net.Listener) context.Context { return ctx }}
	wg.Go(func() { srv.Serve(l) })
	return func() {
		cancel()
		srv.Close()
		wg.Wait()
	}
}

func client(t *testing.T, path string) *Client {
	c := NewClient(Config{Dial: func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "unix", path) }})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); c.Follow(ctx) }()
	t.Cleanup(func() { cancel(); <-done; c.Close() })
	return c
}

// until waits for a condition that comes true by itself.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 3000 {
		if ok() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("never: %s", what)
}

func always(int) bool { return true }

func TestAsk(t *testing.T) {
	x, path := newTruth(), filepath.Join(t.TempDir(), "s")
	x.set("a", 1)
	defer serve(t, x, path)()
	c := client(t, path)
	ctx := t.Context()
	if v, err := Ask[int](ctx, c, "get", "a", nil); v != 1 || err != nil {
		t.Error(v, err)
	}
	_, err := Ask[int](ctx, c, "get", "refused", always)
	if r := mail.AsReply(err); r.Code != 550 || r.Enhanced != (mail.Enhanced{5, 1, 1}) || r.Text != "No such user here" {
		t.Error(err)
	}
	for name, kind := range map[string]string{"unknown": "unknown", "kind": "eof", "broken": "internal"} {
		var e *Error
		if _, err := Ask[int](ctx, c, "get", name, always); !errors.As(err, &e) || e.Kind != kind || strings.Contains(e.Text, "secret") {
			t.Error(name, err)
		}
	}
	var e *Error
	if _, err := Ask[int](ctx, c, "get", 7, nil); !errors.As(err, &e) || e.Kind != "usage" {
		t.Error(err)
	}
	if _, err := Ask[int](ctx, c, "nothing", "a", nil); err == nil || !strings.Contains(err.Error(), "same version") {
		t.Error(err)
	}
	if _, err := Ask[int](ctx, c, "get", strings.Repeat("x", MaxRequestOctets), nil); err == nil {
		t.Error("a question of any length is read")
	}
}

func TestKeepsAndForgets(t *testing.T) {
	x, path := newTruth(), filepath.Join(t.TempDir(), "s")
	x.set("a", 1)
	stop := serve(t, x, path)
	c := client(t, path)
	ask := func() int {
		v, err := Ask(t.Context(), c, "get", "a", always)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	until(t, "an answer is kept", func() bool {
		before := x.asked.Load()
		ask()
		return x.asked.Load() == before
	})
	x.set("a", 2)
	until(t, "a change is heard of", func() bool { return ask() == 2 })
	stop()
	until(t, "the stream breaks", func() bool { return !c.Up() })
	if _, err := Ask(t.Context(), c, "get", "a", always); !errors.Is(err, ErrAway) {
		t.Error("old answers are used while the server is away:", err)
	}
	x.mu.Lock()
	x.values["a"] = 3 // nobody could hear of it
	x.mu.Unlock()
	defer serve(t, x, path)()
	if ask() != 3 {
		t.Error("an old answer after a restart")
	}
	until(t, "it is up again", c.Up)
	until(t, "and keeps", func() bool {
		before := x.asked.Load()
		return ask() == 3 && x.asked.Load() == before
	})
}

// Who hears of a change is never given an older answer afterwards, however questions and changes cross.
func TestNeverOlderThanTheLastEvent(t *testing.T) {
	x, path := newTruth(), filepath.Join(t.TempDir(), "s")
	defer serve(t, x, path)()
	c := client(t, path)
	until(t, "up", c.Up)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					Ask(t.Context(), c, "get", "n", always)
				}
			}
		})
	}
	for i := 1; i <= 200; i++ {
		x.set("n", i)
	}
	close(stop)
	wg.Wait()
	until(t, "the last value", func() bool {
		v, _ := Ask(t.Context(), c, "get", "n", always)
		return v == 200
	})
	for range 100 { // and it stays
		if v, _ := Ask(t.Context(), c, "get", "n", always); v != 200 {
			t.Fatal("an older answer came back:", v)
		}
	}
}

func TestKeepsNoMoreThanItMay(t *testing.T) {
	x, path := newTruth(), filepath.Join(t.TempDir(), "s")
	defer serve(t, x, path)()
	c := client(t, path)
	c.c.MaxKept = 10
	until(t, "up", c.Up)
	for i := range 100 {
		if _, err := Ask(t.Context(), c, "get", fmt.Sprint(i), always); err != nil {
			t.Fatal(err)
		}
		if n := len(c.kept) + len(c.old); n > 10 { // nothing else runs now but the stream, which changes nothing
			t.Fatalf("%d answers are kept", n)
		}
	}
}
