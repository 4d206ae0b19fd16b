package mailbox

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/samotop/samotop/store"
)

// commit is one batch being built under the latches of its accounts, and then on its way.
type commit struct {
	m      *Mailbox
	ar     arena
	batch  store.Batch
	parts  []*part // in the order of account numbers
	bodies []*bodyUse
	ids    []deliveryUse
	locked bool
	p      store.Pending
	came   []accountID // who got mail, for the text index
	frees  bool        // references to bodies went: the sweeper has work
	by     *view       // whose commit it is; nil: nobody's who watches
	quiet  bool        // the observer is not told
	owned  bool        // what a viewer has seen changes, of which the rows are made at the end
	told
}

// part is what a commit does to one account: a working copy of its head.
type part struct {
	*account
	c       *commit
	row     accountRow
	dirty   bool
	sealed  []byte // the account's row as the batch has it
	boxes   []*box
	names   map[string]boxID
	keys    []string // put into account.pend
	rows    []pendingRow
	index   map[string]int // of keys, once they are many
	seq     uint64
	touched []touch
	notices []notice
}

type touch struct {
	box boxID
	at  modSeq
}

const (
	maxAttempts = 40 // of one change, before a conflict is given up
)

var errBusy = errors.New("mailbox: too many conflicts")

// change builds a batch under the latches of the accounts, submits it in latch order, and waits for it outside. The
// build function may run several times. A change that turns out to do nothing still waits for what it has seen.
func (m *Mailbox) change(ctx context.Context, accounts []*account, build func(c *commit, r store.Reader) error) error {
	hints := map[bodyHash][]byte(nil)
	for range maxAttempts {
		c, err := m.begin(ctx, accounts)
		if err != nil {
			return err
		}
		err = m.eng.View(ctx, func(r store.Reader) error { return build(c, r) })
		if err != nil {
			c.unlock()
			return err
		}
		if len(c.batch.Ops) == 0 && len(c.bodies) == 0 && !c.owned {
			return c.passBy(ctx)
		}
		wait, err := c.submitWith(ctx, hints)
		c.unlock()
		switch {
		case wait != nil:
			if err := wait.Wait(ctx); ctx.Err() != nil {
				return err
			}
		case err == nil:
			return c.finish(ctx)
		case !errors.Is(err, store.ErrConflict):
			return err
		}
		if hints, err = m.learn(ctx, c, hints); err != nil {
			return err
		}
	}
	return errBusy
}

// newCommit returns an empty commit, with the memory of an earlier one if there is any.
func (m *Mailbox) newCommit() *commit {
	c, _ := m.commits.Get().(*commit)
	if c == nil {
		c = &commit{m: m}
		c.batch.Ops = make([]store.Op, 0, 32)
	}
	c.locked = true
	return c
}

// maxKeptOps is how large a batch may be whose memory is used again.
const maxKeptOps = 1 << 12

// recycle gives the memory of a commit that has ended well to a later one. Nothing may refer to it any more: what
// account.pend had of it was removed when it was settled.
func (c *commit) recycle() {
	if cap(c.batch.Ops) > maxKeptOps {
		return
	}
	clear(c.batch.Ops)
	clear(c.batch.Asserts)
	*c = commit{m: c.m, ar: arena{buf: c.ar.buf[:0], tmp: c.ar.tmp},
		batch: store.Batch{Ops: c.batch.Ops[:0], Asserts: c.batch.Asserts[:0]}}
	c.m.commits.Put(c)
}

// begin takes the latches of the accounts, which must be sorted by number and distinct.
func (m *Mailbox) begin(ctx context.Context, accounts []*account) (*commit, error) {
	for {
		c := m.newCommit()
		var failed *account
		var err error
		for _, a := range accounts {
			if err = a.lockAfter(ctx); err != nil {
				failed = a
				break
			}
			c.join(a)
		}
		if failed == nil {
			return c, nil
		}
		c.unlock()
		if err != errDraining {
			return nil, err
		}
		failed.drain()
	}
}

