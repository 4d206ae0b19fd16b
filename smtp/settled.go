package smtp

import (
	"context"
	"slices"
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
// If the last of them had it, the client need not send the content: BDAT 0 LAST tells that the message goes on. A Link does not
// wait for the answers to that, nor does it send it at once: it goes with what the connection carries next, or after
// tellTime, and its answers are read before the next.

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

// tellTime is how long what need not be known at once waits for company.
const tellTime = 50 * time.Millisecond

// tell ends a settled transaction. Its answers are owed.
func (tx *linkTx) tell() ([]mail.Reply, error) {
	c := tx.c
	if c.broken != nil {
		return nil, unreachable(c.broken)
	}
	tx.lastWords()
	c.put("BDAT 0 LAST")
	c.owed += tx.chunks + 1
	if c.d.LMTP {
		c.owed += tx.accepted - 1
	}
	tx.chunks, c.dirty = 0, false
	replies := make([]mail.Reply, tx.accepted)
	for i := range replies {
		replies[i] = mail.OK()
	}
	return replies, nil
}

// unsent sees to it that what waits in an idle connection goes out; l.mu is held.
func (l *Link) unsent(c *Client) {
	if len(c.w.out) > 0 && !l.sweeping {
		l.sweeping = true
		time.AfterFunc(tellTime, l.sweep)
	}
}

// sweep sends what waits in idle connections.
func (l *Link) sweep() {
	var full []*Client
	l.mu.Lock()
	l.sweeping = false
	l.idle = slices.DeleteFunc(l.idle, func(c *Client) bool {
		if len(c.w.out) == 0 {
			return false
		}
		full = append(full, c)
		return true
	})
	l.mu.Unlock()
	for _, c := range full {
		ctx, cancel := context.WithTimeout(context.Background(), sweepTimeout)
		used, done := c.used, c.begin(ctx)
		c.w.writeTimeout = sweepTimeout
		if err := done(c.w.flush()); err != nil {
			c.broken = err
		}
		cancel()
		c.used = used
		l.mu.Lock()
		keep := c.broken == nil && !l.closed
		if keep {
			at, _ := slices.BinarySearchFunc(l.idle, c, func(a, b *Client) int { return a.used.Compare(b.used) })
			l.idle = slices.Insert(l.idle, at, c)
		}
		l.mu.Unlock()
		if !keep {
			c.Close()
		}
	}
}

const sweepTimeout = 5 * time.Second
