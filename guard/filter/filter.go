// Package filter keeps what was learned about the words of wanted and unwanted mail, for each account and for all together,
// and gives the guard an opinion on the content of messages.
//
//	f, err := filter.Open(ctx, filter.Config{Engine: evidence, Owner: lookup})
//	guard.New(guard.Config{Readers: []guard.Reader{f}, ...})
//	f.Learn(ctx, owner, emailID, filter.Spam, content) // its owner has moved it to Junk
//
// Promises. A message is learned once under its id, however often that is told; learned as the other kind it is unlearned
// first. Words are kept as keyed hashes. What is kept of an account, and what one account adds to the shared table, is
// bounded; words not met for long go. An opinion costs no disk read where the words are in memory, else one read of those that
// are not. A Filter is safe for concurrent use.
package filter

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/samotop/samotop/guard"
	"github.com/samotop/samotop/junk"
	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store"
)

// Shared is the owner of the table that everybody's opinion begins with.
const Shared = 0

// Defaults of Config.
const (
	DefaultWeight         = 6       // of the surest verdict, in points
	DefaultMaxWords       = 100_000 // of one account
	DefaultMaxSharedWords = 1_000_000
	DefaultMaxLearned     = 20_000 // messages of one account that are remembered
	DefaultMaxGiven       = 500    // messages of each kind that one account adds to the shared table
	DefaultWordDays       = 365    // before the account's last lesson that a word was last met
	DefaultIdleDays       = 730    // without a lesson, after which all is forgotten
	DefaultCacheWords     = 1 << 19
)

// Config says what Open needs. Zero values: the defaults.
type Config struct {
	Engine store.Engine // the guard's evidence
	// Owner finds the account of a canonical address; 0 is nobody.
	Owner func(ctx context.Context, to mail.Address) (uint64, error)

	Weight     float64 // points of the surest verdict
	Classifier junk.Classifier
	Limits     junk.Limits // the Key is the database's own

	MaxWords, MaxSharedWords, MaxLearned, MaxGiven int
	WordDays, IdleDays                             int
	CacheWords                                     int // words in memory, 24 octets each; a power of two

	Clock func() time.Time // nil: time.Now
	Log   *slog.Logger     // nil: none
}

// Filter is a guard.Reader.
type Filter struct {
	c     Config
	learn sync.Mutex    // one lesson at a time
	gen   atomic.Uint64 // grows with each lesson
	words wordCache
	sums  sumCache
}

var _ guard.Reader = (*Filter)(nil)

// Open reads the key of the database, and makes it the first time.
func Open(ctx context.Context, c Config) (*Filter, error) {
	if c.Engine == nil || c.Owner == nil {
		return nil, errors.New("filter: Engine and Owner are needed")
	}
	for v, d := range map[*int]int{&c.MaxWords: DefaultMaxWords, &c.MaxSharedWords: DefaultMaxSharedWords, &c.MaxLearned: DefaultMaxLearned, &c.MaxGiven: DefaultMaxGiven,
		&c.WordDays: DefaultWordDays, &c.IdleDays: DefaultIdleDays, &c.CacheWords: DefaultCacheWords} {
		if *v <= 0 {
			*v = d
		}
	}
	if c.Weight == 0 {
		c.Weight = DefaultWeight
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	f := &Filter{c: c, words: newWordCache(c.CacheWords), sums: sumCache{of: map[uint64]sums{}}}
	if err := f.readKey(ctx); err != nil {
		return nil, fmt.Errorf("filter: open: %w", err)
	}
	return f, nil
}

func (f *Filter) readKey(ctx context.Context) error {
	var key []byte
	err := f.c.Engine.View(ctx, func(r store.Reader) error {
		v, err := r.Get(ctx, configKey())
		key = append(key, v...)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		key = make([]byte, len(f.c.Limits.Key))
		rand.Read(key) //nolint:errcheck // it never fails
		err = store.Commit(ctx, f.c.Engine, &store.Batch{Asserts: []store.Assert{{Key: configKey(), Absent: true}}, Ops: []store.Op{store.Put(configKey(), key)}})
	}
	if err == nil && len(key) != len(f.c.Limits.Key) {
		err = store.ErrCorrupt
	}
	copy(f.c.Limits.Key[:], key)
	return err
}

// day is today, in days since 1970.
func (f *Filter) day() uint32 { return uint32(f.c.Clock().Unix() / (24 * 3600)) }
