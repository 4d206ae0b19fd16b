package smtp

import (
	"context"
	"strings"
	"time"

	"github.com/samotop/samotop/mail"
)

// What mail.Settler is between trusted peers. A client that understands it says so, and the answer to each RCPT begins with the
// word while the transaction is settled:
//
//	MAIL FROM:<...> XSETTLED
//	RCPT TO:<...>
//	251 2.1.5 XSETTLED <path>[;folder=NAME][;note=TEXT]...
//
// If the last of them had it, the client need not send the content: BDAT 0 LAST tells that the message goes on. It need not
// wait for the answers to that either: they are read before those to what the connection carries next.

const wordSettled = "XSETTLED"

// settled is what stands in front of the answer to RCPT.
func (ses *session) settled() string {
	if !ses.settles {
		return ""
	}
	if s, ok := ses.tx.(mail.Settler); !ok || !s.Settled() {
		return ""
	}
	return wordSettled + " "
}

// heard reads it, and takes it away.
func (tx *linkTx) heard(r *mail.Reply) {
	r.Text, tx.settled = cutSettled(r.Text)
}

func cutSettled(text string) (string, bool) { return strings.CutPrefix(text, wordSettled+" ") }

// Settled is of mail.Settler.
func (tx *linkTx) Settled() bool { return tx.settled && tx.accepted > 0 }

// unasked reports whether the end of the message can be told without waiting for answers.
func (tx *linkTx) unasked() bool {
	return tx.Settled() && tx.n == 0 && !tx.started && !tx.prepared && len(tx.amends) == 0 && tx.c.ext.Has("CHUNKING")
}

// tell ends a settled transaction. Its answers are owed.
func (tx *linkTx) tell(ctx context.Context) ([]mail.Reply, error) {
	err := tx.during(ctx, func() error {
		c := tx.c
		tx.lastWords()
		c.put("BDAT 0 LAST")
		c.w.writeTimeout = or(c.d.BlockTimeout, 3*time.Minute)
		c.owed += tx.chunks + 1
		if c.d.LMTP {
			c.owed += tx.accepted - 1
		}
		tx.chunks, c.dirty = 0, false
		return c.w.flush()
	})
	if err != nil {
		return nil, err
	}
	replies := make([]mail.Reply, tx.accepted)
	for i := range replies {
		replies[i] = mail.OK()
	}
	return replies, nil
}
