package qm

import (
	"context"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/smtp"
	"github.com/samotop/samotop/store/mem"
)

// TestHistories plays weeks in which servers misbehave and our process crashes with what was not synced. Every
// recipient must end delivered or reported, never both and never twice, but where the answer was lost on the way to
// the disk. 300, 10,000 with SAMOTOP_NIGHTLY; SAMOTOP_HISTORIES sets how many, SAMOTOP_SEED the first.
func TestHistories(t *testing.T) {
	n := 300
	if testing.Short() {
		n = 50
	}
	if os.Getenv("SAMOTOP_NIGHTLY") != "" {
		n = 10000
	}
	if v, err := strconv.Atoi(os.Getenv("SAMOTOP_HISTORIES")); err == nil {
		n = v
	}
	first, _ := strconv.Atoi(os.Getenv("SAMOTOP_SEED"))
	for seed := first; seed < first+n; seed++ {
		ok := t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { newHistory(t, uint64(seed)).play() })
		})
		if !ok {
			return
		}
	}
}

type history struct {
	*world
	rnd     *mrand.Rand // of the world, under mu
	own     *mrand.Rand // of the test
	e       *mem.Engine
	q       *QM
	done    chan error
	cancel  context.CancelFunc
	life    int // grows with each crash
	crashes map[int64]bool
	crash   chan struct{}
	sent    map[string]bool // message and recipient, acknowledged
	copies  map[string][]copied
	unsure  map[string]bool // the answer to it was lost
}

type copied struct{ at time.Time }

func newHistory(t *testing.T, seed uint64) *history {
	h := &history{world: newWorld(t), rnd: mrand.New(mrand.NewPCG(seed, 7)), own: mrand.New(mrand.NewPCG(seed, 8)), e: mem.New(mem.Options{}), crashes: map[int64]bool{},
		crash: make(chan struct{}, 1), sent: map[string]bool{}, copies: map[string][]copied{}, unsure: map[string]bool{}}
	for i := range 6 {
		h.site(fmt.Sprintf("d%d.test", i))
	}
	return h
}

func (h *history) chance(percent int) bool { return h.rnd.IntN(100) < percent }

func (h *history) luck(percent int) bool { return h.own.IntN(100) < percent }

func (h *history) start() {
	cfg := h.config(h.e)
	cfg.Rand = mrand.NewChaCha8([32]byte{byte(h.own.Uint32()), byte(h.own.Uint32())})
	cfg.Local = lifeDoor{h, h.life}
	cfg.Limits = Limits{MaxLineEntries: 1 + h.own.IntN(10), MaxConnections: 1 + h.own.IntN(8), MaxDestinations: 3 + h.own.IntN(10),
		LeaseTime: 24 * time.Hour, MaxMemoryBytes: int64(h.own.IntN(1000)), MaxSendRecipients: 1 + h.own.IntN(3)}
	h.q = h.open(cfg)
	life := h.life
	h.q.dial = func(ctx context.Context, l *line, ho host, d *demand) (peer, error) { return h.dialAt(life, ho) }
	ctx, cancel := context.WithCancel(context.Background())
	h.done, h.cancel = make(chan error, 1), cancel
	go func(q *QM, done chan error) { done <- q.Run(ctx) }(h.q, h.done)
}

// die ends the process as a power cut does.
func (h *history) die() {
	h.mu.Lock()
	h.life++
	h.crashes[time.Now().UnixNano()] = true
	h.mu.Unlock()
	e := h.e
	h.e = e.Crash()
	e.Fence()
	h.cancel()
	<-h.done
}

func (h *history) play() {
	h.start()
	for i := range 12 {
		h.submitOne(i)
		select {
		case <-h.crash:
		case <-time.After(time.Duration(h.own.IntN(100)) * time.Minute):
			if !h.luck(15) {
				continue
			}
		}
		h.die()
		h.start()
	}
	h.mu.Lock()
	h.life += 1000 // from now on no more crashes
	for _, s := range h.sites {
		s.down = s.down && h.luck(50)
	}
	h.mu.Unlock()
	h.die()
	h.start()
	time.Sleep(8 * 24 * time.Hour)
	synctest.Wait()
	h.check()
	if err := h.q.Drain(context.Background()); err != nil {
		h.t.Error(err)
	}
	<-h.done
	h.cancel()
}

func (h *history) submitOne(i int) {
	from := "sender" + itoa(i) + "@home.test"
	if h.luck(10) {
		from = ""
	}
	var to []mail.Recipient
	for range 1 + h.own.IntN(4) {
		a := fmt.Sprintf("u%d@d%d.test", h.own.IntN(5), h.own.IntN(6))
		if h.luck(25) {
			a = fmt.Sprintf("u%d@home.test", h.own.IntN(3))
		}
		dup := false
		for _, r := range to {
			dup = dup || r.Address == addr(a)
		}
		if !dup {
			to = append(to, mail.Recipient{Address: addr(a)})
		}
	}
	body := fmt.Sprintf("X-N: %d\r\n\r\nbody\r\n", i)
	_, err := submit(context.Background(), h.q, mail.Sender{Address: addr(from), Priority: int8(h.own.IntN(3) - 1)}, body, to...)
	if err != nil {
		return
	}
	for _, r := range to {
		h.sent[fmt.Sprintf("%d %s %s", i, r.Address, from)] = true
	}
}

