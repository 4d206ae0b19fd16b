package accounts

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/sasl"
	"github.com/samotop/samotop/store"
)

// Accounts is the room. Close it before its engine.
type Accounts struct {
	c      Config
	secret []byte

	change sync.Mutex // one change at a time
	held   held
	names  names
	reads  atomic.Int64 // names that were read from the engine
	hasher hasher
	logins logins

	contacts contacts
	listed   listed

	stop   context.CancelFunc
	loaded chan struct{} // closed when the background load has ended
}

// Open opens the room on its database, which it prepares if it is empty.
func Open(ctx context.Context, c Config) (*Accounts, error) {
	if c.Engine == nil {
		return nil, errors.New("accounts: open: Config.Engine is not set")
	}
	c.setDefaults()
	a := &Accounts{c: c, loaded: make(chan struct{})}
	a.names = names{cache: newLRU[mail.Address, *name](c.CacheOctets), seed: maphash.MakeSeed(), known: map[uint64]uint32{}}
	a.contacts.cache.init(c.ContactOctets)
	a.hasher.init(&c)
	if err := a.logins.init(&c); err != nil {
		return nil, fmt.Errorf("accounts: open: %w", err)
	}
	if err := a.prepare(ctx); err != nil {
		return nil, fmt.Errorf("accounts: open: %w", err)
	}
	if err := a.readGates(ctx); err != nil {
		return nil, fmt.Errorf("accounts: open: %w", err)
	}
	if err := a.readListed(ctx); err != nil {
		return nil, fmt.Errorf("accounts: open: %w", err)
	}
	if err := a.readHeld(ctx); err != nil {
		return nil, fmt.Errorf("accounts: open: %w", err)
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	a.stop = stop
	go func() {
		defer close(a.loaded)
		if err := a.load(background); err != nil && background.Err() == nil {
			c.Log.Error("names are not all in memory, so unknown addresses cost a disk read", "err", err)
		}
		if err := a.loadContacts(background); err != nil && background.Err() == nil {
			c.Log.Error("contacts are not all known, so unknown senders cost a disk read", "err", err)
		}
	}()
	return a, nil
}

func (c *Config) setDefaults() {
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.CacheOctets <= 0 {
		c.CacheOctets = 32 << 20
	}
	if c.ContactOctets <= 0 {
		c.ContactOctets = 16 << 20
	}
	if c.Separators == "" {
		c.Separators = "+"
	}
	if c.LoginTTL == 0 {
		c.LoginTTL = time.Hour
	}
	if c.MaxLogins <= 0 {
		c.MaxLogins = 100_000
	}
	if c.MaxHashes <= 0 {
		c.MaxHashes = runtime.GOMAXPROCS(0)
	}
	if c.MaxHashesQueued <= 0 {
		c.MaxHashesQueued = 256
	}
	h := &c.Hash
	if h.MemoryKiB == 0 {
		h.MemoryKiB = 19 << 10
	}
	if h.Passes == 0 {
		h.Passes = 2
	}
	if h.Threads == 0 {
		h.Threads = 1
	}
	if h.ScramIterations <= 0 {
		h.ScramIterations = sasl.DefaultIterations
	}
}

// Close ends what goes on in the background. It leaves the engine open.
func (a *Accounts) Close() error {
	a.stop()
	<-a.loaded
	return nil
}

// Secret returns the 32 octets that this house made for itself once, for sasl.Config.Secret.
func (a *Accounts) Secret() []byte { return bytes.Clone(a.secret) }

// ScramIterations returns the iteration count of new passwords, for sasl.Config.ScramIterations.
func (a *Accounts) ScramIterations() int { return a.c.Hash.ScramIterations }

// prepare checks the format and makes the secret once.
func (a *Accounts) prepare(ctx context.Context) error {
	var old []byte // format version, if it is older
	err := a.c.Engine.View(ctx, func(r store.Reader) error {
		v, err := r.Get(ctx, keyFormat)
		if err != nil {
			return err
		}
		if len(v) != 4 {
			return fmt.Errorf("row of the format version: %w", store.ErrCorrupt)
		}
		if f := binary.BigEndian.Uint32(v); f > formatVersion {
			return fmt.Errorf("the database has format %d, this program knows %d: use a newer samotop: %w", f, formatVersion, store.ErrFormat)
		} else if f < formatVersion {
			old = bytes.Clone(v)
		}
		secret, err := r.Get(ctx, keySecret)
		if err != nil {
			return fmt.Errorf("secret of the house: %w", err)
		}
		a.secret = bytes.Clone(secret)
		return nil
	})
	if err == nil && old != nil { // every row of it means the same
		return store.Commit(ctx, a.c.Engine, &store.Batch{Asserts: []store.Assert{{Key: keyFormat, Value: old}},
			Ops: []store.Op{store.Put(keyFormat, binary.BigEndian.AppendUint32(nil, formatVersion))}})
	}
	if a.secret != nil || !errors.Is(err, store.ErrNotFound) {
		return err
	}
	secret := make([]byte, 32)
	if _, err := io.ReadFull(a.c.Rand, secret); err != nil {
		return err
	}
	err = store.Commit(ctx, a.c.Engine, &store.Batch{
		Asserts: []store.Assert{{Key: keyFormat, Absent: true}, {Key: keySecret, Absent: true}},
		Ops: []store.Op{
			store.Put(keyFormat, binary.BigEndian.AppendUint32(nil, formatVersion)),
			store.Put(keySecret, secret),
			store.Put(keyNextID, binary.BigEndian.AppendUint64(nil, 1)),
		},
	})
	a.secret = secret
	return err
}

// touched is a name that a batch changes.
type touched struct {
	name   mail.Address
	is     bool // it is there afterwards
	was    bool
	domain string // changes too
	admin  uint64 // account that is or was an admin
}

// commit makes a batch durable and sets the memory right. Its outcome is awaited whatever becomes of the caller,
// so that the memory never says less than the disk. Call it with a.change held.
func (a *Accounts) commit(ctx context.Context, b *store.Batch, t touched) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	named := t.name != mail.Address{}
	if named && t.is && !t.was {
		a.names.expect(t.name)
	}
	err := store.Commit(ctx, a.c.Engine, b)
	if named {
		a.names.changed(t.name, err == nil && t.was && !t.is)
	}
	// Also after a failure, whose outcome may not be known.
	if t.domain != "" {
		err = errors.Join(err, a.readDomain(ctx, t.domain))
	}
	if t.admin != 0 {
		err = errors.Join(err, a.readAdmin(ctx, t.admin))
	}
	return err
}

// get reads one row; nil if there is none.
func (a *Accounts) get(ctx context.Context, key []byte) (row []byte, err error) {
	err = a.c.Engine.View(ctx, func(r store.Reader) error {
		v, err := r.Get(ctx, key)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		row = append([]byte{}, v...)
		return err
	})
	return row, err
}

// first returns the first key with the prefix; nil if there is none.
func (a *Accounts) first(ctx context.Context, prefix []byte) (key []byte, err error) {
	keys, err := a.keys(ctx, prefix, 1)
	if len(keys) > 0 {
		key = keys[0]
	}
	return key, err
}

// keys returns the first keys with the prefix.
func (a *Accounts) keys(ctx context.Context, prefix []byte, most int) (keys [][]byte, err error) {
	err = a.c.Engine.View(ctx, func(r store.Reader) error {
		for kv, err := range r.Scan(ctx, prefix, after(prefix), false) {
			if err != nil {
				return err
			}
			if keys = append(keys, append([]byte{}, kv.Key...)); len(keys) == most {
				break
			}
		}
		return nil
	})
	return keys, err
}
