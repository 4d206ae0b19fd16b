package mailbox

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/samotop/samotop/store"
)

// account is what the room knows of an account in memory: its numbers as submitted (the head), and what is on the
// way to the disk. Rows read from a View are behind the head by what is on the way; pend bridges that.
type account struct {
	id accountID
	m  *Mailbox

	refs atomic.Int32 // sessions, deliveries, batches on the way; goes up from 0 only under m.mu

	mu       sync.Mutex // the latch: held while a batch is built and submitted, never while it is waited for
	settled  *sync.Cond
	loaded   bool
	broken   bool // something on the way has failed: read the head again once nothing is on the way
	purged   bool
	row      accountRow
	rowBytes []byte // as last submitted; nil before the account was made
	boxes    map[boxID]*box
	names    map[string]boxID // read or changed so far; 0: there is none
	flights  int
	seq      uint64 // of batches
	last     store.Pending
	pend     map[string]pendingRow
	reserved usage // promised to deliveries that were prepared

	live    map[boxID]*live
	watches map[*watch]struct{}
	recents map[boxID]uid // first UID that no session has taken as \Recent, where that is ahead of the row
}

type usage struct{ octets, messages int64 }

// pendingRow is a row as submitted and not yet durable; a nil value is a deletion.
type pendingRow struct {
	value []byte
	seq   uint64
}

// box is the head of a mailbox. It is not changed once it stands in account.boxes: a change works on a copy.
type box struct {
	boxRow
	id       boxID
	gone     bool
	keywords []string // if known
	known    bool
	tail     *chunk // chunk number tailNo, the last one, or nil if not read yet; shared, never changed
	tailNo   uint32

	// Of a working copy only.
	changed bool
	came    bool // messages were placed in it
	edits   []chunkEdit
	log     logRow
	own     *ownEdits // nil: none
}

type chunkEdit struct {
	no    uint32
	chunk *chunk
}

// live is what the sessions that selected a mailbox share.
type live struct {
	modseq   atomic.Uint64 // durable
	resets   atomic.Uint32 // of access keys (RFC 4467)
	sessions map[*selected]struct{}
}

func newAccount(m *Mailbox, id accountID) *account {
	a := &account{id: id, m: m, live: map[boxID]*live{}, recents: map[boxID]uid{}}
	a.settled = sync.NewCond(&a.mu)
	a.reset()
	return a
}

func (a *account) reset() {
	a.loaded, a.broken, a.rowBytes, a.row = false, false, nil, accountRow{}
	a.boxes, a.names = map[boxID]*box{}, map[string]boxID{}
	a.pend = map[string]pendingRow{}
	a.last = nil
}

var errPurged = fmt.Errorf("mailbox: account was removed: %w", ErrNoOwner)

// lock takes the latch and makes sure that the head is known. After an error the latch is not held. The caller must
// hold no other latch: see lockAfter.
func (a *account) lock(ctx context.Context) error {
	a.mu.Lock()
	for a.broken && a.flights > 0 {
		a.settled.Wait()
	}
	return a.locked(ctx)
}

// lockAfter is lock for a caller who holds other latches: it does not wait for batches on their way, because one that
// ends needs the latches of all its accounts. It returns errDraining then, without the latch.
func (a *account) lockAfter(ctx context.Context) error {
	a.mu.Lock()
	if a.broken && a.flights > 0 {
		a.mu.Unlock()
		return errDraining
	}
	return a.locked(ctx)
}

var errDraining = errors.New("mailbox: batches that failed are still on their way")

// drain waits until nothing is on the way of a broken account.
func (a *account) drain() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for a.broken && a.flights > 0 {
		a.settled.Wait()
	}
}

// locked is the end of lock.
func (a *account) locked(ctx context.Context) error {
	if a.broken {
		a.reset()
	}
	if !a.loaded {
		if err := a.load(ctx); err != nil {
			a.mu.Unlock()
			return err
		}
	}
	if a.purged {
		a.mu.Unlock()
		return errPurged
	}
	return nil
}

// load reads the account's row, or makes the account with its first mailboxes, in one batch of its own.
func (a *account) load(ctx context.Context) error {
	var ar arena
	err := a.m.eng.View(ctx, func(r store.Reader) error {
		v, err := r.Get(ctx, ar.accountKey(kindAccount, a.id))
		if err != nil {
			return err
		}
		a.rowBytes = append([]byte(nil), v...)
		a.row, err = decodeAccount(v)
		return err
	})
	switch {
	case err == nil:
		a.loaded, a.purged = true, a.row.Purging
		return nil
	case !errors.Is(err, store.ErrNotFound):
		return fmt.Errorf("mailbox: read account: %w", err)
	}
	return a.found(ctx)
}

// found makes a new account: INBOX and the special-use mailboxes of RFC 6154.
func (a *account) found(ctx context.Context) error {
	c := &commit{m: a.m}
	p := c.join(a)
	p.row.UIDValidity = uint32(a.m.now().Unix())
	for _, f := range firstFolders {
		b := p.newBox(f.name, f.use)
		p.addName(b)
		c.put(c.ar.nameKey(kindSub, a.id, f.name), []byte{rowVersion})
	}
	if err := c.submit(ctx); err != nil {
		return fmt.Errorf("mailbox: make account: %w", err)
	}
	a.loaded = true
	c.finishLater()
	return nil
}

// settle takes note of how a batch has ended. It needs the latch.
func (a *account) settle(p *part, err error) {
	a.flights--
	a.refs.Add(-1)
	if err != nil {
		a.broken = true
	} else {
		for _, k := range p.keys {
			if a.pend[k].seq == p.seq {
				delete(a.pend, k)
			}
		}
		for _, t := range p.touched {
			a.announce(t.box, t.at)
		}
		p.tellWatches()
	}
	if a.flights == 0 {
		a.last = nil
	}
	a.settled.Broadcast()
}

// announce tells the sessions of a mailbox that it is durable up to a modseq. It needs the latch.
func (a *account) announce(m boxID, at modSeq) {
	l := a.live[m]
	if l == nil {
		return
	}
	if at > l.modseq.Load() {
		l.modseq.Store(at)
	}
	for s := range l.sessions {
		if s.wake != nil {
			s.wake()
			continue
		}
		select {
		case s.notify <- struct{}{}:
		default:
		}
	}
}

// announceReset tells the owner's sessions of a mailbox, of all for 0, that access keys were reset.
func (a *account) announceReset(m boxID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, l := range a.live {
		if m == 0 || m == id {
			l.resets.Add(1)
			a.announce(id, 0)
		}
	}
}

// get reads a row as the head has it: nil if there is none. It needs the latch and a View opened under it.
func (a *account) get(ctx context.Context, r store.Reader, key []byte) ([]byte, error) {
	if len(a.pend) > 0 {
		if p, ok := a.pend[string(key)]; ok {
			return p.value, nil
		}
	}
	v, err := r.Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return v, err
}

// getMulti is get for many rows.
func (a *account) getMulti(ctx context.Context, r store.Reader, keys [][]byte) ([][]byte, error) {
	rows, err := r.GetMulti(ctx, keys)
	if err != nil || len(a.pend) == 0 {
		return rows, err
	}
	for i, k := range keys {
		if p, ok := a.pend[string(k)]; ok {
			rows[i] = p.value
		}
	}
	return rows, nil
}
