package mailbox

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/store"
)

var errNoInbox = errors.New("mailbox: account without INBOX")

// List returns all mailboxes, those of others that may be looked up, the parents that are only names, and the subscribed
// names that do not exist.
func (v *view) List(ctx context.Context) ([]imap.Folder, error) {
	folders := map[string]*imap.Folder{}
	var subscribed []string
	var shared []sharedBox
	err := v.m.eng.View(ctx, func(r store.Reader) (err error) {
		var ar arena
		prefix := ar.accountKey(kindBox, v.account.id)
		for kv, err := range r.Scan(ctx, prefix, after(prefix), false) {
			if err != nil {
				return err
			}
			row, err := decodeBox(kv.Value)
			if err != nil {
				return err
			}
			folders[row.Name] = &imap.Folder{Name: row.Name, ID: boxName(v.account.id, row.Object), Use: usesOf(row.Use)}
		}
		prefix = ar.accountKey(kindSub, v.account.id)
		for kv, err := range r.Scan(ctx, prefix, after(prefix), false) {
			if err != nil {
				return err
			}
			subscribed = append(subscribed, string(kv.Key[len(prefix):]))
		}
		shared, err = v.sharedBoxes(ctx, r)
		return err
	})
	if err == nil && len(shared) > 0 {
		shared, err = v.ownersThere(ctx, shared)
	}
	if err != nil {
		return nil, toIMAP(err)
	}
	for i := range shared {
		// What another uses it for is not told: a client would take it for one's own \Sent.
		if b := &shared[i]; b.have&rightLookup != 0 {
			name := othersPrefix + b.acl.Owner + separator + b.row.Name
			folders[name] = &imap.Folder{Name: name, ID: boxName(b.owner, b.row.Object)}
		}
	}
	for _, name := range subscribed {
		if folders[name] == nil {
			folders[name] = &imap.Folder{Name: name, NonExistent: true, NoSelect: true}
		}
		folders[name].Subscribed = true
	}
	addParents(folders)
	list := make([]imap.Folder, 0, len(folders))
	for _, f := range folders {
		list = append(list, *f)
	}
	slices.SortFunc(list, func(a, b imap.Folder) int { return cmp.Compare(a.Name, b.Name) })
	return list, nil
}

// addParents adds the levels above existing mailboxes that are not mailboxes themselves (RFC 3501 section 6.3.4).
func addParents(folders map[string]*imap.Folder) {
	var parents []string
	for name, f := range folders {
		if f.NonExistent {
			continue
		}
		for i := strings.LastIndex(name, separator); i > 0; i = strings.LastIndex(name[:i], separator) {
			parents = append(parents, name[:i])
		}
	}
	for _, name := range parents {
		if folders[name] == nil {
			folders[name] = &imap.Folder{Name: name, NonExistent: true, NoSelect: true}
		}
	}
}

// Status reads the counters of a mailbox. What is unseen of another's mailbox is counted in its sets of UIDs.
func (v *view) Status(ctx context.Context, name string) (st imap.Status, err error) {
	g, name, err := v.at(ctx, name)
	if err != nil {
		return st, err
	}
	a := g.account
	err = v.m.eng.View(ctx, func(r store.Reader) error {
		id, row, err := g.boxByName(ctx, r, name, rightRead)
		if err != nil {
			return err
		}
		st = statusOf(a.id, &row)
		if g.guest != 0 {
			n, err := g.countUnseen(ctx, r, id)
			st.Unseen = uint32(n)
			return err
		}
		a.mu.Lock()
		from := a.recentFrom(id, &row)
		a.mu.Unlock()
		n, err := v.countFrom(ctx, r, id, from, row.UIDNext)
		st.Recent = uint32(n)
		return err
	})
	return st, toIMAP(err)
}

func statusOf(a accountID, row *boxRow) imap.Status {
	return imap.Status{
		ID: boxName(a, row.Object), UIDValidity: row.UIDValidity, UIDNext: imap.UID(row.UIDNext), Messages: row.Messages,
		Unseen: row.Unseen, Deleted: row.Deleted, Size: row.Octets, DeletedSize: row.DeletedSize, HighestModSeq: imap.ModSeq(row.S),
	}
}

