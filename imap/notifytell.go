package imap

import (
	"context"
	"slices"
	"strings"
)

// notified tells what a client asked for by NOTIFY and what can be told now; inIdle says that EXPUNGE may be.
func (c *conn) notified(ctx context.Context, inIdle bool) error {
	if c.sel != nil {
		if err := c.sync(ctx, inIdle || c.selectedEvents().immediate); err != nil {
			return err
		}
	}
	return c.tellEvents(ctx)
}

// told is what is to be said of one mailbox.
type told struct {
	name   string
	events notice
}

// tellEvents tells what happened in mailboxes that are not selected.
func (c *conn) tellEvents(ctx context.Context) error {
	n := c.notify
	if n == nil || n.watch == nil {
		return nil
	}
	events, lost, err := n.watch.Events(ctx)
	if err != nil {
		return err
	}
	if lost { // RFC 5465 section 5.8: as if NOTIFY NONE had come
		c.endNotify()
		c.notify = &notification{}
		c.say("* OK [NOTIFICATIONOVERFLOW] more happened than could be told: ask again")
		return nil
	}
	if len(events) == 0 {
		return nil
	}
	f := &folderFinder{c: c}
	var changed []told
	for i := range events {
		e := &events[i]
		ev := e.Kind.notice()
		if e.Mailbox == "" && e.Kind == EventMetadata {
			ev = noticeServerMetadata
		}
		if ok, err := c.asked(ctx, f, e, ev); err != nil {
			return err
		} else if !ok {
			continue
		}
		switch e.Kind {
		case EventMessageNew, EventMessageExpunge, EventFlagChange:
			at := slices.IndexFunc(changed, func(t told) bool { return t.name == e.Mailbox })
			if at < 0 {
				at, changed = len(changed), append(changed, told{name: e.Mailbox})
			}
			changed[at].events |= ev
		case EventMetadata:
			c.tellEntries(e)
		default:
			if err := c.tellName(ctx, f, e); err != nil {
				return err
			}
		}
	}
	for _, t := range changed {
		c.tellChanged(ctx, t)
	}
	return c.spill()
}

// notice is what a client asks for to be told of such an event.
func (k EventKind) notice() notice {
	switch k {
	case EventMessageNew:
		return noticeNew
	case EventMessageExpunge:
		return noticeExpunge
	case EventFlagChange:
		return noticeFlags
	case EventSubscription:
		return noticeSubscription
	case EventMetadata:
		return noticeMetadata
	}
	return noticeName
}

// asked reports whether the client wants to know of an event. What happens to messages of the selected mailbox is told
// there, or not at all (RFC 5465 section 3.1).
func (c *conn) asked(ctx context.Context, f *folderFinder, e *Event, ev notice) (bool, error) {
	if ev&noticeMessages != 0 && c.sel != nil && c.sel.name == e.Mailbox {
		return false, nil
	}
	for i := range c.notify.groups {
		g := &c.notify.groups[i]
		if g.events&ev == 0 {
			continue
		}
		if ev == noticeServerMetadata {
			return true, nil
		}
		b := Folder{Name: e.Mailbox}
		if g.filter.kind == "SUBSCRIBED" {
			if e.Kind == EventSubscription { // leaving the list is news as well
				return true, nil
			}
			have, err := f.find(ctx, e.Mailbox)
			if err != nil {
				return false, err
			}
			b = have.Folder
		}
		if c.filterTakes(&g.filter, &b) || e.OldName != "" && c.filterTakes(&g.filter, &Folder{Name: e.OldName}) {
			return true, nil
		}
	}
	return false, nil
}

// folderFinder looks mailboxes up in the list, which it asks for once.
type folderFinder struct {
	c    *conn
	tree *tree
}

// find gives a mailbox with all its attributes; one that is not there does not exist.
func (f *folderFinder) find(ctx context.Context, name string) (node, error) {
	if f.tree == nil {
		folders, err := f.c.account.List(ctx)
		if err != nil {
			return node{}, err
		}
		f.tree = newTree(folders)
	}
	if at, ok := f.tree.index[name]; ok {
		return f.tree.nodes[at], nil
	}
	return node{Folder: Folder{Name: name, NonExistent: true}}, nil
}

