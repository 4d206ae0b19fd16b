package mailbox

import (
	"context"
	"encoding/binary"
	"errors"
	"strings"

	"golang.org/x/text/unicode/norm"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store"
)

// othersLevel is the name under which everybody sees the mailboxes that others share with him: by the owner's address,
// then by their own names (RFC 2342).
const (
	othersLevel  = "Other Users"
	othersPrefix = othersLevel + separator
)

var _ imap.Namespaces = (*view)(nil)

// Namespaces returns where the mailboxes of others are.
func (v *view) Namespaces() (others, shared string) { return othersPrefix, "" }

// at finds out whose mailbox a name stands for. It returns the session's view of that account, and the name there, as it
// is kept. For whoever has nothing of an owner, that owner does not exist.
func (v *view) at(ctx context.Context, name string) (*view, string, error) {
	rest, foreign := strings.CutPrefix(norm.NFC.String(name), othersPrefix)
	if !foreign {
		name, err := v.m.canonical(name)
		return v, name, err
	}
	owner, local, ok := strings.Cut(rest, separator)
	if !ok {
		return nil, "", v.absent(name)
	}
	local, err := v.m.canonical(local)
	if err != nil {
		return nil, "", err
	}
	g, err := v.visit(ctx, owner)
	if err == nil && g == nil {
		err = v.absent(name)
	}
	return g, local, err
}

// visit returns the session's view of somebody else's account, nil if he has given it nothing. Only the name by which LIST
// shows the owner will do.
func (v *view) visit(ctx context.Context, owner string) (*view, error) {
	addr, err := mail.ParseAddress(owner)
	if err != nil {
		return nil, nil
	}
	o, err := v.m.dir.Lookup(ctx, addr)
	var refusal *mail.Reply
	switch {
	case errors.Is(err, ErrNoOwner), errors.As(err, &refusal) && refusal.Code >= 500:
		return nil, nil
	case err != nil:
		return nil, toIMAP(err)
	case o.ID == 0 || accountID(o.ID) == v.account.id || o.Address != owner:
		return nil, nil
	}
	if g := v.guests[accountID(o.ID)]; g != nil {
		return g, nil
	}
	some, err := v.has(ctx, accountID(o.ID))
	if err != nil || !some {
		return nil, toIMAP(err)
	}
	g := &view{m: v.m, root: v, quiet: v.quiet, address: addr, account: v.m.account(accountID(o.ID)), guest: v.account.id,
		prefix: othersPrefix + owner + separator}
	if v.guests == nil {
		v.guests = map[accountID]*view{}
	}
	v.guests[g.account.id] = g
	return g, nil
}

// has tells whether an owner has given the session anything.
func (v *view) has(ctx context.Context, owner accountID) (some bool, err error) {
	err = v.m.eng.View(ctx, func(r store.Reader) error {
		for _, who := range [...]accountID{v.account.id, anyone} {
			lo := binary.BigEndian.AppendUint64(appendAccountKey(nil, kindGrant, who), uint64(owner))
			for _, err := range r.Scan(ctx, lo, after(lo), false) {
				some = err == nil
				return err
			}
		}
		return nil
	})
	return some, err
}

// grantKey is j V A M.
func (ar *arena) grantKey(who, owner accountID, m boxID) []byte {
	k := binary.BigEndian.AppendUint64(appendAccountKey(ar.take(21), kindGrant, who), uint64(owner))
	return binary.BigEndian.AppendUint32(k, uint32(m))
}

// sharedBox is a mailbox that the session may use although it is another's.
type sharedBox struct {
	owner accountID
	id    boxID
	row   boxRow
	acl   aclRow
	have  rights
}

// sharedBoxes reads what others share with the session.
func (v *view) sharedBoxes(ctx context.Context, r store.Reader) (list []sharedBox, err error) {
	seen := map[logKeyOf]bool{}
	for _, who := range [...]accountID{v.account.id, anyone} {
		lo := appendAccountKey(nil, kindGrant, who)
		for kv, err := range r.Scan(ctx, lo, after(lo), false) {
			if err != nil {
				return nil, err
			}
			at := logKeyOf{accountID(binary.BigEndian.Uint64(kv.Key[9:])), boxID(lastUint32(kv.Key))}
			if at.account != v.account.id && !seen[at] {
				seen[at] = true
				list = append(list, sharedBox{owner: at.account, id: at.box})
			}
		}
	}
	out := list[:0]
	var ar arena
	for _, b := range list {
		rows, err := r.GetMulti(ctx, [][]byte{ar.boxKey(kindBox, b.owner, b.id), ar.boxKey(kindACL, b.owner, b.id)})
		if err != nil {
			return nil, err
		}
		if rows[0] == nil || rows[1] == nil {
			continue
		}
		if b.row, err = decodeBox(rows[0]); err == nil {
			b.acl, err = decodeACL(rows[1])
		}
		if err != nil {
			return nil, err
		}
		if b.have = b.acl.of(v.account.id); b.have != 0 {
			out = append(out, b)
		}
	}
	return out, nil
}

// ownersThere leaves out the mailboxes of owners who are gone, or are called differently now.
func (v *view) ownersThere(ctx context.Context, list []sharedBox) ([]sharedBox, error) {
	known := map[string]accountID{}
	out := list[:0]
	for _, b := range list {
		id, ok := known[b.acl.Owner]
		if !ok {
			addr, err := mail.ParseAddress(b.acl.Owner)
			if err != nil {
				continue
			}
			o, err := v.m.dir.Lookup(ctx, addr)
			var refusal *mail.Reply
			if err != nil && !errors.Is(err, ErrNoOwner) && !(errors.As(err, &refusal) && refusal.Code >= 500) {
				return nil, err
			}
			if err == nil {
				id = accountID(o.ID)
			}
			known[b.acl.Owner] = id
		}
		if id == b.owner {
			out = append(out, b)
		}
	}
	return out, nil
}

