package mailbox

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/store"
)

var _ imap.Metadata = (*view)(nil)

// serverBox stands for the server in annotation keys: no mailbox has that number.
const serverBox boxID = 0

// Entries returns the annotations of a mailbox, or of the server (RFC 5464). For the server each account has its own,
// private and shared: there is nobody to share them with. Of others' mailboxes there are only the shared ones.
func (v *view) Entries(ctx context.Context, mailbox string) (list []imap.MetadataEntry, err error) {
	g, name := v, ""
	if mailbox != "" {
		if g, name, err = v.at(ctx, mailbox); err != nil {
			return nil, err
		}
	}
	err = v.m.eng.View(ctx, func(r store.Reader) error {
		id := serverBox
		if mailbox != "" {
			var err error
			if id, _, err = g.boxByName(ctx, r, name, rightLookup|rightRead); err != nil { // section 3.3
				return err
			}
		}
		var ar arena
		prefix := ar.boxKey(kindMetadata, g.account.id, id)
		for kv, err := range r.Scan(ctx, prefix, after(prefix), false) {
			if err != nil {
				return err
			}
			entry := string(kv.Key[len(prefix):])
			if len(kv.Value) == 0 || g.guest != 0 && !strings.HasPrefix(entry, "/shared/") {
				continue
			}
			list = append(list, imap.MetadataEntry{Name: entry, Value: slices.Clone(kv.Value[1:])})
		}
		return nil
	})
	return list, toIMAP(err)
}

// maxEntryOctets is how long the name of an entry may be: it is part of a key.
const maxEntryOctets = 512

// SetEntries changes annotations, all or none.
func (v *view) SetEntries(ctx context.Context, mailbox string, entries []imap.MetadataEntry) error {
	l := &v.m.limits
	for _, e := range entries {
		switch {
		case !strings.HasPrefix(e.Name, "/private/") && !strings.HasPrefix(e.Name, "/shared/"):
			return no("", "Entry %q is neither private nor shared", e.Name)
		case len(e.Name) > maxEntryOctets:
			return no("LIMIT", "The name of an entry can have %d octets", maxEntryOctets)
		case len(e.Value) > l.MetadataOctets:
			return no("METADATA MAXSIZE "+strconv.Itoa(l.MetadataOctets), "The value of an entry can have %d octets", l.MetadataOctets)
		}
	}
	if mailbox == "" {
		return v.change(ctx, func(p *part, r store.Reader) error { return p.setEntries(ctx, r, serverBox, "", entries) })
	}
	g, name, err := v.at(ctx, mailbox)
	if err != nil {
		return err
	}
	if g.guest != 0 && slices.ContainsFunc(entries, func(e imap.MetadataEntry) bool { return !strings.HasPrefix(e.Name, "/shared/") }) {
		return no("METADATA NOPRIVATE", "Mailboxes of others have no private entries")
	}
	return g.change(ctx, func(p *part, r store.Reader) error {
		b, _, err := p.usable(ctx, r, g, name, rightLookup|rightRead|rightWrite)
		if err != nil {
			return err
		}
		return p.setEntries(ctx, r, b.id, name, entries)
	})
}

func (p *part) setEntries(ctx context.Context, r store.Reader, id boxID, mailbox string, entries []imap.MetadataEntry) error {
	c := p.c
	prefix := c.ar.boxKey(kindMetadata, p.id, id)
	have := 0
	for _, err := range r.Scan(ctx, prefix, after(prefix), false) {
		if err != nil {
			return err
		}
		have++
	}
	var changed []string
	for _, e := range entries {
		key := append(append(c.ar.take(len(prefix)+len(e.Name)), prefix...), e.Name...)
		old, err := p.get(ctx, r, key)
		if err != nil {
			return err
		}
		switch {
		case e.Value == nil && old == nil, e.Value != nil && old != nil && string(old[1:]) == string(e.Value):
			continue
		case e.Value == nil:
			p.delete(key)
			have--
		default:
			if old == nil {
				have++
			}
			p.put(key, append([]byte{rowVersion}, e.Value...))
		}
		changed = append(changed, e.Name)
	}
	if have > p.m.limits.MetadataEntries {
		return no("METADATA TOOMANY", "There can be %d entries", p.m.limits.MetadataEntries)
	}
	if len(changed) > 0 {
		p.notice(imap.Event{Kind: imap.EventMetadata, Mailbox: mailbox, Entries: changed})
		changed = slices.DeleteFunc(slices.Clone(changed), func(e string) bool { return !strings.HasPrefix(e, "/shared/") })
	}
	if len(changed) > 0 && id != serverBox {
		p.notices = append(p.notices, notice{Event: imap.Event{Kind: imap.EventMetadata, Mailbox: mailbox, Entries: changed}, box: id, notOwner: true})
	}
	return nil
}

