package middleware

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/samotop/samotop/mail"
)

// Target is one Door of a FanOut.
type Target struct {
	Name     string // for the log
	Door     mail.Door
	Prepares bool // its transactions are mail.Preparers
}

// FanOut gives every message to several Doors at once: a mailbox and a journal, say. All of them agree or none takes it:
//
//   - A recipient is accepted if every target accepts him.
//   - After the content all targets prepare. If one refuses a recipient now, nobody gets the message: that recipient
//     has the target's answer, and the others have the one on which the answers agree (mail.Agree).
//   - Then they commit. One target at most may be unable to prepare; it commits as the last one whose answer is open,
//     when all others have prepared and before their final step, so that its refusal still stops everything.
//
// If the final step of a target that has prepared fails, which only I/O can do, the recipients get that answer although
// others have the message.
type FanOut struct {
	targets []Target // the one that cannot prepare first
}

// NewFanOut refuses to be built without targets, and with two that cannot prepare.
func NewFanOut(targets ...Target) (*FanOut, error) {
	f := &FanOut{}
	unable := ""
	for i, t := range targets {
		name := t.Name
		if name == "" {
			name = fmt.Sprint(i + 1)
		}
		t.Name = name
		if _, err := mail.Chain(t.Door); err != nil {
			return nil, fmt.Errorf("middleware: fan-out: target %s: %w", name, err)
		}
		switch {
		case t.Prepares:
			f.targets = append(f.targets, t)
		case unable != "":
			return nil, fmt.Errorf("middleware: fan-out: targets %s and %s cannot both be unable to prepare", unable, name)
		default:
			unable = name
			f.targets = append([]Target{t}, f.targets...)
		}
	}
	if len(targets) == 0 {
		return nil, errors.New("middleware: fan-out has no target")
	}
	return f, nil
}

// Open asks every target; one that refuses, refuses for all.
func (f *FanOut) Open(ctx context.Context, s *mail.Session) (mail.Receiver, error) {
	r := &fanReceiver{f: f, next: make([]mail.Receiver, len(f.targets))}
	for i, t := range f.targets {
		next, err := t.Door.Open(ctx, s)
		if err != nil {
			return nil, errors.Join(err, r.Close())
		}
		r.next[i] = next
	}
	return r, nil
}

type fanReceiver struct {
	f    *FanOut
	next []mail.Receiver
}

func (r *fanReceiver) Close() error {
	var err error
	for _, n := range r.next {
		if c, ok := n.(io.Closer); ok {
			err = errors.Join(err, c.Close())
		}
	}
	return err
}

func (r *fanReceiver) Begin(ctx context.Context, s *mail.Session, from mail.Sender) (mail.Transaction, error) {
	tx := &fanTx{r: r, s: s, from: from, part: make([]mail.Transaction, len(r.next))}
	for i := range r.next {
		if err := tx.begin(ctx, i); err != nil {
			_ = tx.Abort()
			return nil, err
		}
	}
	return tx, nil
}

type fanTx struct {
	r    *fanReceiver
	s    *mail.Session
	from mail.Sender
	part []mail.Transaction
	to   []mail.Recipient // accepted by all
	done bool
}

func (tx *fanTx) begin(ctx context.Context, i int) error {
	if tx.r.next[i] == nil {
		return fmt.Errorf("middleware: fan-out: target %s has no receiver", tx.r.f.targets[i].Name)
	}
	part, err := tx.r.next[i].Begin(ctx, tx.s, tx.from)
	if err != nil {
		return err
	}
	if _, ok := part.(mail.Preparer); !ok && tx.r.f.targets[i].Prepares {
		_ = part.Abort()
		return fmt.Errorf("middleware: fan-out: target %s does not prepare as it should", tx.r.f.targets[i].Name)
	}
	tx.part[i] = part
	return nil
}

// Recipient asks all targets. Those that had accepted before one refused begin anew, with the recipients so far.
func (tx *fanTx) Recipient(ctx context.Context, r *mail.Recipient) error {
	asked := *r
	for i, p := range tx.part {
		one := asked
		err := p.Recipient(ctx, &one)
		if err == nil {
			if r.Targets == nil {
				r.Targets = one.Targets
			}
			continue
		}
		if rerr := tx.replay(ctx, i); rerr != nil {
			return rerr
		}
		return err
	}
	tx.to = append(tx.to, asked)
	return nil
}

func (tx *fanTx) replay(ctx context.Context, before int) error {
	for i := range before {
		if err := tx.part[i].Abort(); err != nil {
			return err
		}
		if err := tx.begin(ctx, i); err != nil {
			return err
		}
		for _, r := range tx.to {
			if err := tx.part[i].Recipient(ctx, &r); err != nil {
				return fmt.Errorf("middleware: fan-out: target %s changed its mind: %w", tx.r.f.targets[i].Name, err)
			}
		}
	}
	return nil
}

func (tx *fanTx) Trace(fields ...mail.Field) {
	for _, p := range tx.part {
		p.Trace(fields...)
	}
}

func (tx *fanTx) Write(b []byte) (int, error) {
	for _, p := range tx.part {
		if n, err := p.Write(b); err != nil {
			return n, err
		}
	}
	return len(b), nil
}

// first is the first target that prepares: 1 if there is one that cannot.
func (tx *fanTx) first() int {
	if tx.r.f.targets[0].Prepares {
		return 0
	}
	return 1
}

// agree prepares those that can and returns nil if everybody took everybody.
func (tx *fanTx) agree(ctx context.Context) ([]mail.Reply, error) {
	for i := tx.first(); i < len(tx.part); i++ {
		replies, err := tx.part[i].(mail.Preparer).Prepare(ctx)
		if err != nil {
			return nil, err
		}
		if bad := refused(replies, len(tx.to)); bad != nil {
			return bad, nil
		}
	}
	return nil, nil
}

// refused gives everybody's answers if one is a refusal, else nil.
func refused(replies []mail.Reply, n int) []mail.Reply {
	var no []mail.Reply
	for len(replies) < n {
		replies = append(replies, mail.Reply{Code: 451, Enhanced: mail.Enhanced{4, 3, 0}, Text: "No answer for this recipient"})
	}
	for _, r := range replies[:n] {
		if !r.Positive() {
			no = append(no, r)
		}
	}
	if no == nil {
		return nil
	}
	common := mail.Agree(no)
	all := make([]mail.Reply, n)
	for i := range all {
		if all[i] = replies[i]; all[i].Positive() {
			all[i] = common
		}
	}
	return all
}

// Commit is described at FanOut.
func (tx *fanTx) Commit(ctx context.Context) ([]mail.Reply, error) {
	defer tx.Abort() //nolint:errcheck // those that committed are not concerned
	if bad, err := tx.agree(ctx); err != nil || bad != nil {
		return bad, err
	}
	var answer []mail.Reply
	for _, p := range tx.part {
		replies, err := p.Commit(ctx)
		if err != nil {
			return nil, err
		}
		if bad := refused(replies, len(tx.to)); bad != nil {
			return bad, nil
		}
		if answer == nil {
			answer = replies
		}
	}
	tx.done = true
	return answer, nil
}

func (tx *fanTx) Abort() error {
	if tx.done {
		return nil
	}
	tx.done = true
	var err error
	for _, p := range tx.part {
		if p != nil {
			err = errors.Join(err, p.Abort())
		}
	}
	return err
}