// setACL writes the list of a mailbox and keeps the index of what is whose, with what else is of those who lose all.
func (p *part) setACL(ctx context.Context, r store.Reader, b *box, next aclRow) error {
	old, err := p.acl(ctx, r, b.id)
	if err != nil {
		return err
	}
	c := p.c
	key := c.ar.boxKey(kindACL, p.id, b.id)
	if len(next.Entries) == 0 {
		p.delete(key)
	} else {
		p.put(key, next.appendTo(nil))
	}
	was, is := old.named(), next.named()
	for _, who := range was {
		if !hasGrantee(is, who) {
			c.batch.Ops = append(c.batch.Ops, store.Delete(c.ar.grantKey(who, p.id, b.id)))
		}
	}
	for _, who := range is {
		if !hasGrantee(was, who) {
			c.put(c.ar.grantKey(who, p.id, b.id), []byte{rowVersion})
		}
	}
	p.dropOwn(b.id, old.grantees(), next.grantees())
	p.touch(b) // sessions that have it selected look at their rights
	c.grants = append(c.grants, grant{account: p.account, box: b.id, name: b.Name, before: old, after: next})
	return nil
}

func hasGrantee(list []accountID, who accountID) bool {
	for _, a := range list {
		if a == who {
			return true
		}
	}
	return false
}

// inherit gives a new mailbox the list of the nearest one above it (RFC 4314 section 4).
func (p *part) inherit(ctx context.Context, r store.Reader, b *box) error {
	up, err := p.above(ctx, r, b.Name)
	if err != nil || up == nil {
		return err
	}
	row, err := p.acl(ctx, r, up.id)
	if err != nil || len(row.Entries) == 0 {
		return err
	}
	return p.setACL(ctx, r, b, row)
}

// passACL gives the list of a mailbox to another that takes its place. The old one is its owner's alone from then on.
func (p *part) passACL(ctx context.Context, r store.Reader, old, fresh *box) error {
	row, err := p.acl(ctx, r, old.id)
	if err != nil || len(row.Entries) == 0 {
		return err
	}
	told := len(p.c.grants)
	if err := p.setACL(ctx, r, old, aclRow{Owner: row.Owner}); err != nil {
		return err
	}
	if err := p.setACL(ctx, r, fresh, row); err != nil {
		return err
	}
	p.c.grants = p.c.grants[:told] // for others nothing has changed
	return nil
}

// above finds the nearest mailbox above a name, nil if there is none.
func (p *part) above(ctx context.Context, r store.Reader, name string) (*box, error) {
	for i := strings.LastIndex(name, separator); i > 0; i = strings.LastIndex(name[:i], separator) {
		b, err := p.named(ctx, r, name[:i])
		if err != nil || b != nil {
			return b, err
		}
	}
	return nil, nil
}

// mayMake tells whether a session may make a mailbox of that name.
func (p *part) mayMake(ctx context.Context, r store.Reader, v *view, name string) error {
	if v.guest == 0 {
		return nil
	}
	up, err := p.above(ctx, r, name)
	if err != nil {
		return err
	}
	if up != nil {
		have, err := p.may(ctx, r, v, up.id)
		if err != nil || have&rightCreate != 0 {
			return err
		}
	}
	return errMayNotMake
}

// errMayNotMake says nothing of what is there.
var errMayNotMake = no("NOPERM", "You may not make a mailbox there")

// grant is a change of a list, told to those whom it lets in or shuts out.
type grant struct {
	account       *account
	box           boxID
	name          string
	before, after aclRow
}

// tellGrants tells the sessions that watch what they may see now, and what not any more (RFC 5465 section 5.4).
func (m *Mailbox) tellGrants(list []grant) {
	for i := range list {
		g := &list[i]
		for _, a := range m.concerned(g) {
			m.tellGrant(g, a)
		}
	}
}

// concerned are the accounts in memory that a change of a list may be news to.
func (m *Mailbox) concerned(g *grant) (out []*account) {
	who := append(g.before.named(), g.after.named()...)
	all := hasGrantee(who, anyone)
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, a := range m.accounts {
		if id != g.account.id && (all || hasGrantee(who, id)) {
			a.refs.Add(1)
			out = append(out, a)
		}
	}
	return out
}

func (m *Mailbox) tellGrant(g *grant, a *account) {
	defer m.release(a)
	was, is := g.before.of(a.id), g.after.of(a.id)
	a.mu.Lock()
	var watches []*watch
	for w := range a.watches {
		if w.v.account == a {
			watches = append(watches, w)
		}
	}
	a.mu.Unlock()
	owner := g.after.Owner
	if owner == "" {
		owner = g.before.Owner
	}
	for _, w := range watches {
		if is != 0 {
			w.follow(g.account, othersPrefix+owner+separator)
		}
		kind := imap.EventCreated
		switch {
		case (was^is)&rightLookup == 0:
			continue
		case is&rightLookup == 0:
			kind = imap.EventDeleted
		}
		w.add(watched{Event: imap.Event{Kind: kind, Mailbox: othersPrefix + owner + separator + g.name}})
	}
}
