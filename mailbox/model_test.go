package mailbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/mem"
)

// lagging is an engine whose batches stay on their way for a while.
type lagging struct{ *mem.Engine }

func (e lagging) Submit(ctx context.Context, b *store.Batch) (store.Pending, error) {
	p, err := e.Engine.Submit(ctx, b)
	if err != nil {
		return nil, err
	}
	return lagged{p}, nil
}

type lagged struct{ store.Pending }

func (p lagged) Wait(ctx context.Context) error {
	time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond)
	return p.Pending.Wait(ctx)
}

// history is what the mailbox was at some modseqs, read from one View each.
type history struct {
	mu     sync.Mutex
	states map[imap.ModSeq]map[imap.UID]seen
}

// seen is a message as a session or the history has it.
type seen struct {
	at    imap.ModSeq
	flags string
}

// sample reads the state of the mailbox that s has selected, in one View.
func (h *history) sample(ctx context.Context, s *selected) error {
	state := map[imap.UID]seen{}
	var at modSeq
	err := s.m.eng.View(ctx, func(r store.Reader) error {
		row, err := s.row(ctx, r)
		if err != nil {
			return err
		}
		at = row.S
		names, err := s.words.load(ctx, r, s)
		if err != nil {
			return err
		}
		_ = names
		return s.smallRows(ctx, r, s.id, everything(), func(u uid, v []byte) bool {
			m, _ := decodeSmall(v)
			f, _ := s.words.of(&m)
			state[imap.UID(u)] = seen{imap.ModSeq(m.S), flagText(f)}
			return true
		})
	})
	h.mu.Lock()
	defer h.mu.Unlock()
	if old, ok := h.states[imap.ModSeq(at)]; ok && !maps.Equal(old, state) {
		return fmt.Errorf("two states at modseq %d: %v and %v", at, old, state)
	}
	h.states[imap.ModSeq(at)] = state
	return err
}

// replica is what one session believes.
type replica struct {
	box  *selected
	at   imap.ModSeq
	next imap.UID
	msgs map[imap.UID]seen
}

// update asks for changes and replays them, as a client does that gets EXISTS, EXPUNGE and FETCH.
func (c *replica) update(ctx context.Context) error {
	ch, err := c.box.Changes(ctx, c.at)
	if err != nil {
		return err
	}
	if ch.Gone || ch.ModSeq < c.at || ch.UIDNext < c.next {
		return fmt.Errorf("numbers go back: %+v", ch)
	}
	for u := range ch.Vanished.All() {
		delete(c.msgs, u)
	}
	for _, f := range ch.Flags {
		if _, ok := c.msgs[f.UID]; !ok {
			return fmt.Errorf("flags of %d, which is unknown", f.UID)
		}
		c.msgs[f.UID] = seen{f.ModSeq, flagText(f.Flags)}
	}
	for u := range ch.New.All() {
		if u < c.next || u >= ch.UIDNext {
			return fmt.Errorf("%d is new below %d", u, c.next)
		}
		c.msgs[u] = seen{at: ^imap.ModSeq(0)}
	}
	c.at, c.next = ch.ModSeq, ch.UIDNext
	for m, err := range c.box.Fetch(ctx, ch.New, 0) {
		if err != nil {
			return err
		}
		c.msgs[m.UID] = seen{m.ModSeq, flagText(m.Flags)}
	}
	return nil
}

// agrees compares the replica with the history. Of a new message it may know a later state than that of its modseq.
func (c *replica) agrees(h *history) error {
	h.mu.Lock()
	state, ok := h.states[c.at]
	h.mu.Unlock()
	if !ok {
		return nil
	}
	if len(state) != len(c.msgs) {
		return fmt.Errorf("at %d: has %v, history %v", c.at, slices.Sorted(maps.Keys(c.msgs)), slices.Sorted(maps.Keys(state)))
	}
	for u, s := range state {
		if mine, ok := c.msgs[u]; !ok || mine.at <= c.at && mine != s {
			return fmt.Errorf("at %d: message %d is %v, history has %v", c.at, u, mine, s)
		}
	}
	return nil
}

