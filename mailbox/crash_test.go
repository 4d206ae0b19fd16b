package mailbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/disk"
	"github.com/samotop/samotop/store/log"
	"github.com/samotop/samotop/store/mem"
)

// crashable is an engine whose power can be cut.
type crashable struct {
	store.Engine
	crash   func() store.Engine
	trouble func() // something else that may happen to it
}

// crashables are the engines that crash tests run on.
var crashables = map[string]func(t *testing.T, seed uint64) crashable{
	"mem": func(_ *testing.T, seed uint64) crashable {
		e := mem.New(mem.Options{Manual: true, MoveBodies: true})
		rnd := rand.New(rand.NewPCG(seed, 7))
		return crashable{lagging{e}, func() store.Engine { return e.Crash() }, func() {
			if rnd.IntN(2) == 0 {
				e.Fail(store.ErrUnknown)
			} else {
				e.Collect(context.Background(), 1<<20)
			}
		}}
	},
	"log": func(t *testing.T, seed uint64) crashable {
		sim := disk.NewSim(seed)
		o := log.Options{Dir: "/db", FS: sim, SegmentOctets: 1 << 20, FlushLogOctets: 2 << 20, MemtableOctets: 256 << 10,
			CacheOctets: 1 << 20, ReserveOctets: 1 << 20}
		open := func() *log.Engine {
			e, err := log.Open(context.Background(), o)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { go e.Close() }) // one without power may wait for its disk for ever
			return e
		}
		e := open()
		return crashable{e, func() store.Engine {
			sim.PowerOff()
			o.FS = sim.Crash([]disk.Loss{disk.Strict, disk.Random, disk.Nothing}[seed%3])
			return open()
		}, func() { e.Collect(context.Background(), 1<<20) }}
	},
}

// worker is a session with folders of its own, and a model of them.
type worker struct {
	prefix string
	user   int
	m      *Mailbox
	a      imap.Account
	rnd    *rand.Rand
	serial int
	now    model // acknowledged
	next   model // with the command that is going on
	dying  *atomic.Bool
}

// model is what a worker's folders hold: by name, the messages in UID order.
type model struct {
	folders map[string][]string
	subs    map[string]bool
}

func (s model) clone() model {
	c := model{map[string][]string{}, map[string]bool{}}
	for n, list := range s.folders {
		c.folders[n] = slices.Clone(list)
	}
	for n := range s.subs {
		c.subs[n] = true
	}
	return c
}

