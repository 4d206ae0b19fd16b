package mailbox

import (
	"context"
	"errors"
	"strings"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store"
)

var _ imap.ACLs = (*view)(nil)

// ACL returns who may do what with a mailbox: its owner first.
func (v *view) ACL(ctx context.Context, mailbox string) ([]imap.ACLEntry, error) {
	g, name, err := v.at(ctx, mailbox)
	if err != nil {
		return nil, err
	}
	var row aclRow
	err = v.m.eng.View(ctx, func(r store.Reader) error {
		id, _, err := g.boxByName(ctx, r, name, rightAdmin)
		if err == nil {
			row, err = g.account.aclOf(ctx, r, id)
		}
		return err
	})
	if err != nil {
		return nil, toIMAP(err)
	}
	list := make([]imap.ACLEntry, 0, len(row.Entries)+1)
	list = append(list, imap.ACLEntry{Identifier: g.address.String(), Rights: rights(rightsAll).String()})
	for i := range row.Entries {
		list = append(list, imap.ACLEntry{Identifier: row.Entries[i].identifier(), Rights: row.Entries[i].Rights.String()})
	}
	return list, nil
}

// MyRights returns what the session may do with a mailbox (RFC 4314 section 3.5: any right but s, w, t, e will do).
func (v *view) MyRights(ctx context.Context, mailbox string) (string, error) {
	g, name, err := v.at(ctx, mailbox)
	if err != nil {
		return "", err
	}
	var have rights
	err = v.m.eng.View(ctx, func(r store.Reader) error {
		id, _, err := g.boxByName(ctx, r, name, 0)
		if err == nil {
			have, err = g.rightsIn(ctx, r, id)
		}
		return err
	})
	if err == nil && have&(rightLookup|rightRead|rightInsert|rightCreate|rightDeleteBox|rightAdmin) == 0 {
		err = g.absent(name)
	}
	return have.String(), toIMAP(err)
}

// ListRights returns what an identifier can be given: each right alone, and all of them to the owner, who has them anyway.
func (v *view) ListRights(ctx context.Context, mailbox, identifier string) (always string, may []string, err error) {
	g, name, err := v.at(ctx, mailbox)
	if err != nil {
		return "", nil, err
	}
	err = v.m.eng.View(ctx, func(r store.Reader) error {
		_, _, err := g.boxByName(ctx, r, name, rightAdmin)
		return err
	})
	if err != nil {
		return "", nil, toIMAP(err)
	}
	e, err := g.identify(ctx, identifier)
	if err != nil {
		return "", nil, err
	}
	if e.Grantee == g.account.id && !e.Negative {
		return rightLetters, nil, nil
	}
	return "", strings.Split(rightLetters, ""), nil
}

// identify finds out whom an identifier means: an account by one of its addresses, or anyone; with "-" before it, whom
// something is taken from. An address without a domain is one of the owner's domain.
func (v *view) identify(ctx context.Context, identifier string) (e aclEntry, err error) {
	name, negative := strings.CutPrefix(identifier, "-")
	e = aclEntry{Negative: negative, Name: name}
	switch {
	case name == "":
		return e, &imap.Error{Bad: true, Text: "The identifier is empty"}
	case strings.EqualFold(name, anyoneName):
		e.Name = anyoneName
		return e, nil
	case !strings.Contains(name, "@"):
		name += "@" + v.address.Domain
	}
	addr, err := mail.ParseAddress(name)
	if err != nil {
		return e, no("", "%q is neither an address nor \"anyone\"", clip(identifier))
	}
	o, err := v.m.dir.Lookup(ctx, addr)
	var refusal *mail.Reply
	switch {
	case errors.Is(err, ErrNoOwner), errors.As(err, &refusal) && refusal.Code >= 500, err == nil && o.ID == 0:
		return e, no("", "There is no account %q", clip(name))
	case err != nil:
		return e, toIMAP(err)
	}
	e.Grantee, e.Name = accountID(o.ID), o.Address
	return e, nil
}

// clip shortens what a client said, to be said back.
func clip(s string) string {
	if len(s) > 100 {
		return s[:100] + "..."
	}
	return s
}

// SetACL changes the rights of an identifier: replaces, adds to or takes from what it has. Whoever has none left is taken
// off the list.
func (v *view) SetACL(ctx context.Context, mailbox, identifier string, mode imap.StoreMode, letters string) error {
	change, err := parseRights(letters)
	if err != nil {
		return err
	}
	g, name, err := v.at(ctx, mailbox)
	if err != nil {
		return err
	}
	err = v.m.eng.View(ctx, func(r store.Reader) error { // before anything is told of who there is
		_, _, err := g.boxByName(ctx, r, name, rightAdmin)
		return err
	})
	if err != nil {
		return toIMAP(err)
	}
	who, err := g.identify(ctx, identifier)
	if err != nil {
		return err
	}
	if who.Grantee == g.account.id {
		if !who.Negative && (mode == imap.StoreAdd || mode == imap.StoreReplace && change == rightsAll) {
			return nil
		}
		return no("CANNOT", "The owner of a mailbox has all rights, always")
	}
	o, err := g.owner(ctx)
	if err != nil {
		return toIMAP(err)
	}
	if strings.Contains(o.Address, separator) {
		return no("CANNOT", "The address %s cannot stand in the name of a mailbox", o.Address)
	}
	return g.change(ctx, func(p *part, r store.Reader) error {
		b, _, err := p.usable(ctx, r, g, name, rightAdmin)
		if err != nil {
			return err
		}
		row, err := p.acl(ctx, r, b.id)
		if err != nil {
			return err
		}
		next, err := row.changed(who, mode, change, p.m.limits.ACLEntries)
		if err != nil {
			return err
		}
		next.Owner = o.Address
		p.c.batch.Deletes = mode == imap.StoreRemove || change == 0
		return p.setACL(ctx, r, b, next)
	})
}

// changed returns the list with other rights of one identifier.
func (r *aclRow) changed(who aclEntry, mode imap.StoreMode, change rights, limit int) (aclRow, error) {
	next := aclRow{Owner: r.Owner, Entries: append([]aclEntry(nil), r.Entries...)}
	at, there := next.find(who.Grantee, who.Negative)
	have := rights(0)
	if there {
		have = next.Entries[at].Rights
	}
	switch mode {
	case imap.StoreAdd:
		have |= change
	case imap.StoreRemove:
		have &^= change
	default:
		have = change
	}
	who.Rights = have
	switch {
	case there && have == 0:
		next.Entries = append(next.Entries[:at], next.Entries[at+1:]...)
	case there:
		next.Entries[at] = who
	case have == 0:
	case len(next.Entries) >= limit:
		return next, no("LIMIT", "The list has %d identifiers, which is the limit", len(next.Entries))
	default:
		next.Entries = append(next.Entries, aclEntry{})
		copy(next.Entries[at+1:], next.Entries[at:])
		next.Entries[at] = who
	}
	return next, nil
}
