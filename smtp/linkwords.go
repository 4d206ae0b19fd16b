package smtp

import (
	"context"
	"fmt"
	"slices"

	"github.com/samotop/samotop/mail"
)

// Transactions of a Link that can what the peer's can.
type (
	amendTx   struct{ *linkTx }
	prepareTx struct{ *linkTx }
	bothTx    struct{ *linkTx }
)

var (
	_ mail.Amender  = amendTx{}
	_ mail.Preparer = prepareTx{}
)

func (tx amendTx) Amend(i int, folder string, drop bool) error { return tx.amend(i, folder, drop) }
func (tx bothTx) Amend(i int, folder string, drop bool) error  { return tx.amend(i, folder, drop) }

func (tx prepareTx) Prepare(ctx context.Context) ([]mail.Reply, error) { return tx.prepare(ctx) }
func (tx bothTx) Prepare(ctx context.Context) ([]mail.Reply, error)    { return tx.prepare(ctx) }

// abilities are what the peer said in its answer to MAIL.
type abilities struct {
	known, amends, prepares bool
	words                   string // that said so
}

// learn reads that answer and keeps it for the next transaction. The words go between chunks, so they need BDAT.
func (l *Link) learn(c *Client, from *mail.Sender, answer *mail.Reply) abilities {
	if can := l.known(from); can.known && can.words == answer.Text {
		return can
	}
	can := abilities{known: true, words: answer.Text}
	if c.d.Trusted && c.ext.Has("CHUNKING") {
		can.amends = c.ext.Has(wordAmend) && transactionCan(answer, wordAmend)
		can.prepares = c.ext.Has(wordPrepare) && transactionCan(answer, wordPrepare)
	}
	if int(from.Body) < len(l.can) {
		l.mu.Lock()
		l.can[from.Body] = can
		l.mu.Unlock()
	}
	return can
}

// known returns what the peer said last for such content.
func (l *Link) known(from *mail.Sender) (can abilities) {
	if int(from.Body) < len(l.can) {
		l.mu.Lock()
		can = l.can[from.Body]
		l.mu.Unlock()
	}
	return can
}

// as gives a transaction the methods for what it can.
func (tx *linkTx) as(can abilities) mail.Transaction {
	switch {
	case can.amends && can.prepares:
		return bothTx{tx}
	case can.amends:
		return amendTx{tx}
	case can.prepares:
		return prepareTx{tx}
	}
	return tx
}

// errChanged: the transaction was begun in the belief that the peer can what it could before. It is put off, and the next one
// knows better.
var errChanged = mail.NewReply(451, mail.Enhanced{4, 3, 5}, "Next hop has changed, please try again")

// open sends MAIL and the first RCPT in one packet. No connection has heard of the transaction before, so if the one that was
// taken turns out to be closed, as it may after some time, another is tried.
func (tx *linkTx) open(ctx context.Context, r *mail.Recipient, line string) (*mail.Reply, error) {
	for again := false; ; again = true {
		if tx.session != nil {
			tx.told = slices.Clone(tx.session.Facts)
		}
		first, second, err := tx.c.mailFrom(ctx, tx.session, tx.first, line)
		switch {
		case err == nil && first.Positive():
			tx.can = tx.l.learn(tx.c, tx.first, first)
			tx.watch(tx.first)
			tx.first = nil
			if second == nil { // 421 between them
				return nil, unreachable(tx.c.broken)
			}
			return second, nil
		case err == nil && (first.Code != 421 || again):
			tx.refused = passOn(first)
			return nil, tx.refused
		case again || ctx.Err() != nil:
			tx.refused = unreachable(err)
			return nil, tx.refused
		}
		tx.c.Close()
		c, _, err := tx.l.take(ctx, true)
		if err != nil {
			tx.refused = unreachable(err)
			return nil, tx.refused
		}
		tx.c = c
		var refusal *mail.Reply
		if line, refusal = c.rcptLine(r); refusal != nil {
			return nil, refusal
		}
	}
}

// amend notes what is to be said before the end of content.
func (tx *linkTx) amend(i int, folder string, drop bool) error {
	switch {
	case tx.c == nil:
		return ErrClosed
	case tx.prepared || i < 0 || i >= tx.accepted:
		return fmt.Errorf("smtp: there is no recipient %d to amend", i)
	case !tx.can.amends:
		return errChanged
	}
	m := amendment{index: i, folder: folder, drop: drop}
	if _, refusal := oneLine(m.String()); refusal != nil {
		return refusal
	}
	tx.amends = append(tx.amends, m)
	return nil
}

// lastWords puts what comes after the content and before its end: trace fields that came late, and amendments. Their
// answers are due.
func (tx *linkTx) lastWords() {
	tx.putFacts()
	if tx.besides() && len(tx.fields) > 0 {
		tx.putTrace()
		tx.chunks++
	}
	for i := range tx.amends {
		tx.c.put(tx.amends[i].String())
		tx.chunks++
	}
	tx.amends = nil
}

// prepare sends all that is left but the end.
func (tx *linkTx) prepare(ctx context.Context) ([]mail.Reply, error) {
	if tx.c == nil {
		return nil, ErrClosed
	}
	if err := tx.ready(); err != nil {
		return nil, err
	}
	if !tx.can.prepares {
		return nil, errChanged
	}
	var replies []mail.Reply
	err := tx.during(ctx, func() (err error) {
		if err = tx.pass(false); err != nil {
			return err
		}
		tx.lastWords()
		tx.c.put(wordPrepare)
		if err = tx.due(); err != nil {
			return err
		}
		replies, err = tx.replies()
		return err
	})
	tx.failure, tx.prepared = err, true
	return replies, err
}
