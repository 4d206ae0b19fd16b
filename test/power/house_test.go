package power_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/samotop/samotop/accounts"
	"github.com/samotop/samotop/internal/certs"
	"github.com/samotop/samotop/internal/config"
	"github.com/samotop/samotop/internal/house"
	"github.com/samotop/samotop/management"
	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/disk"
	"github.com/samotop/samotop/store/log"
)

// machine is a computer whose power can be cut: a directory for what people write by hand, and a simulated disk for the
// databases.
type machine struct {
	*testing.T
	dir  string
	disk *disk.Sim
	lie  bool // syncs do nothing: the test must notice

	house  *house.House
	stop   context.CancelFunc
	served chan error

	mu    sync.Mutex
	ports map[string]string // configured address -> the one that listens
}

// The ports in the configuration. Which ones really listen is looked up in machine.ports.
const configuration = `hostname = "mx.example.test"
[dns]
resolver = ["127.0.0.1:1"]
[tls]
cert = "tls/cert.pem"
key = "tls/key.pem"
[mta]
listen = ["127.0.0.1:10025"]
[msa]
listen = ["smtp://127.0.0.1:10587"]
[mailbox]
listen = ["imap://127.0.0.1:10143", "lmtp://127.0.0.1:10024"]
plaintext_loopback = true
[[qm.route]]
domain = "*"
to = "smtp://127.0.0.1:1"
`

func newMachine(t *testing.T, lie bool) *machine {
	m := &machine{T: t, dir: t.TempDir(), disk: disk.NewSim(1), lie: lie}
	if err := os.WriteFile(filepath.Join(m.dir, config.FileName), []byte(configuration), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(m.dir, config.TLSDir), 0o700); err != nil {
		t.Fatal(err)
	}
	cert, key := filepath.Join(m.dir, config.TLSDir, config.CertName), filepath.Join(m.dir, config.TLSDir, config.KeyName)
	if err := certs.Write(cert, key, certs.Request{Hosts: []string{"mx.example.test"}}); err != nil {
		t.Fatal(err)
	}
	m.start()
	t.Cleanup(m.off)
	return m
}

// start opens the house on the disk as it is and serves.
func (m *machine) start() {
	m.Helper()
	conf, err := config.Load(m.dir)
	if err != nil {
		m.Fatal(err)
	}
	m.ports = map[string]string{}
	m.house, err = house.Open(context.Background(), house.Options{
		Config: conf, OpenEngine: m.engine, Listen: m.listen, LockWait: 5 * time.Second,
		Hash: accounts.HashParams{MemoryKiB: 8, Passes: 1, Threads: 1, ScramIterations: 4096},
	})
	if err != nil {
		m.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready := make(chan struct{})
	m.stop, m.served = cancel, make(chan error, 1)
	h := m.house
	go func() { m.served <- h.Serve(ctx, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-m.served:
		m.Fatal("the house does not serve: ", err)
	}
}

func (m *machine) engine(ctx context.Context, name string) (store.Engine, error) {
	var fs disk.FS = m.disk
	if m.lie {
		fs = lyingDisk{m.disk}
	}
	return log.Open(ctx, log.Options{Dir: "/" + name, FS: fs, MemtableOctets: 1 << 20, CacheOctets: 1 << 20, SegmentOctets: 4 << 20})
}

func (m *machine) listen(_ context.Context, network, address string) (net.Listener, error) {
	l, err := net.Listen(network, "127.0.0.1:0")
	if err == nil {
		m.mu.Lock()
		m.ports[address] = l.Addr().String()
		m.mu.Unlock()
	}
	return l, err
}

// off turns the machine off without saving anything more.
func (m *machine) off() {
	if m.house == nil {
		return
	}
	m.disk.PowerOff()
	m.stop()
	<-m.served
	m.house.Close() //nolint:errcheck // its disk is gone
	m.house = nil
}

// cut cuts the power at this moment, drops every octet that was not synced, and starts the machine again. What is on the
// disk is decided first, before the dying house can do anything more.
func (m *machine) cut() {
	m.Helper()
	after := m.disk.Crash(disk.Strict)
	m.off()
	m.disk = after
	m.start()
}

// verb calls a verb as the command line does.
func (m *machine) verb(name string, args, result any) error {
	return management.Client{HTTP: management.Direct(m.house.Handler())}.Call(context.Background(), name, args, result)
}

func (m *machine) dial(address string) *conn {
	m.Helper()
	m.mu.Lock()
	to := m.ports[address]
	m.mu.Unlock()
	if to == "" {
		m.Fatalf("nothing listens for %s: %v", address, m.ports)
	}
	c, err := net.Dial("tcp", to)
	if err != nil {
		m.Fatal(err)
	}
	m.Cleanup(func() { c.Close() }) //nolint:errcheck // it may be closed already
	return newConn(m.T, c)
}

// lyingDisk says that everything is synced, and syncs nothing.
type lyingDisk struct{ *disk.Sim }

type lyingFile struct{ disk.File }

func (d lyingDisk) Open(name string, how disk.Flags) (disk.File, error) {
	f, err := d.Sim.Open(name, how)
	if err != nil {
		return nil, err
	}
	return lyingFile{f}, nil
}

func (lyingDisk) SyncDir(string) error { return nil }
func (lyingFile) Sync() error          { return nil }

func (f lyingFile) WriteAtSync(p []byte, off int64) error {
	_, err := f.WriteAt(p, off)
	return err
}

var errMissing = errors.New("missing after the power cut")

func missing(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errMissing, fmt.Sprintf(format, args...))
}