// countFrom counts the messages of a mailbox from a UID on.
func (v *view) countFrom(ctx context.Context, r store.Reader, id boxID, from, next uid) (n int, err error) {
	if from >= next {
		return 0, nil
	}
	var set imap.UIDSet
	err = v.chunks(ctx, r, id, from, func(no uint32, c *chunk) bool {
		c.All.addTo(&set, no, from)
		return true
	})
	return set.Len(), err
}

// chunks reads the chunk rows of a mailbox in order, from that of a UID on.
func (v *view) chunks(ctx context.Context, r store.Reader, id boxID, from uid, fn func(no uint32, c *chunk) bool) error {
	var ar arena
	lo := ar.msgKey(kindChunk, v.account.id, id, chunkOf(from))
	hi := after(ar.boxKey(kindChunk, v.account.id, id))
	var c chunk
	for kv, err := range r.Scan(ctx, lo, hi, false) {
		if err != nil {
			return err
		}
		if err := decodeChunk(kv.Value, &c); err != nil {
			return err
		}
		if v.guest != 0 {
			if err := v.overlayUnseen(ctx, r, id, lastUint32(kv.Key), &c); err != nil {
				return err
			}
		}
		if !fn(lastUint32(kv.Key), &c) {
			return nil
		}
	}
	return nil
}

// Create makes a mailbox. A separator at the end of the name is taken off: any mailbox can have children here. One below
// another begins with the same access control list.
func (v *view) Create(ctx context.Context, name string, use []imap.SpecialUse) (id string, err error) {
	g, name, err := v.at(ctx, strings.TrimSuffix(name, separator))
	if hasCode(err, "NONEXISTENT") {
		err = errMayNotMake
	}
	if err != nil {
		return "", err
	}
	bits := uint16(0)
	for _, u := range use {
		bit := useBit(u)
		if bit == 0 || g.guest != 0 { // RFC 6154 section 3
			return "", no("USEATTR", "Special use %s is not known here", u)
		}
		bits |= bit
	}
	err = g.change(ctx, func(p *part, r store.Reader) error {
		if err := p.mayMake(ctx, r, g, name); err != nil {
			return err
		}
		b, err := p.create(ctx, r, name, bits)
		if g.guest != 0 && hasCode(err, "ALREADYEXISTS") {
			return p.hidden(ctx, r, g, name, err)
		}
		if err == nil {
			err = p.inherit(ctx, r, b)
		}
		if err == nil {
			err = p.noticeShared(ctx, r, imap.Event{Kind: imap.EventCreated, Mailbox: name}, b)
			id = boxName(p.id, b.Object)
		}
		return err
	})
	return id, err
}

// hidden is err, but for whoever may not know that there is such a mailbox.
func (p *part) hidden(ctx context.Context, r store.Reader, v *view, name string, err error) error {
	b, e := p.named(ctx, r, name)
	if e != nil || b == nil {
		return firstError(e, err)
	}
	have, e := p.may(ctx, r, v, b.id)
	if e == nil && have&rightLookup == 0 {
		return errMayNotMake
	}
	return firstError(e, err)
}

func (p *part) create(ctx context.Context, r store.Reader, name string, use uint16) (*box, error) {
	old, err := p.find(ctx, r, name)
	switch {
	case err != nil:
		return nil, err
	case old != 0:
		return nil, no("ALREADYEXISTS", "Mailbox %q exists already", name)
	case int(p.row.Boxes) >= p.m.limits.Mailboxes:
		return nil, no("LIMIT", "There are %d mailboxes, which is the limit", p.row.Boxes)
	}
	if use != 0 {
		all, err := p.everyBox(ctx, r)
		if err != nil {
			return nil, err
		}
		for _, b := range all {
			if b.Use&use != 0 { // RFC 6154 section 3: one mailbox for each use here
				return nil, no("USEATTR", "Mailbox %q has this use already", b.Name)
			}
		}
	}
	b := p.newBox(name, use)
	p.addName(b)
	return b, nil
}