// dialAt connects for a process of one life.
func (h *history) dialAt(life int, ho host) (peer, error) {
	s := h.site(strings.TrimPrefix(ho.name, "mx."))
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.chance(10) {
		s.down = !s.down
	}
	if s.down || life != h.life {
		return nil, errors.New("connection refused")
	}
	return &lifePeer{fakePeer: fakePeer{w: h.world, s: s}, h: h, life: life}, nil
}

type lifePeer struct {
	fakePeer
	h    *history
	life int
}

func (p *lifePeer) Close() error { return nil }

func (p *lifePeer) Send(ctx context.Context, m *smtp.Message) (*smtp.Result, error) {
	h := p.h
	n, err := number(m)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	delay := time.Duration(h.rnd.IntN(90)) * time.Second
	h.mu.Unlock()
	select {
	case <-time.After(delay):
	case <-ctx.Done():
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	res := &smtp.Result{Sender: mail.OK()}
	if p.life != h.life || ctx.Err() != nil || h.chance(5) {
		for range m.Recipients {
			res.Recipients = append(res.Recipients, smtp.RecipientResult{Reply: mail.Reply{Code: 451, Text: "broken"}})
		}
		return res, errors.New("connection lost")
	}
	lose := h.chance(5)
	for _, r := range m.Recipients {
		reply := mail.OK()
		switch {
		case h.chance(20):
			reply = mail.Reply{Code: 450, Enhanced: mail.Enhanced{4, 2, 0}, Text: "later"}
		case r.Address.Local == "u0":
			reply = mail.Reply{Code: 550, Enhanced: mail.Enhanced{5, 1, 1}, Text: "nobody"}
		default:
			h.took(n, r.Address, lose)
		}
		res.Recipients = append(res.Recipients, smtp.RecipientResult{Reply: reply, Command: "DATA"})
	}
	if h.life < 1000 && h.chance(3) { // the answer comes to a process that is gone
		select {
		case h.crash <- struct{}{}:
		default:
		}
		h.crashes[time.Now().UnixNano()] = true
		h.life++
	}
	if !lose {
		return res, nil
	}
	res.Uncertain = true
	for i := range res.Recipients {
		res.Recipients[i] = smtp.RecipientResult{Reply: mail.Reply{Code: 451, Text: "lost"}}
	}
	return res, errors.New("connection lost")
}

// number reads which message it is.
func number(m *smtp.Message) (string, error) {
	b := make([]byte, 64)
	n, err := m.Body.Read(b)
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(b[:n]), "\r\n")
	return strings.TrimPrefix(line, "X-N: "), nil
}

func (h *history) took(n string, to mail.Address, lose bool) {
	key := n + " " + to.String()
	h.copies[key] = append(h.copies[key], copied{time.Now()})
	h.unsure[key] = h.unsure[key] || lose
}

// lifeDoor is the mailbox as one life of the process reaches it.
type lifeDoor struct {
	h    *history
	life int
}

func (d lifeDoor) Open(context.Context, *mail.Session) (mail.Receiver, error) { return d, nil }
func (d lifeDoor) Begin(context.Context, *mail.Session, mail.Sender) (mail.Transaction, error) {
	return &lifeTx{boxTx: boxTx{w: d.h.world}, d: d}, nil
}

type lifeTx struct {
	boxTx
	d lifeDoor
}

func (t *lifeTx) Commit(ctx context.Context) ([]mail.Reply, error) {
	h := t.d.h
	h.mu.Lock()
	dead, late := t.d.life != h.life, h.chance(10)
	h.mu.Unlock()
	if dead {
		return nil, errors.New("we are dead")
	}
	if late {
		return nil, mail.NewReply(451, mail.Enhanced{4, 3, 0}, "later")
	}
	rs, err := t.boxTx.Commit(ctx)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.chance(5) { // stored, but the answer is lost
		return nil, errors.New("lost")
	}
	return rs, err
}

func (h *history) check() {
	h.empty(h.q)
	h.mu.Lock()
	defer h.mu.Unlock()
	for key := range h.sent {
		f := strings.SplitN(key, " ", 3)
		n, to, from := f[0], f[1], f[2]
		copies := 0
		if strings.HasSuffix(to, "@home.test") {
			for _, m := range h.boxes[to] {
				if strings.Contains(m, "X-N: "+n+"\r\n") {
					copies++
				}
			}
			if copies != 1 {
				h.t.Errorf("message %s has %d copies for %s", n, copies, to)
			}
			continue
		}
		reports := 0
		for _, m := range h.boxes[from] {
			for _, about := range strings.Split(m, "\r\n\r\n") { // a report has a paragraph for each recipient
				if strings.Contains(about, "Action: failed") && strings.Contains(about, to) {
					reports++
				}
			}
		}
		cs := h.copies[n+" "+to]
		unsure := h.unsure[n+" "+to]
		for _, c := range cs {
			unsure = unsure || h.crashes[c.at.UnixNano()]
		}
		switch {
		case len(cs) == 0 && reports == 0 && from != "":
			h.t.Errorf("message %s to %s is lost", n, to)
		case len(cs) > 1 && !unsure, reports > 1:
			h.t.Errorf("message %s to %s: %d copies, %d reports", n, to, len(cs), reports)
		case len(cs) > 0 && reports > 0 && !unsure:
			h.t.Errorf("message %s to %s was delivered and reported as failed", n, to)
		}
	}
	if h.t.Failed() {
		h.t.Log(h.logs.String())
	}
}
