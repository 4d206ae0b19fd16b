// Package house builds the rooms from a configuration, joins them with adapters of a few lines, and serves them.
//
//	h, err := house.Open(ctx, house.Options{Config: conf, Log: log})
//	err = h.Serve(ctx, func() { fmt.Fprintln(os.Stderr, "ready") }) // until ctx ends, then drains
//	err = h.Close()
//
// Nothing is kept outside of House: several can live in one process, each in a directory of its own. The directory
// is held by a lock, so that nobody else opens its databases; who comes second is told who holds it.
package house

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/samotop/samotop/accounts"
	"github.com/samotop/samotop/accounts/authproto"
	"github.com/samotop/samotop/guard"
	"github.com/samotop/samotop/guard/filter"
	"github.com/samotop/samotop/internal/acme"
	"github.com/samotop/samotop/internal/activation"
	"github.com/samotop/samotop/internal/certs"
	"github.com/samotop/samotop/internal/config"
	"github.com/samotop/samotop/internal/drop"
	"github.com/samotop/samotop/internal/telemetry"
	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mailauth/keyring"
	"github.com/samotop/samotop/mailbox"
	"github.com/samotop/samotop/management"
	"github.com/samotop/samotop/qm"
	"github.com/samotop/samotop/resolver"
	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/disk"
)

// Names of the databases, which are directories in the directory of the house.
const (
	accountsDB = "accounts"
	mailsDB    = "mails"
	queueDB    = "queue"
	journalDB  = "journal"
	evidenceDB = "evidence"
)

// DefaultDrainTime is how long running sessions may take to finish when the house stops.
const DefaultDrainTime = 20 * time.Second

// Options of Open. Config is required.
type Options struct {
	Config *config.Config
	Rooms  Rooms // 0: All
	// Linked reaches the rooms that are not among Rooms by the sockets of [links]; without it they are not there, which is
	// enough for a verb.
	Linked bool

	// OpenEngine opens a database by its name; nil: the embedded engine in a directory of that name.
	OpenEngine func(ctx context.Context, name string) (store.Engine, error)
	// Sockets are those that the service manager opened; what is among them is not opened anew.
	Sockets *activation.Held
	// Listen makes the listeners; nil: net.ListenConfig.
	Listen func(ctx context.Context, network, address string) (net.Listener, error)
	// Dial makes connections to other servers; nil: net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	DrainTime time.Duration // 0: DefaultDrainTime
	LockWait  time.Duration // for whoever holds the directory; 0: not at all
	Version   string
	Hash      accounts.HashParams // zero: the defaults; tests make it cheap
	Schedule  qm.Schedule         // zero: the defaults
	Log       *slog.Logger        // nil: none
}

// House is a house whose rooms are open.
type House struct {
	o    Options
	conf *config.Config
	log  *slog.Logger
	lock io.Closer

	mu      sync.Mutex
	engines map[string]store.Engine
	fence   error
	fenced  chan struct{} // closed with fence set
	closed  chan struct{}
	close   sync.Once

	desk *contactDesk // shows contacts in the Mailbox; nil: it is not in this process

	accounts *accounts.Accounts // nil if they are not in this process
	mailbox  *mailbox.Mailbox
	queue    *qm.QM
	dns      resolver.Resolver // shared by all rooms; nil until the first asks
	keys     *keyring.Ring
	journal  *management.Journal // nil: in another process, or nowhere
	reports  *management.Reports // nil: in another process, or nowhere
	counts   *management.Counts  // what will be reported to others; nil: nothing
	failures *failures           // what is reported to them at once
	events   mail.Journal        // what rooms tell: a line of the log, and the journal
	keeper   *certs.Keeper       // nil until Serve, and where no room ends TLS
	acme     *acme.Manager       // nil: the certificate is not got here
	drops    *drop.Taker         // nil: mail from programs of this machine is not taken here

	// What the rooms of this process ask, here or by a link.
	rules                             accountsRoom
	guardDoor, mailboxDoor, queueDoor mail.Door
	remote                            *remoteAccounts   // nil: the accounts are here
	login                             *authproto.Client // as remote
	links                             []io.Closer

	abuse    *guard.Abuse    // nil: no room of this process has a listener on TCP, nor is the guard here
	gate     *gate           // in front of those listeners
	history  *guard.History  // nil: in another process, or nowhere
	evidence *remoteEvidence // the guard of another process; nil: it is here, or nowhere

	observers observers      // of the mailbox
	filter    *filter.Filter // nil: the guard is not here
	train     *trainer       // nil: the mailbox is not here, or nobody learns

	handler *management.Handler
	metrics *telemetry.Metrics

	state runState
}