func (c *commit) join(a *account) *part {
	p := &part{account: a, c: c, row: a.row}
	c.parts = append(c.parts, p)
	return p
}

func (c *commit) unlock() {
	if !c.locked {
		return
	}
	c.locked = false
	for _, p := range c.parts {
		p.account.mu.Unlock()
	}
}

// passBy ends a change that does nothing: what it was decided on must be durable before anybody is told.
func (c *commit) passBy(ctx context.Context) error {
	var last []store.Pending
	for _, p := range c.parts {
		if p.last != nil {
			last = append(last, p.last)
		}
	}
	c.unlock()
	for _, p := range last {
		if err := p.Wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (c *commit) put(key, value []byte) { c.batch.Ops = append(c.batch.Ops, store.Put(key, value)) }

// put sets a row that later changes may read before it is durable. The value must not be changed afterwards.
func (p *part) put(key, value []byte) {
	p.c.put(key, value)
	p.remember(key, value)
}

func (p *part) delete(key []byte) {
	p.c.batch.Ops = append(p.c.batch.Ops, store.Delete(key))
	p.remember(key, nil)
}

func (p *part) remember(key, value []byte) {
	k := string(key)
	if p.index != nil {
		p.index[k] = len(p.keys)
	}
	p.keys = append(p.keys, k)
	p.rows = append(p.rows, pendingRow{value: value})
	if p.index == nil && len(p.keys) > 32 {
		p.index = make(map[string]int, 256)
		for i, k := range p.keys {
			p.index[k] = i
		}
	}
}

// changed returns a row that this change has set or deleted.
func (p *part) changed(key []byte) (value []byte, ok bool) {
	if p.index != nil {
		i, ok := p.index[string(key)]
		if !ok {
			return nil, false
		}
		return p.rows[i].value, true
	}
	for i := len(p.keys) - 1; i >= 0; i-- {
		if p.keys[i] == string(key) {
			return p.rows[i].value, true
		}
	}
	return nil, false
}

// get reads a row as this change has left it, so far.
func (p *part) get(ctx context.Context, r store.Reader, key []byte) ([]byte, error) {
	if v, ok := p.changed(key); ok {
		return v, nil
	}
	return p.account.get(ctx, r, key)
}

// modseq is the number of this change in the account.
func (p *part) modseq() modSeq {
	if !p.dirty {
		p.dirty = true
		p.row.S++
	}
	return p.row.S
}

// seal adds the rows of the account and its mailboxes to the batch.
func (p *part) seal() {
	c := p.c
	p.modseq()
	for _, b := range p.boxes {
		if b.changed {
			p.noticeBox(b)
			p.sealBox(b)
		}
	}
	key := c.ar.accountKey(kindAccount, p.id)
	c.batch.Asserts = append(c.batch.Asserts, store.Assert{Key: key, Value: p.rowBytes, Absent: p.rowBytes == nil})
	p.sealed = p.row.appendTo(c.ar.take(2 + 9*10))
	c.put(key, p.sealed)
}

func (p *part) sealBox(b *box) {
	c := p.c
	if b.gone {
		return
	}
	for _, e := range b.edits {
		key := c.ar.msgKey(kindChunk, p.id, b.id, e.no)
		if e.chunk.empty() {
			p.delete(key)
		} else {
			p.put(key, c.ar.copyOf(e.chunk.appendTo(c.ar.scratch())))
		}
	}
	p.sealOwn(b)
	if !b.log.empty() {
		c.put(c.ar.logKey(p.id, b.id, p.row.S), b.log.appendTo(nil))
		if b.LogRows++; b.LogRows == 2*uint64(p.m.limits.LogRows) {
			p.m.longLog(p.id, b.id)
		}
	}
	c.put(c.ar.boxKey(kindBox, p.id, b.id), b.appendTo(c.ar.take(boxRoom+len(b.Name))))
}

// install makes the working copies the head.
func (p *part) install() {
	a := p.account
	a.row = p.row
	a.rowBytes = append(a.rowBytes[:0], p.sealed...)
	a.seq++
	p.seq = a.seq
	for _, b := range p.boxes {
		switch {
		case b.gone:
			a.boxes[b.id] = &box{id: b.id, gone: true}
		default:
			b.settleTail()
			a.boxes[b.id] = b
		}
	}
	for n, id := range p.names {
		a.names[n] = id
	}
	for i, k := range p.keys {
		p.rows[i].seq = a.seq
		a.pend[k] = p.rows[i]
	}
	a.flights++
	a.refs.Add(1)
	a.last = p.c.p
}

// submit is submitWith for a change that has no bodies.
func (c *commit) submit(ctx context.Context) error {
	_, err := c.submitWith(ctx, nil)
	return err
}

// submitWith completes the batch and gives it to the engine. If a body it refers to is only just being made by
// another change, it submits nothing and returns what to wait for.
func (c *commit) submitWith(ctx context.Context, hints map[bodyHash][]byte) (wait store.Pending, err error) {
	for _, p := range c.parts {
		p.seal()
	}
	c.m.buckets.add(c)
	unlock := c.m.bodies.lock(c.bodies)
	defer unlock()
	for _, b := range c.bodies {
		if wait := c.addBody(b, hints); wait != nil {
			return wait, nil
		}
	}
	if c.p, err = c.m.eng.Submit(ctx, &c.batch); err != nil {
		return nil, fmt.Errorf("mailbox: submit: %w", err)
	}
	for _, p := range c.parts {
		p.install()
	}
	c.m.bodies.took(c)
	c.m.buckets.took(c)
	return nil, nil
}

// finish waits for the batch. When ctx ends first, the waiting goes on without the caller.
func (c *commit) finish(ctx context.Context) error {
	err := c.p.Wait(ctx)
	if err != nil && ctx.Err() != nil {
		c.finishLater()
		return fmt.Errorf("mailbox: commit: %w", err)
	}
	c.settle(err)
	if err != nil {
		return fmt.Errorf("mailbox: commit: %w", err)
	}
	m, t := c.m, c.told // c is not ours any more afterwards
	c.recycle()
	m.tell(ctx, t)
	return nil
}

// finishLater waits for the batch in the background.
func (c *commit) finishLater() {
	c.m.wg.Go(func() {
		err := c.p.Wait(context.Background())
		c.settle(err)
		if err == nil {
			c.m.tell(c.m.bg, c.told)
		}
	})
}

func (c *commit) settle(err error) {
	for _, p := range c.parts {
		p.account.mu.Lock()
		p.account.settle(p, err)
		p.account.mu.Unlock()
	}
	c.m.bodies.settle(c, err)
	c.m.buckets.settle(c)
	if err == nil {
		for _, a := range c.came {
			c.m.arrivedFor(a)
		}
	}
	if c.frees && err == nil {
		c.m.wakeSweeper()
	}
}

// learn finds out after a conflict what is different from what the change assumed. Bodies and delivery ids have an
// answer in the database; an account whose row is not as remembered is read again.
func (m *Mailbox) learn(ctx context.Context, c *commit, hints map[bodyHash][]byte) (map[bodyHash][]byte, error) {
	explained := false
	err := m.eng.View(ctx, func(r store.Reader) error {
		for _, b := range c.bodies {
			v, err := r.Get(ctx, c.ar.bodyKey(&b.hash))
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
			if string(v) != string(hints[b.hash]) {
				explained = true
			}
			if hints == nil {
				hints = map[bodyHash][]byte{}
			}
			hints[b.hash] = slices.Clone(v)
		}
		return nil
	})
	if err != nil || explained {
		return hints, err
	}
	if waited, err := m.buckets.await(ctx, c); waited || err != nil {
		return hints, err
	}
	for _, p := range c.parts {
		p.account.mu.Lock()
		p.account.broken = true
		p.account.mu.Unlock()
	}
	return hints, nil
}