func (s model) String() string {
	var lines []string
	for n, list := range s.folders {
		lines = append(lines, n+": "+strings.Join(list, " "))
	}
	for n := range s.subs {
		lines = append(lines, "subscribed "+n)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// look reads the model back from a mailbox.
func (w *worker) look(ctx context.Context, a imap.Account) (model, error) {
	s := model{map[string][]string{}, map[string]bool{}}
	list, err := a.List(ctx)
	if err != nil {
		return s, err
	}
	for _, f := range list {
		if !strings.HasPrefix(f.Name, w.prefix) {
			continue
		}
		if f.Subscribed {
			s.subs[f.Name] = true
		}
		if f.NonExistent {
			continue
		}
		if s.folders[f.Name], err = contents(ctx, a, f.Name); err != nil {
			return s, err
		}
	}
	return s, nil
}

// contents lists the subjects and flags of a folder.
func contents(ctx context.Context, a imap.Account, name string) ([]string, error) {
	box, err := a.Select(ctx, name, true)
	if err != nil {
		return nil, err
	}
	defer box.Close()
	list := []string{}
	for m, err := range box.Fetch(ctx, everything(), imap.NeedContent) {
		if err != nil {
			return nil, err
		}
		text, err := m.Content.Append(ctx, nil, 0, m.Content.Size())
		if err != nil {
			return nil, err
		}
		_, subject, _ := strings.Cut(string(text), "Subject: letter ")
		subject, _, _ = strings.Cut(subject, "\r\n")
		if !strings.HasSuffix(string(text), "Body number "+subject+".\r\n") {
			return nil, fmt.Errorf("message %s is torn: %q", subject, text)
		}
		list = append(list, subject+flagText(m.Flags))
	}
	return list, nil
}

// one does one random command. What it does to the model is in w.next before it begins.
func (w *worker) one(ctx context.Context) error {
	w.next = w.now.clone()
	names := make([]string, 0, len(w.now.folders))
	for n := range w.now.folders {
		names = append(names, n)
	}
	slices.Sort(names)
	if len(names) == 0 {
		return w.create(ctx)
	}
	name := names[w.rnd.IntN(len(names))]
	other := names[w.rnd.IntN(len(names))]
	list := w.now.folders[name]
	switch k := w.rnd.IntN(12); {
	case k < 3 || len(list) == 0 && k < 8:
		return w.append(ctx, name, 1+w.rnd.IntN(2))
	case k == 3:
		return w.create(ctx)
	case k == 4 && len(names) > 1:
		delete(w.next.folders, name)
		return w.a.Delete(ctx, name)
	case k == 5:
		to := fmt.Sprint(w.prefix, "r", w.serial)
		w.serial++
		w.next.folders[to] = list
		delete(w.next.folders, name)
		return w.a.Rename(ctx, name, to)
	case k == 6:
		on := !w.now.subs[name]
		if w.next.subs[name] = true; !on {
			delete(w.next.subs, name)
		}
		return w.a.Subscribe(ctx, name, on)
	case k == 7:
		w.serial++
		w.next.folders[name] = append(w.next.folders[name], fmt.Sprint(w.serial))
		return w.deliver(ctx, name)
	}
	return w.message(ctx, name, other)
}

func (w *worker) create(ctx context.Context) error {
	name := fmt.Sprint(w.prefix, "c", w.serial)
	w.serial++
	w.next.folders[name] = []string{}
	_, err := w.a.Create(ctx, name, nil)
	return err
}

func (w *worker) append(ctx context.Context, name string, n int) error {
	ap, err := w.a.Append(ctx, name)
	if err != nil {
		return err
	}
	defer ap.Abort()
	for range n {
		w.serial++
		w.next.folders[name] = append(w.next.folders[name], fmt.Sprint(w.serial, "F,key"))
		out, err := ap.Next(ctx, imap.AppendOptions{Flags: flags("F,key")})
		if err != nil {
			return err
		}
		if _, err := io.WriteString(out, letter(w.serial)); err != nil {
			return err
		}
	}
	_, err = ap.Commit(ctx)
	return err
}

func (w *worker) deliver(ctx context.Context, name string) error {
	tx := &delivery{m: w.m, ctx: ctx}
	defer tx.Abort()
	to := rcpt(w.user)
	to.Folder = name
	if err := tx.Recipient(ctx, &to); err != nil {
		return err
	}
	if _, err := io.WriteString(tx, letter(w.serial)); err != nil {
		return err
	}
	_, err := tx.Commit(ctx)
	return err
}

// message does something to one message of a folder.
func (w *worker) message(ctx context.Context, name, other string) error {
	box, err := w.a.Select(ctx, name, false)
	if err != nil {
		return err
	}
	defer box.Close()
	snap, err := box.Snapshot(ctx)
	if err != nil || len(snap.UIDs) == 0 {
		return err
	}
	i := w.rnd.IntN(snap.UIDs.Len())
	u := snap.UIDs.At(i + 1)
	set := imap.UIDSet{{Start: u, Stop: u}}
	list := w.next.folders[name]
	text := list[i]
	switch w.rnd.IntN(3) {
	case 0:
		subject := strings.TrimRight(strings.Split(text, ",")[0], "SAFDT")
		list[i] = subject + "SD,other"
		_, err = box.Store(ctx, set, imap.StoreChange{Mode: imap.StoreReplace, Flags: flags("SD,other")})
	case 1:
		move := w.rnd.IntN(2) == 0
		if move {
			w.next.folders[name] = slices.Delete(list, i, i+1)
		}
		w.next.folders[other] = append(w.next.folders[other], text)
		_, err = box.Copy(ctx, set, other, move)
	case 2:
		w.next.folders[name] = slices.DeleteFunc(list, func(s string) bool { return strings.Contains(s, "D,") })
		_, err = box.Expunge(ctx, nil)
	}
	return err
}

// run works until the power is cut; after a command whose outcome is unknown it looks what has become of it.
func (w *worker) run(ctx context.Context) error {
	for {
		err := w.one(ctx)
		if err == nil {
			w.now = w.next
			continue
		}
		if w.dying.Load() {
			return nil
		}
		got, lookErr := w.look(ctx, w.a)
		if lookErr != nil && w.dying.Load() {
			return nil
		}
		if lookErr != nil {
			return errors.Join(err, lookErr)
		}
		if err := w.check(got); err != nil {
			return err
		}
		w.now = got
	}
}

// check compares what is there with what was acknowledged, and with the command that was not.
func (w *worker) check(got model) error {
	if g := got.String(); g != w.now.String() && g != w.next.String() {
		return fmt.Errorf("%s has\n%s\nacknowledged was\n%s\nor, with the last command,\n%s", w.prefix, g, w.now, w.next)
	}
	return nil
}

// TestCrash: after a crash everything acknowledged is there, byte for byte, and nothing is half there.
func TestCrash(t *testing.T) {
	for name, start := range crashables {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(9) {
				crashFolders(t, start(t, seed), seed)
				crashDeliveries(t, start(t, seed+100), seed+100)
				if t.Failed() {
					t.Fatalf("seed %d", seed)
				}
			}
		})
	}
}

