package mailbox

import (
	"context"
	"strings"

	"golang.org/x/text/unicode/norm"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/store"
)

// subscribable returns a name as a subscription keeps it: a name of somebody else's mailbox is one too, whether or not there
// is such a mailbox, which is not told.
func (m *Mailbox) subscribable(name string) (string, error) {
	rest, foreign := strings.CutPrefix(norm.NFC.String(name), othersPrefix)
	owner, local, ok := strings.Cut(rest, separator)
	if !foreign || !ok {
		return m.canonical(name)
	}
	if _, err := m.canonical(owner); err != nil {
		return "", err
	}
	local, err := m.canonical(local)
	return othersPrefix + owner + separator + local, err
}

// Subscribe adds or removes a name; it need not exist (RFC 3501 section 6.3.6).
func (v *view) Subscribe(ctx context.Context, name string, on bool) error {
	name, err := v.m.subscribable(strings.TrimSuffix(name, separator))
	if err != nil {
		return err
	}
	return v.change(ctx, func(p *part, r store.Reader) error {
		c := p.c
		key := c.ar.nameKey(kindSub, p.id, name)
		row, err := p.get(ctx, r, key)
		if err != nil || on == (row != nil) {
			return err
		}
		p.notice(imap.Event{Kind: imap.EventSubscription, Mailbox: name})
		if !on {
			p.delete(key)
			return nil
		}
		n := 0
		prefix := c.ar.accountKey(kindSub, p.id)
		for _, err := range r.Scan(ctx, prefix, after(prefix), false) {
			if err != nil {
				return err
			}
			n++
		}
		if n >= p.m.limits.Subscriptions {
			return no("LIMIT", "There are %d subscriptions, which is the limit", n)
		}
		p.put(key, []byte{rowVersion})
		return nil
	})
}
