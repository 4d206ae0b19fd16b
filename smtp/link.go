package smtp

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/samotop/samotop/mail"
)

// Link is another server as a mail.Door: a pool of connections to one peer, by LMTP or SMTP. It connects when a
// transaction begins, not when the Door opens. It is safe for concurrent use; fields must not be changed after its
// first use.
//
// A message that came with SMTPUTF8 goes to a peer without it if its addresses and its header are ASCII; a header that is not
// fails the message while the content comes (RFC 6531 section 3.2).
//
// On a trusted link the session's facts, delivery ids, folders and trace fields travel beside the message; towards a
// peer that does not know our extensions trace fields stand in front of the content, and a field that is added after
// more than 64 KiB of content have gone out fails the message.
type Link struct {
	Dialer  Dialer
	Network string // "tcp" or "unix"
	Address string
	Connect func(ctx context.Context) (net.Conn, error) // instead of Network and Address: a pipe, a child process

	MaxConnections  int           // at the same time; more transactions wait; 0: 20
	MaxIdle         int           // kept for the next transaction; 0: 10
	MaxTransactions int           // on one connection; 0: 100, or what the peer announces if that is less
	IdleTimeout     time.Duration // 0: 1 minute
	BackoffMin      time.Duration // after a failure to connect nobody tries again so soon; 0: 100 ms
	BackoffMax      time.Duration // 0: 30 seconds
	Patience        time.Duration // a transaction waits so long for a peer that is away; 0: not at all
	AskOnly         bool          // a peer that is none of ours hears the envelope and gets no content: its answers to RCPT count

	mu       sync.Mutex
	slots    chan struct{}
	idle     []*Client // the one used last at the end
	wait     time.Duration
	retryAt  time.Time
	lastErr  error
	closed   bool
	sweeping bool
	can      [mail.BodyBinary + 1]abilities // of the transactions begun last, for each kind of content
}

var _ mail.Door = (*Link)(nil)

// Open returns a Receiver whose transactions run on connections of the pool.
func (l *Link) Open(context.Context, *mail.Session) (mail.Receiver, error) {
	return linkReceiver{l}, nil
}

// Check reports a Link that leads nowhere (mail.Checker).
func (l *Link) Check() error {
	if l.Connect == nil && (l.Network == "" || l.Address == "") {
		return errors.New("smtp: link has neither an address nor a way to connect")
	}
	return nil
}

// Close closes the connections that are idle, and the others when their transaction is over.
func (l *Link) Close() error {
	l.mu.Lock()
	idle := l.idle
	l.idle, l.closed = nil, true
	l.mu.Unlock()
	for _, c := range idle {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		_ = c.Quit(ctx)
		cancel()
	}
	return nil
}