// Delete removes a mailbox, at once for everybody; its messages are taken away in the background. Its children stay,
// and its subscription does (RFC 3501 section 6.3.4).
func (v *view) Delete(ctx context.Context, name string) error {
	g, name, err := v.at(ctx, name)
	if err != nil {
		return err
	}
	if name == inbox {
		if g.guest != 0 {
			return g.absent(name)
		}
		return no("CANNOT", "INBOX cannot be deleted")
	}
	err = g.change(ctx, func(p *part, r store.Reader) error {
		b, err := p.named(ctx, r, name)
		if err != nil {
			return err
		}
		if b == nil && g.guest != 0 {
			return g.absent(name)
		}
		if b == nil {
			return p.nonexistent(ctx, r, name)
		}
		have, err := p.may(ctx, r, g, b.id)
		if err == nil {
			err = g.lacks(have, rightDeleteBox, name)
		}
		if err != nil {
			return err
		}
		if p.c.observes() {
			p.event(FolderDeleted, b, nil)
		}
		if err := p.noticeShared(ctx, r, imap.Event{Kind: imap.EventDeleted, Mailbox: b.Name}, b); err != nil {
			return err
		}
		return p.dropBox(ctx, r, b)
	})
	if err == nil {
		v.m.wakeSweeper()
	}
	return err
}

// nonexistent is the answer for a name that is not a mailbox, but may be the parent of some.
func (p *part) nonexistent(ctx context.Context, r store.Reader, name string) error {
	all, err := p.everyBox(ctx, r)
	if err != nil {
		return err
	}
	for _, b := range all {
		if strings.HasPrefix(b.Name, name+separator) {
			return no("HASCHILDREN", "%q is only the parent of other mailboxes", name)
		}
	}
	return no("NONEXISTENT", "Mailbox %q does not exist", name)
}

// dropBox removes a mailbox and leaves a mark for the sweeper.
func (p *part) dropBox(ctx context.Context, r store.Reader, b *box) error {
	c := p.c
	acl, err := p.acl(ctx, r, b.id)
	if err != nil {
		return err
	}
	if len(acl.Entries) > 0 { // RFC 4314 section 4: the list goes with it
		if err := p.setACL(ctx, r, b, aclRow{Owner: acl.Owner}); err != nil {
			return err
		}
		c.grants = c.grants[:len(c.grants)-1] // told as a deletion
	}
	p.touch(b)
	b.gone = true
	p.row.Boxes--
	p.row.Octets -= b.Octets
	p.row.Messages -= int64(b.Messages)
	p.dropName(b.Name)
	c.batch.Ops = append(c.batch.Ops, store.Delete(c.ar.boxKey(kindBox, p.id, b.id)))
	c.put(c.ar.boxKey(kindDoomed, p.id, b.id), nil)
	c.batch.Deletes = true
	return nil
}

// Rename moves a mailbox and its children to another name, within one account.
func (v *view) Rename(ctx context.Context, from, to string) error {
	g, from, err := v.at(ctx, from)
	if err != nil {
		return err
	}
	h, to, err := v.at(ctx, strings.TrimSuffix(to, separator))
	if hasCode(err, "NONEXISTENT") {
		err = errMayNotMake
	}
	if err != nil {
		return err
	}
	if g != h {
		return no("CANNOT", "A mailbox cannot be moved to another account; its messages can")
	}
	if g.guest != 0 && from == inbox {
		return no("NOPERM", "Only the owner can rename INBOX")
	}
	return g.change(ctx, func(p *part, r store.Reader) error {
		if from == inbox {
			p.notice(imap.Event{Kind: imap.EventCreated, Mailbox: to}) // RFC 5465 section 5.4: INBOX stays
			return p.renameInbox(ctx, r, to)
		}
		if err := p.mayMake(ctx, r, g, to); err != nil {
			return err
		}
		p.notice(imap.Event{Kind: imap.EventRenamed, Mailbox: to, OldName: from})
		return p.rename(ctx, r, g, from, to)
	})
}

