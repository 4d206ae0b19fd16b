package smtp

import (
	"context"
	"fmt"

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

// capable gives a transaction what the peer said in its answer to MAIL. The words go between chunks, so they need BDAT.
func capable(tx *linkTx, answer *mail.Reply) mail.Transaction {
	c := tx.c
	if !c.d.Trusted || !c.ext.Has("CHUNKING") {
		return tx
	}
	amends := c.ext.Has(wordAmend) && transactionCan(answer, wordAmend)
	prepares := c.ext.Has(wordPrepare) && transactionCan(answer, wordPrepare)
	switch {
	case amends && prepares:
		return bothTx{tx}
	case amends:
		return amendTx{tx}
	case prepares:
		return prepareTx{tx}
	}
	return tx
}

// amend notes what is to be said before the end of content.
func (tx *linkTx) amend(i int, folder string, drop bool) error {
	switch {
	case tx.c == nil:
		return ErrClosed
	case tx.prepared || i < 0 || i >= tx.accepted:
		return fmt.Errorf("smtp: there is no recipient %d to amend", i)
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
