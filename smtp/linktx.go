package smtp

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/samotop/samotop/mail"
)

// linkTx is a transaction on a Link. Content is gathered in one buffer; only what does not fit goes out before Commit,
// so a small message needs one round trip for its content.
type linkTx struct {
	l        *Link
	c        *Client
	ctx      context.Context // of Begin, for Write
	accepted int
	fields   []mail.Field
	out      *blockWriter
	buf      *[largeOctets]byte
	n        int
	started  bool // content has begun to go out
	bdat     bool
	chunks   int // whose answers are due
	enc      *dotEncoder
	late     bool
	failure  error
	amends   []amendment
	prepared bool
	session  *mail.Session // whose facts may grow while the content comes; nil: none
	told     []mail.Fact   // with MAIL
	first    *mail.Sender  // MAIL waits for the first RCPT and goes with it; nil: it has gone
	refused  *mail.Reply   // by which MAIL was answered then
	can      abilities
	settled  bool        // the peer has said its last word
	plain    *plainWatch // looks whether SMTPUTF8 is needed, which the peer does not have; nil: it is all the same
}

var errLateTrace = errors.New("trace field came after the content had gone out")

func (tx *linkTx) Recipient(ctx context.Context, r *mail.Recipient) error {
	c := tx.c
	if c == nil {
		return ErrClosed
	}
	line, refusal := c.rcptLine(r)
	if refusal != nil {
		return refusal
	}
	if tx.refused != nil {
		return tx.refused
	}
	reply, err := tx.rcpt(ctx, r, line)
	if err != nil {
		return err
	}
	if !reply.Positive() {
		return passOn(reply)
	}
	tx.heard(reply)
	tx.accepted++
	if t := tx.c.targets(reply); t != nil {
		r.Targets = t
	}
	return nil
}

// rcpt sends RCPT, and MAIL if it waits.
func (tx *linkTx) rcpt(ctx context.Context, r *mail.Recipient, line string) (*mail.Reply, error) {
	if tx.first != nil {
		return tx.open(ctx, r, line)
	}
	c := tx.c
	if c.broken != nil {
		return nil, unreachable(c.broken)
	}
	done := c.begin(ctx)
	reply, err := c.command(or(c.d.RcptTimeout, 5*time.Minute), line)
	if err = done(err); err != nil {
		return nil, unreachable(err)
	}
	return reply, nil
}

func (tx *linkTx) Trace(fields ...mail.Field) {
	if tx.started && !(tx.bdat && tx.besides()) || tx.prepared {
		tx.late = true
		return
	}
	if tx.plain != nil {
		fields = asPlain(fields)
	}
	tx.fields = append(tx.fields, fields...)
}

// besides reports whether trace fields travel beside the content.
func (tx *linkTx) besides() bool { return tx.c.d.Trusted && tx.c.ext.Has("XTRACE") }

func (tx *linkTx) prefix() []byte {
	var b []byte
	for i := len(tx.fields) - 1; i >= 0; i-- {
		b = tx.fields[i].Append(b)
	}
	return b
}

func (tx *linkTx) Write(p []byte) (int, error) {
	if tx.c == nil {
		return 0, ErrClosed
	}
	if tx.failure != nil {
		return 0, tx.failure
	}
	if tx.plain != nil && !tx.plain.write(p) {
		tx.failure = tx.c.needsUTF8()
		return 0, tx.failure
	}
	if tx.buf == nil {
		tx.buf = largeBuffers.Get().(*[largeOctets]byte)
	}
	total := len(p)
	for len(p) > 0 {
		if tx.n == largeOctets {
			if tx.failure = tx.during(tx.ctx, func() error { return tx.pass(false) }); tx.failure != nil {
				return 0, tx.failure
			}
		}
		n := copy(tx.buf[tx.n:], p)
		tx.n += n
		p = p[n:]
	}
	return total, nil
}

// during runs f on the connection under ctx and turns what goes wrong with it into a refusal.
func (tx *linkTx) during(ctx context.Context, f func() error) error {
	if tx.c.broken != nil {
		return unreachable(tx.c.broken)
	}
	done := tx.c.begin(ctx)
	err := done(f())
	var r *mail.Reply
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errSmuggle):
		tx.c.broken = err
		return mail.NewReply(554, mail.Enhanced{5, 6, 0}, "Content holds a bare CR or LF").Because(err)
	case errors.As(err, &r):
		return passOn(r)
	}
	tx.c.broken = err
	return unreachable(err)
}

// pass sends what the buffer holds.
func (tx *linkTx) pass(last bool) error {
	if !tx.started {
		if err := tx.start(); err != nil {
			return err
		}
	}
	p := tx.buf[:tx.n]
	tx.n = 0
	if !tx.bdat {
		if _, err := tx.enc.Write(p); err != nil || !last {
			return err
		}
		if err := tx.enc.Close(); err != nil {
			return err
		}
		return tx.out.flush()
	}
	return tx.chunk(p, last)
}