// TestModel: several sessions do random commands on one mailbox while mail arrives; what each session replays equals
// what the mailbox was.
func TestModel(t *testing.T) {
	ctx := context.Background()
	m := open(t, lagging{mem.New(mem.Options{Manual: true})}, Config{Limits: Limits{LogRows: 20, StoreMessages: 3, BodyGrace: -1}})
	h := &history{states: map[imap.ModSeq]map[imap.UID]seen{}}
	var wg sync.WaitGroup
	var clients atomic.Int32
	clients.Store(6)
	for n := range 6 {
		a := login(t, m, 1)
		box, snap := choose(t, a, "INBOX")
		c := &replica{box: box.(*selected), at: snap.HighestModSeq, next: snap.UIDNext, msgs: map[imap.UID]seen{}}
		for u := range snap.UIDs.All() {
			c.msgs[u] = seen{at: ^imap.ModSeq(0)}
		}
		for msg, err := range box.Fetch(ctx, snap.UIDs, 0) {
			if err != nil {
				t.Fatal(err)
			}
			c.msgs[msg.UID] = seen{msg.ModSeq, flagText(msg.Flags)}
		}
		wg.Add(1)
		go func() {
			defer wg.Done()
			defer clients.Add(-1)
			rnd := rand.New(rand.NewPCG(1, uint64(n)))
			for range 150 {
				if err := c.step(ctx, m, a, rnd); err != nil {
					t.Errorf("session %d: %v", n, err)
					return
				}
				if err := c.agrees(h); err != nil {
					t.Errorf("session %d: %v", n, err)
					return
				}
			}
		}()
	}
	watcher, _ := choose(t, login(t, m, 1), "INBOX")
	wg.Add(1)
	go func() {
		defer wg.Done()
		for clients.Load() > 0 {
			if err := h.sample(ctx, watcher.(*selected)); err != nil {
				t.Error(err)
				return
			}
			time.Sleep(50 * time.Microsecond)
		}
	}()
	wg.Wait()
	if err := m.Sweep(ctx); err != nil {
		t.Fatal(err)
	}
	verify(t, m)
	searchesAgree(t, m, watcher)
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.states) < 50 {
		t.Errorf("only %d states were seen", len(h.states))
	}
}

// step does one random command, then takes in the changes most of the time.
func (c *replica) step(ctx context.Context, m *Mailbox, a imap.Account, rnd *rand.Rand) error {
	known := slices.Sorted(maps.Keys(c.msgs))
	pick := func() (set imap.UIDSet) {
		for range 1 + rnd.IntN(4) {
			if len(known) > 0 {
				u := known[rnd.IntN(len(known))]
				set.AddRange(u, u+imap.UID(rnd.IntN(2)))
			}
		}
		return set
	}
	var err error
	switch rnd.IntN(15) {
	case 0, 1:
		err = tryDeliver(ctx, m, letter(rnd.IntN(5)), 1, 2)
	case 2:
		_, err = c.box.Copy(ctx, pick(), "INBOX", rnd.IntN(2) == 0)
	case 3:
		_, err = c.box.Copy(ctx, pick(), "Archive", rnd.IntN(2) == 0)
	case 4, 5, 6:
		f := flags([]string{"S", "F", "D", "A,k1", ",k2,k3"}[rnd.IntN(5)])
		var res imap.StoreResult
		res, err = c.box.Store(ctx, pick(), imap.StoreChange{Mode: imap.StoreMode(rnd.IntN(3)), Flags: f})
		for _, f := range res.Stored {
			if f.ModSeq == 0 {
				return errors.New("stored without modseq")
			}
		}
	case 7:
		_, err = c.box.Expunge(ctx, pick())
	case 8:
		_, err = c.box.Expunge(ctx, nil)
	case 9:
		err = m.Sweep(ctx)
	case 10:
		err = m.indexAccount(ctx, 1, 1+rnd.IntN(8), nil)
	case 11:
		err = c.looks(ctx)
	case 12:
		_, err = c.box.Search(ctx, &imap.Query{Within: everything(), Criteria: &imap.Criteria{Body: []string{"number 3"}}, Sort: []imap.SortKey{{Key: "DATE"}}})
	case 13, 14:
		err = c.reconnect(ctx, a)
	}
	if err != nil {
		return err
	}
	if rnd.IntN(4) == 0 {
		return nil
	}
	return c.update(ctx)
}