var _ imap.URLKeys = (*view)(nil)

// URLKey returns the access key of a mailbox (RFC 4467): made of the key of the house and of what the row of the
// mailbox's key says, which never comes again.
func (v *view) URLKey(ctx context.Context, mailbox string, create bool) (key []byte, err error) {
	g, name, err := v.at(ctx, mailbox)
	if err == nil && g != v {
		err = errNotOwnURL
	}
	if err != nil {
		return nil, err
	}
	var id boxID
	var row []byte
	err = v.m.eng.View(ctx, func(r store.Reader) error {
		if id, _, err = v.boxByName(ctx, r, name, rightRead); err != nil {
			return err
		}
		var ar arena
		row, err = r.Get(ctx, ar.boxKey(kindURLKey, v.account.id, id))
		row = slices.Clone(row)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		return err
	})
	if err == nil && row == nil && create {
		err = v.change(ctx, func(p *part, r store.Reader) error {
			b, err := p.existing(ctx, r, name)
			if err != nil {
				return err
			}
			id = b.id
			k := p.c.ar.boxKey(kindURLKey, p.id, id)
			if row, err = p.get(ctx, r, k); err != nil || row != nil {
				return err
			}
			row = appendURLRow(nil, p.modseq())
			p.put(k, row)
			return nil
		})
	}
	if err != nil || row == nil {
		return nil, toIMAP(err)
	}
	sum := v.m.keyed('u', string(appendBoxKey(nil, kindURLKey, v.account.id, id))+string(row))
	return sum[:], nil
}

// errNotOwnURL: only the owner of a mailbox has its key: a URL gives access in his name.
var errNotOwnURL = no("NOPERM", "Only the owner of a mailbox can give out its messages")

func appendURLRow(b []byte, s modSeq) []byte {
	return appendString(append(b, rowVersion), strconv.FormatUint(s, 10))
}

// existing is named for a mailbox that must be there.
func (p *part) existing(ctx context.Context, r store.Reader, name string) (*box, error) {
	b, err := p.named(ctx, r, name)
	if err == nil && b == nil {
		err = no("NONEXISTENT", "Mailbox %q does not exist", name)
	}
	return b, err
}

// ResetURLKey replaces the key of a mailbox, or removes all of the account.
func (v *view) ResetURLKey(ctx context.Context, mailbox string) error {
	if mailbox == "" {
		err := v.change(ctx, func(p *part, r store.Reader) error { return dropURLKeys(ctx, p, r) })
		if err == nil {
			v.account.announceReset(0)
		}
		return err
	}
	g, name, err := v.at(ctx, mailbox)
	if err == nil && g != v {
		err = errNotOwnURL
	}
	if err != nil {
		return err
	}
	var id boxID
	err = v.change(ctx, func(p *part, r store.Reader) error {
		b, err := p.existing(ctx, r, name)
		if err == nil {
			id = b.id
			p.put(p.c.ar.boxKey(kindURLKey, p.id, b.id), appendURLRow(nil, p.modseq()))
		}
		return err
	})
	if err == nil {
		v.account.announceReset(id)
	}
	return err
}

// dropURLKeys removes the access keys of all mailboxes of an account.
func dropURLKeys(ctx context.Context, p *part, r store.Reader) error {
	prefix := p.c.ar.accountKey(kindURLKey, p.id)
	for k := range p.account.pend {
		if strings.HasPrefix(k, string(prefix)) {
			p.delete([]byte(k))
		}
	}
	for kv, err := range r.Scan(ctx, prefix, after(prefix), false) {
		if err != nil {
			return err
		}
		p.delete(p.c.ar.copyOf(kv.Key))
	}
	return nil
}

// Owner opens the account of another user, for a URL of his.
func (v *view) Owner(ctx context.Context, user string) (imap.Account, error) {
	return backend{m: v.m, quiet: v.quiet}.open(ctx, user, &imap.Error{Code: "NONEXISTENT", Text: "There is no such user"})
}
