package mailbox

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store"
)

// formatName and formatVersion are the first row of the database.
const (
	formatName    = "samotop mails"
	formatVersion = 3
)

// Mailbox is the room. Make one with Open.
type Mailbox struct {
	eng      store.Engine
	dir      Directory
	now      func() time.Time
	log      *slog.Logger
	journal  mail.Journal
	observer Observer // nil: none
	limits   Limits

	rowsOctets  int // maxRowsOctets, or less in tests
	columnWorth int // defaultColumnWorth, or less in tests
	setsWorth   uid // defaultSetsWorth, or less in tests
	houseKey    [32]byte

	mu       sync.Mutex
	accounts map[accountID]*account
	longLogs map[logKeyOf]struct{}
	drops    map[accountID]struct{} // maildrops that POP3 sessions have locked
	closed   bool

	commits sync.Pool // of *commit, empty
	heads   sync.Pool // of *[]byte: the beginnings of messages
	macs    sync.Pool // of hash.Hash: HMAC with the key of the house
	bodies  bodyTable
	buckets buckets
	indexer indexer
	columns columnSet
	sets    uidSetTable

	sweepNow chan struct{} // room for one
	sweeping sync.Mutex    // one Sweep at a time
	stop     context.CancelFunc
	bg       context.Context // of the room's own work
	wg       sync.WaitGroup
}

// Open opens the database, and makes it if the engine is empty. A database of a newer version is refused with
// store.ErrFormat. The context bounds only the opening.
func Open(ctx context.Context, c Config) (*Mailbox, error) {
	if c.Engine == nil || c.Directory == nil {
		return nil, errors.New("mailbox: open: Engine and Directory must be set")
	}
	c = c.withDefaults()
	m := &Mailbox{
		eng: c.Engine, dir: c.Directory, now: c.Clock, log: c.Log, journal: c.Journal, observer: c.Observer, limits: c.Limits, rowsOctets: maxRowsOctets, columnWorth: defaultColumnWorth, setsWorth: defaultSetsWorth,
		accounts: map[accountID]*account{}, longLogs: map[logKeyOf]struct{}{}, sweepNow: make(chan struct{}, 1),
	}
	if err := m.openFormat(ctx, c.Rand); err != nil {
		return nil, fmt.Errorf("mailbox: open: %w", err)
	}
	if err := m.openBuckets(ctx); err != nil {
		return nil, fmt.Errorf("mailbox: open: %w", err)
	}
	m.bg, m.stop = context.WithCancel(context.WithoutCancel(ctx))
	m.indexer.wake = make(chan struct{}, 1)
	m.wg.Add(2)
	go m.sweeper()
	go m.index()
	return m, nil
}

// Close stops the room's own work and waits for it. Sessions must have ended. The engine stays open.
func (m *Mailbox) Close() error {
	m.mu.Lock()
	done := m.closed
	m.closed = true
	m.mu.Unlock()
	if !done {
		m.stop()
	}
	m.wg.Wait()
	return nil
}

// openFormat checks the format row and reads the key of the house, or makes both.
func (m *Mailbox) openFormat(ctx context.Context, random io.Reader) error {
	var format, key []byte
	err := m.eng.View(ctx, func(r store.Reader) error {
		rows, err := r.GetMulti(ctx, [][]byte{{kindFormat}, {kindHouseKey}})
		if err != nil {
			return err
		}
		format, key = append(format, rows[0]...), append(key, rows[1]...)
		return nil
	})
	if err != nil {
		return err
	}
	if len(format) == 0 {
		return m.makeFormat(ctx, random)
	}
	d := decoderOf(format)
	name, version := d.Text(), d.Uint()
	switch {
	case d.Bad || name != formatName:
		return fmt.Errorf("this database is not one of mails: it begins with %q: %w", format, store.ErrFormat)
	case version < formatVersion:
		return fmt.Errorf("the mails database has format %d, from before the first release: export and import it: %w", version, store.ErrFormat)
	case version > formatVersion:
		return fmt.Errorf("the mails database has format %d, this program knows %d: %w", version, formatVersion, store.ErrFormat)
	case len(key) != len(m.houseKey):
		return fmt.Errorf("the key of the house is missing: %w", store.ErrCorrupt)
	}
	copy(m.houseKey[:], key)
	return nil
}

func (m *Mailbox) makeFormat(ctx context.Context, random io.Reader) error {
	if _, err := io.ReadFull(random, m.houseKey[:]); err != nil {
		return fmt.Errorf("key of the house: %w", err)
	}
	format := binary.AppendUvarint(appendString(nil, formatName), formatVersion)
	return store.Commit(ctx, m.eng, &store.Batch{
		Asserts: []store.Assert{{Key: []byte{kindFormat}, Absent: true}},
		Ops:     []store.Op{store.Put([]byte{kindFormat}, format), store.Put([]byte{kindHouseKey}, m.houseKey[:])},
	})
}

// account returns the account of that number, held until release.
func (m *Mailbox) account(id accountID) *account {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.accounts[id]
	if a == nil {
		if len(m.accounts) >= m.limits.Accounts {
			m.evict()
		}
		a = newAccount(m, id)
		m.accounts[id] = a
	}
	a.refs.Add(1)
	return a
}

// evict forgets some accounts that nobody holds. It needs m.mu.
func (m *Mailbox) evict() {
	looked := 0
	for id, a := range m.accounts {
		if a.refs.Load() == 0 {
			delete(m.accounts, id)
		}
		if looked++; looked == 16 {
			return
		}
	}
}

func (m *Mailbox) release(a *account) { a.refs.Add(-1) }

// Usage is what an account holds, but its cards (Cards).
type Usage struct {
	Octets, Messages int64
	Mailboxes        int
}

// Usage reads the counters of an account; all zero for one that was never touched.
func (m *Mailbox) Usage(ctx context.Context, ownerID uint64) (u Usage, err error) {
	err = m.eng.View(ctx, func(r store.Reader) error {
		var ar arena
		v, err := r.Get(ctx, ar.accountKey(kindAccount, accountID(ownerID)))
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		row, err := decodeAccount(v)
		u = Usage{max(row.Octets-row.FreeOctets, 0), max(row.Messages-row.FreeMessages, 0), int(row.Boxes)}
		return err
	})
	return u, err
}
