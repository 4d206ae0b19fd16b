package house_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/smtp"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/samotop/samotop/accounts"
	"github.com/samotop/samotop/internal/config"
	"github.com/samotop/samotop/internal/house"
	"github.com/samotop/samotop/management"
	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/disk"
	"github.com/samotop/samotop/store/log"
)

var cheap = accounts.HashParams{MemoryKiB: 8, Passes: 1, Threads: 1, ScramIterations: 4096}

// made makes a house in a directory.
func made(t *testing.T, o house.CreateOptions) *house.Created {
	t.Helper()
	o.Dir, o.Hash = filepath.Join(t.TempDir(), "h"), cheap
	if o.Address == "" {
		o.Address = "alice@example.test"
	}
	c, err := house.Create(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// running is a house that serves on ports of its own choice, its databases on a simulated disk.
type running struct {
	*house.House
	disk  *disk.Sim
	stop  context.CancelFunc
	ended chan error
	mu    sync.Mutex
	ports map[string]string
}

func (r *running) addr(port string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ports[port]
}

func serve(t *testing.T, c *house.Created) *running {
	t.Helper()
	r := &running{disk: disk.NewSim(1), ended: make(chan error, 1), ports: map[string]string{}}
	var err error
	r.House, err = house.Open(t.Context(), house.Options{Config: c.Config, Hash: cheap, DrainTime: 5 * time.Second,
		OpenEngine: func(ctx context.Context, name string) (store.Engine, error) {
			return log.Open(ctx, log.Options{Dir: "/" + name, FS: r.disk, MemtableOctets: 1 << 20, CacheOctets: 1 << 20, SegmentOctets: 4 << 20})
		},
		Listen: func(_ context.Context, network, address string) (net.Listener, error) {
			l, err := net.Listen(network, "127.0.0.1:0")
			if err == nil {
				r.mu.Lock()
				r.ports[address[strings.LastIndex(address, ":")+1:]] = l.Addr().String()
				r.mu.Unlock()
			}
			return l, err
		}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	ready := make(chan struct{})
	go func() { r.ended <- r.Serve(ctx, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-r.ended:
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(); r.Close() })
	return r
}

func (r *running) client() management.Client {
	return management.Client{HTTP: management.Direct(r.Handler())}
}

// TestFence: when a disk fails, nothing more is accepted and Serve says so.
func TestFence(t *testing.T) {
	r := serve(t, made(t, house.CreateOptions{}))
	cl := r.client()
	if err := cl.Call(t.Context(), "domain/add", management.NameArgs{Name: "example.test"}, nil); err != nil {
		t.Fatal(err)
	}
	if err := cl.Call(t.Context(), "account/add", management.AccountArgs{Address: "bob@example.test", Password: "secret-1"}, nil); err != nil {
		t.Fatal(err)
	}
	if err := deliver(r.addr("25")); err != nil {
		t.Fatal(err)
	}
	r.disk.PowerOff()
	if err := deliver(r.addr("25")); err == nil {
		t.Error("a message was accepted without a disk")
	}
	err := <-r.ended
	if !errors.Is(err, house.ErrFenced) || !strings.Contains(err.Error(), "database mails") {
		t.Error(err)
	}
	if r.Healthy() == nil {
		t.Error("a house without a disk says that it is healthy")
	}
}

// deliver brings a message without TLS, as a stranger.
func deliver(addr string) error {
	c, err := smtp.Dial(addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Mail("x@x.example"); err != nil {
		return err
	}
	if err := c.Rcpt("bob@example.test"); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	fmt.Fprint(w, "Subject: x\r\n\r\nhello\r\n")
	return w.Close()
}

// TestLock: a second house on the directory is told who has it, and gets it when the first is gone.
func TestLock(t *testing.T) {
	c := made(t, house.CreateOptions{})
	first, err := house.Open(t.Context(), house.Options{Config: c.Config, Rooms: house.Accounts})
	if err != nil {
		t.Fatal(err)
	}
	var held *house.LockedError
	if _, err := house.Open(t.Context(), house.Options{Config: c.Config}); !errors.As(err, &held) || held.PID == "unknown" {
		t.Error(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := house.Open(t.Context(), house.Options{Config: c.Config})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
}

// TestCreated: what Create writes is a good configuration, for every kind of address.
func TestCreated(t *testing.T) {
	for listen, want := range map[string]string{
		"":          "[smtps://:20465 smtp://:20587] [imap://:20143 imaps://:20993 pop3://:20110 pop3s://:20995 lmtp://127.0.0.1:20024]",
		"0.0.0.0":   "[smtps://:20465 smtp://:20587] [imap://:20143 imaps://:20993 pop3://:20110 pop3s://:20995 lmtp://127.0.0.1:20024]",
		"127.0.0.1": "[smtps://127.0.0.1:20465 smtp://127.0.0.1:20587] [imap://127.0.0.1:20143 imaps://127.0.0.1:20993 pop3://127.0.0.1:20110 pop3s://127.0.0.1:20995 lmtp://127.0.0.1:20024]",
		"::1":       "[smtps://[::1]:20465 smtp://[::1]:20587] [imap://[::1]:20143 imaps://[::1]:20993 pop3://[::1]:20110 pop3s://[::1]:20995 lmtp://[::1]:20024]",
		"192.0.2.1": "[smtps://192.0.2.1:20465 smtp://192.0.2.1:20587] [imap://192.0.2.1:20143 imaps://192.0.2.1:20993 pop3://192.0.2.1:20110 pop3s://192.0.2.1:20995 lmtp://127.0.0.1:20024]",
	} {
		c := made(t, house.CreateOptions{Listen: listen, PortBase: 20000}).Config
		if got := fmt.Sprint(c.MSA.Listen, " ", c.Mailbox.Listen); got != want {
			t.Errorf("%q: got %s, want %s", listen, got, want)
		}
	}
	c := made(t, house.CreateOptions{Address: "jürgen@Bücher.example", Password: "secret-1"})
	if c.Password != "" || c.Address != "jürgen@xn--bcher-kva.example" || c.Config.Hostname != "mx.xn--bcher-kva.example" {
		t.Errorf("%+v", c)
	}
}

// TestRecords: what is published names the machine and the ports that listen.
func TestRecords(t *testing.T) {
	c := made(t, house.CreateOptions{Listen: "203.0.113.5", Hostname: "mail.example.net"}).Config
	var got []string
	for _, r := range house.Records(c, "example.test") {
		got = append(got, r.Name+" "+r.Type+" "+r.Value)
	}
	text := strings.Join(got, "\n")
	for _, want := range []string{"example.test. MX 10 mail.example.net.", "mail.example.net. A 203.0.113.5", "_submissions._tcp.example.test. SRV 0 1 465 mail.example.net.", "_imaps._tcp.example.test. SRV 0 1 993 mail.example.net.", "_pop3s._tcp.example.test. SRV 0 1 995 mail.example.net."} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is missing in\n%s", want, text)
		}
	}
}

// TestConfigStays: a configuration is only read.
func TestConfigStays(t *testing.T) {
	c := made(t, house.CreateOptions{})
	before := *c.Config
	h, err := house.Open(t.Context(), house.Options{Config: c.Config})
	if err != nil {
		t.Fatal(err)
	}
	h.Close()
	after, err := config.Load(c.Config.Dir)
	if err != nil || fmt.Sprint(*after) != fmt.Sprint(before) {
		t.Error(err, after)
	}
}
