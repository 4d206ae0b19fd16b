package delivery

import (
	"context"
	"io"

	"github.com/samotop/samotop/mail"
)

// finisher does the whole of a commit with what was spooled.
type finisher func(ctx context.Context, from mail.Sender, to []mail.Recipient, content io.Reader) ([]mail.Reply, error)

// spooled is a transaction that keeps everything in a file until Commit.
type spooled struct {
	*spool
	from   mail.Sender
	to     []mail.Recipient
	finish finisher
	done   bool
}

func newSpooled(from mail.Sender, dir string, f finisher) (mail.Transaction, error) {
	sp, err := newSpool(dir)
	if err != nil {
		return nil, failed("begin", err)
	}
	return &spooled{spool: sp, from: from, finish: f}, nil
}

func (tx *spooled) Recipient(_ context.Context, r *mail.Recipient) error {
	if r.Failed != nil {
		return r.Failed
	}
	tx.to = append(tx.to, *r)
	return nil
}

func (tx *spooled) Commit(ctx context.Context) ([]mail.Reply, error) {
	if tx.done {
		return nil, errEnded
	}
	defer tx.Abort() //nolint:errcheck // the message is where it belongs; what is left is a file too many
	if len(tx.to) == 0 {
		return nil, mail.NewReply(554, mail.Enhanced{5, 5, 1}, "No valid recipients")
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := tx.spool.finish(); err != nil {
		return nil, failed("spool", err)
	}
	return tx.finish(ctx, tx.from, tx.to, tx.spool.f)
}

func (tx *spooled) Abort() error {
	if tx.done {
		return nil
	}
	tx.done = true
	return tx.spool.remove()
}
