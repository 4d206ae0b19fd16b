package qm

import (
	"context"
	"strings"

	"github.com/samotop/samotop/mail"
)

// via is the address that a recipient was sent on from, so far as it is known: what stands for him here, or what the
// sender wrote to at first (ORCPT).
func (r *recipientRow) via() mail.Address {
	if r.rcpt.Address != r.target.Address {
		return r.rcpt.Address
	}
	kind, text, _ := strings.Cut(r.rcpt.Original, ";")
	if !strings.EqualFold(kind, "rfc822") && !strings.EqualFold(kind, "utf-8") {
		return mail.Address{}
	}
	a, err := mail.ParseAddress(text)
	if err != nil {
		return mail.Address{}
	}
	return a
}

// reversePath is what MAIL says. What we do not send in our own name leaves under a path of ours, by which reports come
// back to us, and from here to the sender.
func (q *QM) reversePath(ctx context.Context, es []*entry) (mail.Address, error) {
	m := es[0].msg
	if q.cfg.ReversePath == nil || m.row.sender.Address.IsNull() {
		return m.row.sender.Address, nil
	}
	return q.cfg.ReversePath(ctx, m.row.sender.Address, es[0].row.via())
}