// putTrace sends the trace fields beside the content.
func (tx *linkTx) putTrace() {
	prefix := tx.prefix()
	tx.c.put("XTRACE " + strconv.Itoa(len(prefix)))
	tx.c.w.out = append(tx.c.w.out, prefix...)
}

// chunk sends one BDAT and reads the answer to the one before it.
func (tx *linkTx) chunk(p []byte, last bool) error {
	c := tx.c
	if last {
		tx.lastWords()
	}
	line := "BDAT " + strconv.Itoa(len(p))
	if last {
		line += " LAST"
	}
	c.put(line)
	c.w.writeTimeout = or(c.d.BlockTimeout, 3*time.Minute)
	if err := c.w.writeBehind(p); err != nil {
		return writeError{err}
	}
	if err := tx.due(); err != nil {
		return err
	}
	if !last {
		tx.chunks++
	}
	return nil
}

// due reads the answers to what was sent before.
func (tx *linkTx) due() error {
	c := tx.c
	for ; tx.chunks > 0; tx.chunks-- {
		r, err := c.read(or(c.d.EndTimeout, 10*time.Minute))
		if err != nil {
			return err
		}
		if !r.Positive() {
			c.broken = &ReplyError{"BDAT", r} // answers are still under way
			return refusing(r)
		}
	}
	return nil
}

// replies reads what is said to the end of content.
func (tx *linkTx) replies() (replies []mail.Reply, err error) {
	for len(replies) < tx.accepted {
		if len(replies) > 0 && !tx.c.d.LMTP {
			replies = append(replies, replies[0])
			continue
		}
		r, err := tx.c.read(or(tx.c.d.EndTimeout, 10*time.Minute))
		if err != nil {
			return nil, err
		}
		if !r.Positive() {
			r = passOn(r)
		}
		replies = append(replies, *r)
	}
	return replies, nil
}

// start decides how the content goes.
func (tx *linkTx) start() error {
	c := tx.c
	tx.started = true
	tx.bdat = c.ext.Has("CHUNKING")
	if tx.bdat {
		if tx.besides() || len(tx.fields) == 0 {
			return nil
		}
		prefix := tx.prefix()
		c.put("BDAT " + strconv.Itoa(len(prefix)))
		c.w.out = append(c.w.out, prefix...)
		tx.chunks++
		return nil
	}
	if tx.besides() && len(tx.fields) > 0 {
		tx.putTrace()
		if r, err := c.read(or(c.d.DataTimeout, 2*time.Minute)); err != nil || !r.Positive() {
			return either(r, err)
		}
	}
	r, err := c.command(or(c.d.DataTimeout, 2*time.Minute), "DATA")
	if err != nil || r.Code != 354 {
		return either(r, err)
	}
	tx.out = newBlockWriter(c)
	tx.enc = &dotEncoder{w: tx.out}
	if !tx.besides() {
		_, err = tx.enc.Write(tx.prefix())
	}
	return err
}

func either(r *mail.Reply, err error) error {
	if err != nil {
		return err
	}
	return refusing(r)
}

// Commit ends the content and returns the peer's answers.
func (tx *linkTx) Commit(ctx context.Context) ([]mail.Reply, error) {
	if tx.c == nil {
		return nil, ErrClosed
	}
	defer tx.leave()
	if err := tx.ready(); err != nil {
		return nil, err
	}
	if tx.unasked() {
		return tx.tell()
	}
	var replies []mail.Reply
	sent := false
	err := tx.during(ctx, func() (err error) {
		sent = true
		if tx.prepared {
			tx.c.put("BDAT 0 LAST")
		} else if err = tx.pass(true); err != nil {
			return err
		}
		if replies, err = tx.replies(); err == nil {
			tx.c.dirty, tx.started = false, false
		}
		return err
	})
	var refused *ReplyError
	if err != nil && sent && tx.c.broken != nil && !errors.Is(tx.c.broken, errSmuggle) && !errors.As(tx.c.broken, &refused) {
		err = mail.AsReply(err).Because(fmt.Errorf("%w: %w", mail.ErrUnknownOutcome, tx.c.broken))
	}
	return replies, err
}

// ready says whether the content can be ended.
func (tx *linkTx) ready() error {
	switch {
	case tx.failure != nil:
		return tx.failure
	case tx.late:
		return errLateTrace
	case tx.accepted == 0:
		return mail.NewReply(554, mail.Enhanced{5, 5, 1}, "No valid recipients")
	case tx.plain != nil && !tx.plain.end():
		return tx.c.needsUTF8()
	}
	if tx.buf == nil {
		tx.buf = largeBuffers.Get().(*[largeOctets]byte)
	}
	return nil
}

// Abort gives the transaction up: by RSET before the next one, or, if content is under way, by closing.
func (tx *linkTx) Abort() error {
	if tx.c != nil {
		tx.leave()
	}
	return nil
}

func (tx *linkTx) leave() {
	c := tx.c
	tx.c = nil
	if tx.buf != nil {
		largeBuffers.Put(tx.buf)
		tx.buf = nil
	}
	if tx.out != nil {
		tx.out.free()
	}
	if tx.started && c.broken == nil {
		c.broken = ErrClosed
	}
	tx.l.give(c)
}