// Open takes the lock of the directory and opens the rooms. The context bounds only the opening.
func Open(ctx context.Context, o Options) (h *House, err error) {
	if o.Rooms == 0 {
		o.Rooms = All
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.DrainTime <= 0 {
		o.DrainTime = DefaultDrainTime
	}
	if o.Version == "" {
		o.Version = "devel"
	}
	h = &House{o: o, conf: o.Config, log: o.Log, engines: map[string]store.Engine{}, fenced: make(chan struct{}), closed: make(chan struct{})}
	h.failures = newFailures(h)
	h.keys = &keyring.Ring{Dir: filepath.Join(h.conf.Dir, config.DKIMDir)}
	if o.OpenEngine == nil {
		h.o.OpenEngine = h.openLog
	}
	if h.lock, err = takeLock(ctx, &h.o); err != nil {
		return nil, err
	}
	h.metrics = telemetry.New(o.Version)
	h.openLinks()
	if err := h.openRooms(ctx); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	h.handler = management.New(h.managementConfig())
	return h, nil
}

// Handler answers the verbs for the rooms that are open.
func (h *House) Handler() *management.Handler { return h.handler }

// LockedError says who holds a directory.
type LockedError struct {
	Dir string
	PID string
}

func (e *LockedError) Error() string {
	return fmt.Sprintf("%s: the house is in use by process %s; stop that one first, or name another directory with --dir", e.Dir, e.PID)
}

// takeLock waits for the lock of the directory; of a house that is split, for those of its rooms.
func takeLock(ctx context.Context, o *Options) (io.Closer, error) {
	if err := os.MkdirAll(o.Config.RunPath(""), 0o700); err != nil {
		return nil, fmt.Errorf("open house: %w", err)
	}
	if !o.Linked || o.Rooms == All {
		return lockFile(ctx, o, LockName)
	}
	var held locks
	for _, n := range roomNames {
		if o.Rooms&n.room == 0 {
			continue
		}
		l, err := lockFile(ctx, o, n.name+"."+LockName)
		if err != nil {
			return nil, errors.Join(err, held.Close())
		}
		held = append(held, l)
	}
	return held, nil
}

type locks []io.Closer

func (ls locks) Close() error {
	var errs []error
	for _, l := range ls {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

func lockFile(ctx context.Context, o *Options, file string) (io.Closer, error) {
	name := o.Config.RunPath(file)
	for end := time.Now().Add(o.LockWait); ; {
		l, err := disk.OS{}.Lock(name)
		if err == nil {
			return l, nil
		}
		if !errors.Is(err, disk.ErrLocked) {
			return nil, fmt.Errorf("open house: %w", err)
		}
		if time.Now().After(end) {
			return nil, &LockedError{Dir: o.Config.Dir, PID: holder(name)}
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// LockName is the file in DIR/run that holds the number of the process that has the house open.
const LockName = "lock"

func holder(name string) string {
	b, err := os.ReadFile(name)
	if n := len(b); err == nil && n > 1 && n < 32 {
		return string(b[:n-1])
	}
	return "unknown"
}

// Close closes the rooms, then their databases, then gives the lock back.
func (h *House) Close() error {
	h.close.Do(func() { close(h.closed) })
	var errs []error
	for _, l := range h.links {
		errs = append(errs, l.Close())
	}
	if h.mailbox != nil {
		errs = append(errs, h.mailbox.Close())
	}
	if h.history != nil {
		errs = append(errs, h.history.Close())
	}
	if h.abuse != nil {
		errs = append(errs, h.abuse.Close())
	}
	if h.accounts != nil {
		errs = append(errs, h.accounts.Close())
	}
	if h.journal != nil {
		errs = append(errs, h.journal.Close())
	}
	var wg sync.WaitGroup
	results := make(chan error, len(h.engines))
	for name, e := range h.engines {
		wg.Go(func() {
			if err := e.Close(); err != nil {
				results <- fmt.Errorf("close database %s: %w", name, err)
			}
		})
	}
	wg.Wait()
	close(results)
	for err := range results {
		errs = append(errs, err)
	}
	if h.lock != nil {
		errs = append(errs, h.lock.Close())
		h.lock = nil
	}
	return errors.Join(errs...)
}

// fail is told by an engine that it has stopped: nothing that the house says could be kept any more.
func (h *House) fail(name string, cause error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fence != nil {
		return
	}
	h.fence = fmt.Errorf("database %s (%s) has stopped: %w", name, filepath.Join(h.conf.Dir, name), cause)
	close(h.fenced)
}

func (h *House) failure() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.fence
}