func crashFolders(t *testing.T, e crashable, seed uint64) {
	ctx := context.Background()
	m := open(t, e, Config{Limits: Limits{BodyGrace: -1}})
	var dying atomic.Bool // errors are expected from now on
	var wg sync.WaitGroup
	workers := make([]*worker, 6)
	for n := range workers {
		w := &worker{prefix: fmt.Sprintf("w%d/", n), user: 1 + n%2, m: m, a: login(t, m, 1+n%2), rnd: rand.New(rand.NewPCG(seed, uint64(n))), dying: &dying}
		w.now = model{}.clone()
		workers[n] = w
		wg.Add(1)
		go func() {
			defer wg.Done()
			if err := w.run(ctx); err != nil {
				t.Errorf("seed %d: %v", seed, err)
			}
		}()
	}
	disturb(ctx, m, e, seed)
	dying.Store(true)
	after := e.crash()
	wg.Wait()
	m.Close()
	again := open(t, after, Config{Limits: Limits{BodyGrace: -1}})
	verify(t, again)
	for _, w := range workers {
		got, err := w.look(ctx, login(t, again, w.user))
		if err == nil {
			err = w.check(got)
		}
		if err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
	if err := again.Sweep(ctx); err != nil {
		t.Error(err)
	}
	verify(t, again)
}

func disturb(ctx context.Context, m *Mailbox, e crashable, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 99))
	for range 8 {
		time.Sleep(time.Duration(rnd.IntN(3000)) * time.Microsecond)
		if rnd.IntN(2) == 0 {
			e.trouble()
		} else {
			m.Sweep(ctx)
		}
	}
}

// crashDeliveries delivers as a queue does, with delivery ids and retries: each letter is there once.
func crashDeliveries(t *testing.T, e crashable, seed uint64) {
	ctx := context.Background()
	m := open(t, e, Config{Limits: Limits{BodyGrace: -1}})
	var mu sync.Mutex
	acked := map[string]int{} // letter, owners as bits
	var stop atomic.Bool
	var wg sync.WaitGroup
	for n := range 6 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			rnd := rand.New(rand.NewPCG(seed, uint64(n)))
			for i := 0; !stop.Load(); i++ {
				to := []int{1 + rnd.IntN(3)}
				if rnd.IntN(3) == 0 {
					to = []int{1, 2, 3}
				}
				serial := n*100000 + i
				err := errors.New("not tried")
				for tries := 0; err != nil && tries < 20 && !stop.Load() && !errors.Is(err, store.ErrFenced); tries++ {
					err = tryDeliverID(ctx, m, letter(serial), fmt.Sprint(serial), to...)
				}
				if err != nil {
					continue
				}
				mu.Lock()
				for _, k := range to {
					acked[fmt.Sprint(serial)] |= 1 << k
				}
				mu.Unlock()
			}
		}()
	}
	disturb(ctx, m, e, seed)
	after := e.crash()
	stop.Store(true)
	wg.Wait()
	m.Close()
	again := open(t, after, Config{Limits: Limits{BodyGrace: -1}})
	verify(t, again)
	found := map[string]int{}
	for n := 1; n <= 3; n++ {
		a := login(t, again, n)
		st, err := a.Status(ctx, "INBOX")
		if err != nil {
			t.Fatal(err)
		}
		list, err := contents(ctx, a, "INBOX")
		if err != nil {
			t.Fatal(err)
		}
		if int(st.UIDNext)-1 != len(list) {
			t.Errorf("seed %d: %d messages up to UID %d", seed, len(list), st.UIDNext-1)
		}
		for _, s := range list {
			if found[s]&(1<<n) != 0 {
				t.Errorf("seed %d: letter %s is there twice", seed, s)
			}
			found[s] |= 1 << n
		}
	}
	for s, who := range acked {
		if found[s]&who != who {
			t.Errorf("seed %d: letter %s was acknowledged to %b, found %b", seed, s, who, found[s])
		}
	}
	if len(acked) == 0 {
		t.Errorf("seed %d: nothing was delivered", seed)
	}
}
