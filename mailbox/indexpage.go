package mailbox

import (
	"context"
	"errors"
	"slices"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/store"
)

// indexPageEmails is how many emails the indexer reads at once.
const indexPageEmails = 64

// readTexts reads what is needed to go through the texts of the first emails of a list, as many as it returns: at least
// one, if there is one. An email that is not in its place any more has no summary.
func (m *Mailbox) readTexts(ctx context.Context, a accountID, list []emailPlace, p *page) (n int, err error) {
	for n = min(len(list), indexPageEmails); ; n = (n + 1) / 2 {
		err = m.eng.View(ctx, func(r store.Reader) error { return a.summaries(ctx, r, list[:n], p) })
		if !errors.Is(err, errPageFull) {
			return n, err
		}
	}
}

var errPageFull = errors.New("mailbox: too much for a page")

// summaries fills a page with the summaries of emails, in their order.
func (a accountID) summaries(ctx context.Context, r store.Reader, list []emailPlace, p *page) error {
	*p = page{buf: p.buf[:0], msgs: p.msgs[:0], ahead: ahead{window: p.ahead.window, buf: p.ahead.buf, bodies: p.ahead.bodies}}
	order := make([]int, len(list))
	for i := range list {
		order[i] = i
		p.msgs = append(p.msgs, pageRow{uid: list[i].UID})
	}
	slices.SortFunc(order, func(i, j int) int {
		x, y := &list[i], &list[j]
		if x.Box != y.Box {
			return int(int64(x.Box) - int64(y.Box))
		}
		return int(int64(x.UID) - int64(y.UID))
	})
	for len(order) > 0 {
		box, k := list[order[0]].Box, 0
		var set imap.UIDSet
		for k < len(order) && list[order[k]].Box == box {
			set.Add(imap.UID(list[order[k]].UID))
			k++
		}
		full := false
		at := 0
		err := a.rows(ctx, r, kindSummary, box, set, func(u uid, v []byte) bool {
			for list[order[at]].UID < u {
				at++
			}
			if full = len(p.buf)+len(v) > pageOctets && len(list) > 1; full {
				return false
			}
			p.msgs[order[at]].summary = p.add(v)
			return true
		})
		if err != nil {
			return err
		}
		if full {
			return errPageFull
		}
		order = order[k:]
	}
	return nil
}

// text opens a message of a page for a TextWalker.
func (m *Mailbox) text(p *page, i int) (*imap.Message, error) {
	sp := p.msgs[i].summary
	if sp == (span{}) {
		return nil, store.ErrNotFound
	}
	sum, err := decodeSummary(p.get(sp))
	if err != nil {
		return nil, err
	}
	sh, err := decodeShared(sum.Shared)
	if err != nil {
		return nil, err
	}
	parts, err := decodeParts(sh.parts, int64(len(sum.Prefix)))
	if err != nil {
		return nil, err
	}
	return &imap.Message{Parts: parts, Content: &content{m: m, prefix: sum.Prefix, hash: sum.Hash, body: sum.Body, page: p, index: i}}, nil
}
