package qm

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	mrand "math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/resolver"
	"github.com/samotop/samotop/resolver/resolvertest"
	"github.com/samotop/samotop/smtp"
	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/mem"
)

// world is everything around a queue: mailboxes, servers, names. It outlives crashes of the queue.
type world struct {
	t   testing.TB
	rnd *mrand.Rand

	mu     sync.Mutex
	boxes  map[string][]string // local address -> messages
	seen   map[string]bool     // delivery ids
	refuse map[string]mail.Reply
	sites  map[string]*site // domain -> server
	logs   bytes.Buffer
	silent bool          // what is down does not answer, until freed
	freed  chan struct{} // closed by release
}

// site is a server elsewhere.
type site struct {
	name    string
	down    bool
	ext     smtp.Extensions
	rcpt    func(a mail.Address) mail.Reply // nil: takes all
	data    func() mail.Reply
	delay   time.Duration
	lose    func() bool // the answer to the end is lost
	tlsOK   bool
	banner  string
	got     map[string][]string // recipient -> messages
	from    []string            // reverse-paths of its transactions
	conns   int
	txs     int
	maxOpen int
	open    int
}

func newWorld(t testing.TB) *world {
	return &world{t: t, rnd: mrand.New(mrand.NewPCG(1, 2)), boxes: map[string][]string{}, seen: map[string]bool{},
		refuse: map[string]mail.Reply{}, sites: map[string]*site{}, freed: make(chan struct{})}
}

func (w *world) site(domain string) *site {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.sites[domain]
	if s == nil {
		s = &site{name: "mx." + domain, got: map[string][]string{}, ext: smtp.Extensions{}}
		w.sites[domain] = s
	}
	return s
}

// Resolve: home.test is ours, with "alias" for two and "none" for nobody.
func (w *world) Resolve(_ context.Context, to mail.Address) ([]mail.Target, error) {
	if to.Domain != "home.test" {
		return []mail.Target{{Address: to, Remote: true}}, nil
	}
	switch to.Local {
	case "none":
		return nil, mail.NewReply(550, mail.Enhanced{5, 1, 1}, "No such user")
	case "alias":
		return []mail.Target{{Address: addr("a@home.test")}, {Address: addr("far@list.test"), Remote: true}}, nil
	}
	return []mail.Target{{Address: to}}, nil
}

func addr(s string) mail.Address {
	if s == "" {
		return mail.Address{}
	}
	a, err := mail.ParseAddress(s)
	if err != nil {
		panic(err)
	}
	return a
}

// Open, Begin and so on: the local door.
func (w *world) Open(context.Context, *mail.Session) (mail.Receiver, error) { return w, nil }
func (w *world) Begin(context.Context, *mail.Session, mail.Sender) (mail.Transaction, error) {
	return &boxTx{w: w}, nil
}

type boxTx struct {
	w     *world
	rcpts []mail.Recipient
	trace []mail.Field
	body  bytes.Buffer
}

func (b *boxTx) Recipient(_ context.Context, r *mail.Recipient) error {
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	if reply, ok := b.w.refuse[r.Address.String()]; ok {
		return &reply
	}
	if r.DeliveryID == "" {
		b.w.t.Error("a local recipient without a delivery id")
	}
	b.rcpts = append(b.rcpts, *r)
	return nil
}
func (b *boxTx) Trace(f ...mail.Field)       { b.trace = append(b.trace, f...) }
func (b *boxTx) Write(p []byte) (int, error) { return b.body.Write(p) }
func (b *boxTx) Abort() error                { return nil }
func (b *boxTx) Commit(context.Context) ([]mail.Reply, error) {
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	var rs []mail.Reply
	for _, r := range b.rcpts {
		if !b.w.seen[r.DeliveryID] {
			b.w.seen[r.DeliveryID] = true
			to := r.Address.String()
			b.w.boxes[to] = append(b.w.boxes[to], wire(b.trace, b.body.String()))
		}
		rs = append(rs, mail.OK())
	}
	return rs, nil
}

func wire(trace []mail.Field, body string) string {
	var b []byte
	for i := len(trace) - 1; i >= 0; i-- {
		b = trace[i].Append(b)
	}
	return string(b) + body
}