// slot waits for the right to hold a connection.
func (l *Link) slot(ctx context.Context) error {
	l.mu.Lock()
	if l.slots == nil {
		l.slots = make(chan struct{}, or(l.MaxConnections, 20))
	}
	slots, closed := l.slots, l.closed
	l.mu.Unlock()
	if closed {
		return ErrClosed
	}
	select {
	case slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// take gives a connection: an idle one unless fresh is asked for. Reused tells which it was.
func (l *Link) take(ctx context.Context, fresh bool) (c *Client, reused bool, err error) {
	now := time.Now()
	l.mu.Lock()
	var stale []*Client
	for !fresh && c == nil && len(l.idle) > 0 {
		last := len(l.idle) - 1
		c, l.idle = l.idle[last], l.idle[:last]
		if now.Sub(c.used) > or(l.IdleTimeout, time.Minute) {
			stale, c = append(stale, c), nil
		}
	}
	again, lastErr := l.retryAt, l.lastErr
	l.mu.Unlock()
	for _, s := range stale {
		s.Close()
	}
	if c != nil {
		return c, true, nil
	}
	c, err = l.connect(ctx, again, lastErr)
	return c, false, err
}

// connect dials, not before the end of the pause that an earlier failure began, and again for as long as Patience lasts.
func (l *Link) connect(ctx context.Context, again time.Time, lastErr error) (*Client, error) {
	for end := time.Now().Add(l.Patience); ; {
		if pause := time.Until(again); pause > 0 {
			if again.After(end) {
				return nil, lastErr
			}
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		c, err := l.dial(ctx)
		if ctx.Err() == nil {
			l.note(err)
		}
		if err == nil || ctx.Err() != nil {
			return c, err
		}
		l.mu.Lock()
		again, lastErr = l.retryAt, err
		l.mu.Unlock()
	}
}

func (l *Link) dial(ctx context.Context) (*Client, error) {
	if l.Connect == nil {
		return l.Dialer.Dial(ctx, l.Network, l.Address)
	}
	conn, err := l.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return l.Dialer.Client(ctx, conn, "")
}

// note keeps count of failures to connect.
func (l *Link) note(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lastErr = err; err == nil {
		l.wait, l.retryAt = 0, time.Time{}
		return
	}
	l.wait = min(max(2*l.wait, or(l.BackoffMin, 100*time.Millisecond)), or(l.BackoffMax, 30*time.Second))
	l.retryAt = time.Now().Add(l.wait)
}

// give takes a connection back and frees its slot.
func (l *Link) give(c *Client) {
	if c != nil {
		max := or(l.MaxTransactions, 100)
		if n := c.MaxTransactions(); n > 0 && n < max {
			max = n
		}
		now := time.Now()
		l.mu.Lock()
		var stale *Client // the one that has been idle longest goes when its time is over
		if len(l.idle) > 0 && now.Sub(l.idle[0].used) > or(l.IdleTimeout, time.Minute) {
			stale, l.idle = l.idle[0], slices.Delete(l.idle, 0, 1)
		}
		keep := c.broken == nil && !l.closed && c.sent < max && len(l.idle) < or(l.MaxIdle, 10)
		if keep {
			l.idle = append(l.idle, c)
			l.unsent(c)
		}
		l.mu.Unlock()
		if stale != nil {
			stale.Close()
		}
		if !keep {
			c.Close()
		}
	}
	<-l.slots
}

type linkReceiver struct{ l *Link }

// Begin takes a connection and sends MAIL. One that lay idle may have been closed by the peer in the meantime: then
// another one is tried.
func (r linkReceiver) Begin(ctx context.Context, s *mail.Session, from mail.Sender) (mail.Transaction, error) {
	l := r.l
	if err := l.slot(ctx); err != nil {
		return nil, err
	}
	for fresh := false; ; fresh = true {
		c, reused, err := l.take(ctx, fresh)
		if err != nil {
			l.give(nil)
			return nil, unreachable(err)
		}
		if l.asks(c) {
			reply, err := l.beginAsking(ctx, c, s, &from)
			switch {
			case err == nil && reply.Positive():
				return askTx{&linkTx{l: l, c: c, ctx: ctx}}, nil
			case err == nil && reply.Code != 421:
				l.give(c)
				return nil, passOn(reply)
			}
			c.Close()
			if err == nil {
				err = &ReplyError{"MAIL", reply}
			}
			if !reused || ctx.Err() != nil {
				l.give(nil)
				return nil, unreachable(err)
			}
			continue
		}
		if can := l.known(&from); can.known && c.d.Trusted && c.ext.Has("PIPELINING") {
			tx := newLinkTx(ctx, l, c, s)
			tx.first, tx.can = &from, can
			return tx.as(can), nil
		}
		reply, _, err := c.mailFrom(ctx, s, &from, "")
		switch {
		case err == nil && reply.Positive():
			tx := newLinkTx(ctx, l, c, s)
			tx.watch(&from)
			tx.can = l.learn(c, &from, reply)
			return tx.as(tx.can), nil
		case err == nil && reply.Code == 421 && reused: // said while the connection lay idle
		case err == nil:
			l.give(c)
			return nil, passOn(reply)
		}
		c.Close()
		if !reused || ctx.Err() != nil {
			l.give(nil)
			return nil, unreachable(err)
		}
	}
}

func newLinkTx(ctx context.Context, l *Link, c *Client, s *mail.Session) *linkTx {
	tx := &linkTx{l: l, c: c, ctx: ctx, session: s}
	if s != nil {
		tx.told = slices.Clone(s.Facts)
	}
	return tx
}

// watch sees to it that nothing goes to a server without SMTPUTF8 that needs it.
func (tx *linkTx) watch(from *mail.Sender) {
	if from.UTF8 && !tx.c.ext.Has("SMTPUTF8") {
		tx.plain = newPlainWatch()
	}
}

// mailFrom sends MAIL, and with it RCPT if that is not empty; its answer means something only if MAIL was accepted.
func (c *Client) mailFrom(ctx context.Context, s *mail.Session, from *mail.Sender, rcpt string) (first, second *mail.Reply, err error) {
	if from.UTF8 && !c.ext.Has("SMTPUTF8") { // what comes will tell whether it is needed: see plainWatch
		plain := *from
		plain.UTF8 = false
		from = &plain
	}
	line, refusal := c.mailLine(from, s, from.Size, false, 0)
	if refusal != nil {
		return refusal, nil, nil
	}
	if c.d.Trusted && c.ext.Has(wordSettled) {
		line += " " + wordSettled
	}
	done := c.begin(ctx)
	reset := c.dirty
	if reset {
		c.put("RSET")
	}
	c.put(line)
	c.sent++
	if rcpt != "" {
		c.put(rcpt)
	}
	if reset {
		if _, err := c.read(or(c.d.QuitTimeout, time.Minute)); err != nil {
			return nil, nil, done(err)
		}
	}
	first, err = c.read(or(c.d.MailTimeout, 5*time.Minute))
	if err == nil {
		c.dirty = first.Positive()
		if rcpt != "" && c.broken == nil {
			second, err = c.read(or(c.d.RcptTimeout, 5*time.Minute))
		}
	}
	return first, second, done(err)
}

// unreachable is what our own peer is told when the next one cannot be spoken to.
func unreachable(err error) *mail.Reply {
	var re *ReplyError
	if errors.As(err, &re) {
		return passOn(re.Reply).Because(err)
	}
	return mail.NewReply(451, mail.Enhanced{4, 4, 1}, "Next hop cannot be reached, please try again later").Because(err)
}

// passOn gives another server's refusal to our own peer. 421 would end a session that has nothing to do with it.
func passOn(r *mail.Reply) *mail.Reply {
	r = refusing(r)
	if r.Code == 421 {
		return mail.NewReply(451, r.Enhanced, r.Text).Because(r)
	}
	return r
}