// mayMove tells whether a session may rename mailboxes: all that move along, too.
func (p *part) mayMove(ctx context.Context, r store.Reader, v *view, from string, move []*box) error {
	for _, b := range move {
		have, err := p.may(ctx, r, v, b.id)
		if err == nil {
			err = v.lacks(have, rightDeleteBox, from)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *part) rename(ctx context.Context, r store.Reader, v *view, from, to string) error {
	all, err := p.everyBox(ctx, r)
	if err != nil {
		return err
	}
	if to == from || strings.HasPrefix(to, from+separator) {
		return no("CANNOT", "A mailbox cannot be moved into itself")
	}
	var move []*box
	taken := map[string]bool{}
	for _, b := range all {
		if b.Name == from || strings.HasPrefix(b.Name, from+separator) {
			move = append(move, b)
		} else {
			taken[b.Name] = true
		}
	}
	if len(move) == 0 {
		return v.absent(from)
	}
	if err := p.mayMove(ctx, r, v, from, move); err != nil {
		return err
	}
	if taken[to] {
		return p.hidden(ctx, r, v, to, no("ALREADYEXISTS", "Mailbox %q exists already", to))
	}
	for _, head := range move {
		name, err := p.m.canonical(to + head.Name[len(from):])
		if err != nil {
			return err
		}
		if taken[name] {
			return p.hidden(ctx, r, v, name, no("ALREADYEXISTS", "Mailbox %q exists already", name))
		}
		b, err := p.box(ctx, r, head.id)
		if err != nil {
			return err
		}
		p.touch(b)
		p.dropName(b.Name)
		before := *b
		b.Name = name
		p.addName(b)
		if err := p.noticeGuests(ctx, r, imap.Event{Kind: imap.EventRenamed, Mailbox: name, OldName: before.Name}, b); err != nil {
			return err
		}
		if p.c.observes() {
			p.event(FolderRenamed, &before, b)
		}
	}
	return nil
}

// renameInbox moves the messages of INBOX to a new mailbox (RFC 3501 section 6.3.5). No message is touched: the
// mailbox takes the new name, a new UIDVALIDITY and a new id, and an empty one stands in its place that goes on with
// the numbers and the id of INBOX, where everything below its UIDNEXT is now expunged. Children stay where they are.
func (p *part) renameInbox(ctx context.Context, r store.Reader, to string) error {
	old, err := p.named(ctx, r, inbox)
	if err != nil {
		return err
	}
	if old == nil {
		return errNoInbox
	}
	if err := p.mayTake(old); err != nil {
		return err
	}
	taken, err := p.find(ctx, r, to)
	switch {
	case err != nil:
		return err
	case taken != 0:
		return no("ALREADYEXISTS", "Mailbox %q exists already", to)
	case int(p.row.Boxes) >= p.m.limits.Mailboxes:
		return no("LIMIT", "There are %d mailboxes, which is the limit", p.row.Boxes)
	}
	words, err := p.words(ctx, r, old)
	if err != nil {
		return err
	}
	p.touch(old)
	before := *old
	fresh := p.newBox(inbox, old.Use)
	validity, object, created := fresh.UIDValidity, fresh.Object, fresh.Created
	fresh.UIDValidity, fresh.Object, fresh.Created = old.UIDValidity, old.Object, old.Created
	fresh.UIDNext, fresh.RecentFrom = old.UIDNext, old.UIDNext
	fresh.tail, fresh.tailNo = &chunk{}, chunkOf(fresh.UIDNext)
	fresh.keywords, fresh.known = words, true
	fresh.log.All = old.UIDNext
	old.UIDValidity, old.Object, old.Created, old.Use = validity, object, created, 0
	old.Name = to
	if len(words) > 0 {
		p.put(p.c.ar.boxKey(kindKeywords, p.id, fresh.id), appendKeywords(nil, words))
	}
	p.addName(fresh)
	p.addName(old)
	if err := p.passACL(ctx, r, old, fresh); err != nil {
		return err
	}
	if p.c.observes() {
		p.event(FolderRenamed, &before, old)
	}
	return nil
}

// recentFrom is the first UID that no session has taken as \Recent. It needs the latch.
func (a *account) recentFrom(id boxID, row *boxRow) uid {
	return max(row.RecentFrom, a.recents[id])
}