// tellName says LIST of a mailbox that came, went, got another name or was subscribed, and of the one above it that has
// children now or has not (RFC 5465 sections 5.4 and 5.5).
func (c *conn) tellName(ctx context.Context, f *folderFinder, e *Event) error {
	n, err := f.find(ctx, e.Mailbox)
	if err != nil {
		return err
	}
	o := &listOptions{extended: true, retSub: true}
	if n.oldName = e.OldName; e.Kind == EventRenamed && e.Mailbox == "INBOX" {
		n.oldName = ""
	}
	c.tellFolder("LIST", &n, o)
	if up := parent(e.Mailbox); up != "" && (e.Kind == EventCreated || e.Kind == EventDeleted) {
		if n, err = f.find(ctx, up); err != nil {
			return err
		}
		c.tellFolder("LIST", &n, o)
	}
	return nil
}

// tellEntries says METADATA with the names of entries (RFC 5464 section 4.4.2).
func (c *conn) tellEntries(e *Event) {
	c.begin()
	c.out = append(c.out, "* METADATA "...)
	c.name(e.Mailbox)
	for _, name := range e.Entries {
		c.out = appendAString(append(c.out, ' '), []byte(name))
	}
	c.say()
}

// statusOf is what STATUS has to tell of events (RFC 5465 sections 3.1 and 5.1 to 5.3). UNSEEN goes with flags, so that
// there is something to tell where CONDSTORE is not enabled.
func (c *conn) statusOf(ev notice, first bool) statusItem {
	var items statusItem
	if ev&(noticeNew|noticeExpunge) != 0 {
		items |= statusMessages | statusUIDNext
		if first {
			items |= statusUIDValidity
		}
		if c.mode&modeCondstore != 0 {
			items |= statusModSeq
		}
	}
	if ev&noticeFlags != 0 {
		items |= statusUIDValidity
		if !first {
			items |= statusUnseen
		}
		if first && c.offers("CONDSTORE") || c.mode&modeCondstore != 0 {
			items |= statusModSeq
		}
	}
	return items
}

// tellChanged says STATUS of a mailbox in which something happened. One that may not be read, or has gone, is left out.
func (c *conn) tellChanged(ctx context.Context, t told) {
	if st, err := c.account.Status(ctx, t.name); err == nil {
		c.tellStatus(t.name, c.statusOf(t.events, false), &st)
	}
}

// tellAllStatus answers NOTIFY SET STATUS (RFC 5465 section 3.1).
func (c *conn) tellAllStatus(ctx context.Context, n *notification) error {
	folders, err := c.account.List(ctx)
	if err != nil {
		return err
	}
	for i := range folders {
		b := &folders[i]
		if b.NonExistent || b.NoSelect || c.sel != nil && c.sel.name == b.Name {
			continue
		}
		var ev notice
		for k := range n.groups {
			if c.filterTakes(&n.groups[k].filter, b) {
				ev |= n.groups[k].events & noticeMessages
			}
		}
		if ev == 0 {
			continue
		}
		if st, err := c.account.Status(ctx, b.Name); err == nil {
			c.tellStatus(b.Name, c.statusOf(ev, true), &st)
		}
		if err := c.spill(); err != nil {
			return err
		}
	}
	return nil
}

// tellAccess says LIST with \NoAccess of mailboxes that are asked for, can be listed and may not be read (RFC 5465
// section 3.1). The own ones can always be.
func (c *conn) tellAccess(ctx context.Context, n *notification) error {
	a, ok := c.account.(ACLs)
	others, shared := c.namespaces()
	if !ok || others == "" && shared == "" || len(n.groups) == 0 {
		return nil
	}
	f := &folderFinder{c: c}
	if _, err := f.find(ctx, ""); err != nil {
		return err
	}
	for i := range f.tree.nodes {
		b := f.tree.nodes[i]
		if b.NonExistent || b.NoSelect || c.isPersonal(b.Name) ||
			!slices.ContainsFunc(n.groups, func(g notifyGroup) bool { return g.events != 0 && c.filterTakes(&g.filter, &b.Folder) }) {
			continue
		}
		if rights, err := a.MyRights(ctx, b.Name); err == nil && !strings.Contains(rights, "r") {
			b.noAccess = true
			c.tellFolder("LIST", &b, &listOptions{extended: true, retSub: true})
		}
	}
	return c.spill()
}