// release lets everything that is silent fail.
func (w *world) release() { close(w.freed) }

func (w *world) box(to string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.boxes[to]...)
}

func (w *world) got(to string) []string {
	_, domain, _ := strings.Cut(to, "@")
	s := w.site(domain)
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), s.got[to]...)
}

// connect is the network.
func (w *world) connect(ctx context.Context, l *line, h host, d *demand) (peer, error) {
	domain := strings.TrimPrefix(h.name, "mx.")
	s := w.site(domain)
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.down && w.silent {
		w.mu.Unlock()
		select {
		case <-w.freed:
		case <-ctx.Done():
		case <-time.After(30 * time.Second):
		}
		w.mu.Lock()
	}
	if s.down {
		return nil, errors.New("connection refused")
	}
	if (d.strict || d.security > opportunistic) && !s.tlsOK {
		return nil, smtp.ErrTLSUnavailable
	}
	s.conns++
	s.open++
	s.maxOpen = max(s.maxOpen, s.open)
	return &fakePeer{w: w, s: s}, nil
}

type fakePeer struct {
	w      *world
	s      *site
	closed bool
}

func (p *fakePeer) Extensions() smtp.Extensions { return p.s.ext }
func (p *fakePeer) TLS() *tls.ConnectionState   { return nil }
func (p *fakePeer) RemoteName() string {
	if p.s.banner != "" {
		return p.s.banner
	}
	return p.s.name
}
func (p *fakePeer) Quit(context.Context) error { return nil }
func (p *fakePeer) Close() error {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if !p.closed {
		p.closed = true
		p.s.open--
	}
	return nil
}

func (p *fakePeer) Send(ctx context.Context, m *smtp.Message) (*smtp.Result, error) {
	body, err := io.ReadAll(m.Body)
	if err != nil {
		return &smtp.Result{Recipients: make([]smtp.RecipientResult, len(m.Recipients))}, err
	}
	if int64(len(body)) != m.Size {
		p.w.t.Errorf("body of %d octets, said to be %d", len(body), m.Size)
	}
	if p.s.delay > 0 {
		select {
		case <-time.After(p.s.delay):
		case <-ctx.Done():
			res := &smtp.Result{Recipients: make([]smtp.RecipientResult, len(m.Recipients))}
			for i := range res.Recipients {
				res.Recipients[i].Reply = mail.Reply{Code: 451, Enhanced: mail.Enhanced{4, 4, 2}, Text: "broken off"}
			}
			return res, ctx.Err()
		}
	}
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if p.s.down || p.closed {
		res := &smtp.Result{Recipients: make([]smtp.RecipientResult, len(m.Recipients))}
		for i := range res.Recipients {
			res.Recipients[i].Reply = mail.Reply{Code: 451, Enhanced: mail.Enhanced{4, 4, 2}, Text: "connection lost"}
		}
		return res, io.ErrUnexpectedEOF
	}
	p.s.txs++
	p.s.from = append(p.s.from, m.Sender.Address.String())
	final := mail.OK()
	if p.s.data != nil {
		final = p.s.data()
	}
	res := &smtp.Result{Sender: mail.OK(), Data: final}
	for _, r := range m.Recipients {
		rr := smtp.RecipientResult{Reply: final, Command: "DATA"}
		if p.s.rcpt != nil {
			if reply := p.s.rcpt(r.Address); !reply.Positive() {
				rr = smtp.RecipientResult{Reply: reply, Command: "RCPT"}
			}
		}
		if rr.Reply.Positive() {
			to := r.Address.String()
			p.s.got[to] = append(p.s.got[to], wire(m.Trace, string(body)))
		}
		res.Recipients = append(res.Recipients, rr)
	}
	if p.s.lose != nil && p.s.lose() {
		res.Uncertain = true
		for i := range res.Recipients {
			res.Recipients[i] = smtp.RecipientResult{Reply: mail.Reply{Code: 451, Enhanced: mail.Enhanced{4, 4, 2}, Text: "answer lost"}}
		}
		return res, io.ErrUnexpectedEOF
	}
	return res, nil
}