// reconnect ends the session's selection and begins another that knows only what a client keeps: UIDs, flags and the modseq
// of QRESYNC (RFC 7162 section 3.2.5). The change log is short here, so that what is asked for is often older than it.
func (c *replica) reconnect(ctx context.Context, a imap.Account) error {
	if err := c.box.Close(); err != nil {
		return err
	}
	box, err := a.Select(ctx, "INBOX", false)
	if err != nil {
		return err
	}
	c.box = box.(*selected)
	snap, err := c.box.Snapshot(ctx)
	if err != nil {
		return err
	}
	if snap.HighestModSeq < c.at || snap.UIDNext < c.next {
		return fmt.Errorf("numbers go back: %+v, was at %d and %d", snap.Status, c.at, c.next)
	}
	return c.update(ctx)
}

// looks fetches flags: nothing may be older than what the session was told before.
func (c *replica) looks(ctx context.Context) error {
	for msg, err := range c.box.Fetch(ctx, everything(), 0) {
		if err != nil {
			return err
		}
		if mine, ok := c.msgs[msg.UID]; ok && mine.at != ^imap.ModSeq(0) && (msg.ModSeq < mine.at || msg.ModSeq == mine.at && flagText(msg.Flags) != mine.flags) {
			return fmt.Errorf("message %d is %v at %d, was told as %v", msg.UID, flagText(msg.Flags), msg.ModSeq, mine)
		}
	}
	return nil
}

// searchesAgree compares, at rest, what is found by columns and by the index with what is found by the rows and by the
// text.
func searchesAgree(t *testing.T, m *Mailbox, box imap.Mailbox) {
	t.Helper()
	ctx := context.Background()
	list := []*imap.Criteria{{Flags: flags("F")}, {NotFlag: flags("A")}, {Flags: flags(",k1")}, {NotFlag: flags("S,k2")}}
	for n := range 5 {
		list = append(list, &imap.Criteria{Body: []string{fmt.Sprintf("number %d", n)}}, &imap.Criteria{Text: []string{fmt.Sprintf("letter %d", n)}, Flags: flags("S")})
	}
	for _, crit := range list {
		var want imap.UIDSet
		for msg, err := range box.Fetch(ctx, everything(), imap.NeedsOf(crit)|imap.NeedContent) {
			if err != nil {
				t.Fatal(err)
			}
			ok, err := imap.Match(ctx, crit, msg)
			if err != nil {
				t.Fatal(err)
			}
			if ok {
				want.Add(msg.UID)
			}
		}
		for _, worth := range []int{1, 1 << 30} {
			m.columnWorth = worth
			res, err := box.Search(ctx, &imap.Query{Within: everything(), Criteria: crit})
			if err != nil || !res.UIDs.Equal(want) {
				t.Errorf("%+v: found %v, not %v (%v)", crit, res, want, err)
			}
		}
	}
}

func tryDeliver(ctx context.Context, m *Mailbox, content string, to ...int) error {
	return tryDeliverID(ctx, m, content, "", to...)
}

func tryDeliverID(ctx context.Context, m *Mailbox, content, id string, to ...int) error {
	s := &mail.Session{}
	r, err := m.Door().Open(ctx, s)
	if err != nil {
		return err
	}
	tx, err := r.Begin(ctx, s, mail.Sender{})
	if err != nil {
		return err
	}
	defer tx.Abort()
	for _, n := range to {
		to := rcpt(n)
		to.DeliveryID = id
		if err := tx.Recipient(ctx, &to); err != nil {
			return err
		}
	}
	if _, err := io.WriteString(tx, content); err != nil {
		return err
	}
	replies, err := tx.Commit(ctx)
	if err != nil {
		return err
	}
	for i := range replies {
		if !replies[i].Positive() {
			return &replies[i]
		}
	}
	return nil
}
