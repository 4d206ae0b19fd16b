package imap

import (
	"context"
	"strings"
)

// notice is a set of events that a client asks to be told of (RFC 5465 section 5).
type notice uint8

const (
	noticeNew notice = 1 << iota
	noticeExpunge
	noticeFlags
	noticeName
	noticeSubscription
	noticeMetadata
	noticeServerMetadata

	noticeMessages = noticeNew | noticeExpunge | noticeFlags
)

// noticeNames in the order of the bits.
var noticeNames = [...]string{
	"MessageNew", "MessageExpunge", "FlagChange", "MailboxName", "SubscriptionChange", "MailboxMetadataChange", "ServerMetadataChange",
}

// notifyGroup is one event-group that is not about the selected mailbox.
type notifyGroup struct {
	filter mailboxFilter
	events notice
}

// notification is what NOTIFY SET asked for; with nothing in it, NOTIFY NONE.
type notification struct {
	selected selectedEvents
	groups   []notifyGroup
	status   bool
	watch    Watch // nil: only the selected mailbox is asked for
}

// selectedEvents is what a client wants to know of the selected mailbox.
type selectedEvents struct {
	messages  bool
	flags     bool
	immediate bool       // EXPUNGE may be told at any time (RFC 5465 section 6.1.1)
	plan      *fetchPlan // of new messages; nil: none
}

// selectedEvents: before the first NOTIFY all is told, while a command runs (RFC 5465 section 3.1).
func (c *conn) selectedEvents() selectedEvents {
	if c.notify == nil {
		return selectedEvents{messages: true, flags: true}
	}
	return c.notify.selected
}

func (c *conn) offersNotify() bool {
	_, ok := c.account.(Watcher)
	return ok && c.offers("NOTIFY")
}

// cmdNotify: RFC 5465 section 3.1.
func (c *conn) cmdNotify(ctx context.Context, p *parser) error {
	if !c.offersNotify() {
		return errNoExtension
	}
	n := &notification{}
	switch w := p.word(); w {
	case "NONE":
		if err := p.end(); err != nil {
			return err
		}
	case "SET":
		if err := c.notifySet(p, n); err != nil {
			return err
		}
	default:
		return bad("NOTIFY takes SET or NONE")
	}
	if len(n.groups) > 0 {
		var err error
		if n.watch, err = c.account.(Watcher).Watch(ctx); err != nil {
			return err
		}
	}
	c.endNotify()
	c.notify = n
	if err := c.tellAccess(ctx, n); err != nil {
		return err
	}
	if !n.status {
		return nil
	}
	return c.tellAllStatus(ctx, n)
}

// endNotify stops watching.
func (c *conn) endNotify() {
	if c.notify != nil && c.notify.watch != nil {
		if err := c.notify.watch.Close(); err != nil {
			c.srv.log().Warn("imap: ending NOTIFY failed", "session", c.sess.ID, "err", err)
		}
	}
	c.notify = nil
}

// notifySet reads what follows NOTIFY SET (RFC 5465 section 8).
func (c *conn) notifySet(p *parser, n *notification) error {
	if err := p.sp(); err != nil {
		return err
	}
	if n.status = p.acceptWord("STATUS"); n.status {
		if err := p.sp(); err != nil {
			return err
		}
	}
	r := notifyReader{parser: p, c: c, n: n}
	for i := 1; ; i++ {
		if i > c.limits.NotifyGroups { // section 3.1: too complex
			return no("NOTIFICATIONOVERFLOW", "too many groups of events")
		}
		if err := r.group(); err != nil {
			return err
		}
		if p.atEnd() {
			break
		}
		if err := p.sp(); err != nil {
			return err
		}
	}
	if r.unknown { // section 3.1
		return no("BADEVENT ("+strings.Join(c.noticesOffered(), " ")+")", "there is no such event here")
	}
	return nil
}

// noticesOffered lists the events that can be asked for. Those of metadata go with METADATA (RFC 5465 sections 5.6, 5.7).
func (c *conn) noticesOffered() []string {
	if _, ok := c.account.(Metadata); ok && c.offers("METADATA") {
		return noticeNames[:]
	}
	return noticeNames[:5]
}

// notifyReader reads event-groups.
type notifyReader struct {
	*parser
	c           *conn
	n           *notification
	hasSelected bool
	unknown     bool
}

func (r *notifyReader) group() error {
	if err := r.expect('('); err != nil {
		return err
	}
	start := r.i
	selected := false
	var g notifyGroup
	switch w := r.word(); w {
	case "SELECTED", "SELECTED-DELAYED":
		if r.hasSelected {
			return bad("SELECTED and SELECTED-DELAYED stand once (RFC 5465 section 6.1)")
		}
		selected, r.hasSelected = true, true
		r.n.selected.immediate = w == "SELECTED"
	case "SUBTREE-ONE": // is of RFC 7377 only
		return bad("there is no mailbox filter SUBTREE-ONE in NOTIFY")
	default:
		r.i = start
		var err error
		if g.filter, err = r.mailboxFilter(); err != nil {
			return err
		}
	}
	if err := r.sp(); err != nil {
		return err
	}
	plan, err := r.events(&g.events, selected)
	if err == nil {
		err = checkNotices(g.events, selected)
	}
	if err != nil {
		return err
	}
	if selected {
		r.n.selected.messages, r.n.selected.flags, r.n.selected.plan = g.events&noticeNew != 0, g.events&noticeFlags != 0, plan
		return nil
	}
	r.n.groups = append(r.n.groups, g)
	return nil
}

// checkNotices: RFC 5465 sections 5 and 6.1.
func checkNotices(ev notice, selected bool) error {
	switch {
	case selected && ev&^noticeMessages != 0:
		return bad("SELECTED goes with events of messages only")
	case ev&noticeNew != 0 != (ev&noticeExpunge != 0):
		return bad("MessageNew and MessageExpunge go together")
	case ev&noticeFlags != 0 && ev&noticeNew == 0:
		return bad("FlagChange needs MessageNew and MessageExpunge")
	}
	return nil
}

// events reads the events of a group to the end of the group. The examples of RFC 5465 leave the parentheses out that its
// grammar wants: both are taken.
func (r *notifyReader) events(ev *notice, selected bool) (plan *fetchPlan, err error) {
	if r.acceptWord("NONE") {
		return nil, r.expect(')')
	}
	paren := r.accept('(')
	for i := 1; ; i++ {
		raw, err := r.atom()
		if err != nil {
			return nil, err
		}
		is := noticeOf(string(raw), r.c.noticesOffered())
		*ev |= is
		r.unknown = r.unknown || is == 0
		if is == noticeNew && r.i+1 < len(r.b) && r.b[r.i] == ' ' && r.b[r.i+1] == '(' {
			r.i += 2
			if plan, err = r.c.fetchList(r.parser); err != nil {
				return nil, err
			}
			if !selected {
				return nil, bad("MessageNew takes fetch items with SELECTED only")
			}
		}
		if i > 100 {
			return nil, bad("more than 100 events in a group")
		}
		if r.accept(')') {
			break
		}
		if err := r.sp(); err != nil {
			return nil, err
		}
	}
	if paren {
		return plan, r.expect(')')
	}
	return plan, nil
}

// noticeOf finds an event by its name; 0: it is not offered.
func noticeOf(name string, offered []string) notice {
	for i, n := range offered {
		if strings.EqualFold(n, name) {
			return 1 << i
		}
	}
	return 0
}