// zone gives each domain its own server, mx.DOMAIN.
type zone struct{ resolver.Resolver }

func (z zone) MX(_ context.Context, domain string) ([]resolver.MX, resolver.Answer, error) {
	return []resolver.MX{{Preference: 10, Host: "mx." + domain}}, resolver.Answer{Authentic: true}, nil
}

func (w *world) config(e store.Engine) Config {
	return Config{Engine: e, Local: w, Rules: w, Hostname: "host.home.test",
		Resolver: zone{resolvertest.New(w.t, "*.test A 192.0.2.1\n")},
		Rand:     mrand.NewChaCha8([32]byte{byte(w.rnd.Uint32())}),
		Log:      slog.New(slog.NewTextHandler(&lockedWriter{w: w}, &slog.HandlerOptions{Level: slog.LevelDebug}))}
}

type lockedWriter struct {
	mu sync.Mutex
	w  *world
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.logs.Write(p)
}

// open opens a queue that speaks to this world.
func (w *world) open(cfg Config) *QM {
	w.t.Helper()
	q, err := Open(context.Background(), cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	q.dial = w.connect
	return q
}

// start opens and runs one; stop ends it in order.
func (w *world) start(cfg Config) (q *QM, stop func()) {
	w.t.Helper()
	q = w.open(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx) }()
	return q, func() {
		w.t.Helper()
		if err := q.Drain(context.Background()); err != nil {
			w.t.Error("drain:", err)
		}
		if err := <-done; err != nil {
			w.t.Error("run:", err)
		}
		cancel()
	}
}

const letter = "Message-ID: <1@home.test>\r\nSubject: hello\r\n\r\nbody\r\n"

// submit sends a message to the queue.
func submit(ctx context.Context, q *QM, from mail.Sender, body string, to ...mail.Recipient) (string, error) {
	s := &mail.Session{ID: "s1", Service: "msa", Login: mail.Identity{Account: from.Address.String()}}
	r, err := q.Door().Open(ctx, s)
	if err != nil {
		return "", err
	}
	tx, err := r.Begin(ctx, s, from)
	if err != nil {
		return "", err
	}
	defer tx.Abort()
	for i := range to {
		if err := tx.Recipient(ctx, &to[i]); err != nil {
			return "", err
		}
	}
	tx.Trace(mail.Field{Name: "Received", Value: "from here"})
	if _, err := tx.Write([]byte(body)); err != nil {
		return "", err
	}
	replies, err := tx.Commit(ctx)
	if err != nil {
		return "", err
	}
	if len(replies) != len(to) {
		return "", fmt.Errorf("%d replies for %d recipients", len(replies), len(to))
	}
	return strings.TrimPrefix(replies[0].Text, "queued as "), nil
}

func (w *world) send(q *QM, from string, to ...string) string {
	w.t.Helper()
	rs := make([]mail.Recipient, len(to))
	for i, a := range to {
		rs[i].Address = addr(a)
	}
	id, err := submit(context.Background(), q, mail.Sender{Address: addr(from)}, letter, rs...)
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

// empty checks that nothing of the queue is left, on disk or in memory.
func (w *world) empty(q *QM) {
	w.t.Helper()
	for _, k := range rows(w.t, q.cfg.Engine) {
		w.t.Errorf("left in the queue: %q", k)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.entries != 0 || len(q.msgs) != 0 || q.bodies != 0 || len(q.frozen) != 0 {
		w.t.Errorf("left in memory: %d entries, %d messages, %d octets, %d frozen", q.entries, len(q.msgs), q.bodies, len(q.frozen))
	}
}

// rows lists the keys of messages and indexes.
func rows(t testing.TB, e store.Engine) []string {
	var keys []string
	err := e.View(context.Background(), func(r store.Reader) error {
		for kv, err := range r.Scan(context.Background(), []byte{0}, []byte{0xff}, false) {
			if err != nil {
				return err
			}
			if c := kv.Key[0]; c == 'm' || c == 't' || c == 'd' || c == 'e' {
				keys = append(keys, string(kv.Key))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

var _ = mem.New
