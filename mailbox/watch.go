package mailbox

import (
	"context"
	"slices"
	"sync"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/store"
)

var _ imap.Watcher = (*view)(nil)

// watch collects what happens in an account for one session (RFC 5465), and in those of others who share something with it.
type watch struct {
	v      *view
	signal chan struct{}

	mu     sync.Mutex
	events []watched
	lost   bool
	closed bool
	others map[accountID]followed
}

// watched is an event of which is known, or is still to be asked, whether the session may hear of it.
type watched struct {
	imap.Event
	account accountID
	box     boxID
	need    rights // that the session must have in the mailbox; 0: it may hear of it
}

// followed is an account of somebody else.
type followed struct {
	account *account
	prefix  string
}

// notice is an event in an account.
type notice struct {
	imap.Event
	box      boxID   // 0: others are not told
	acl      *aclRow // who may look it up; nil: as it is when they ask
	notOwner bool
	viewer   accountID // the only one to whom it is news; 0: all
}

// Watch begins to collect events.
func (v *view) Watch(ctx context.Context) (imap.Watch, error) {
	w := &watch{v: v, signal: make(chan struct{}, 1), others: map[accountID]followed{}}
	v.account.mu.Lock()
	v.account.watch(w)
	v.account.mu.Unlock()
	v.account.refs.Add(1)
	var shared []sharedBox
	err := v.m.eng.View(ctx, func(r store.Reader) (err error) { // not before: what is given from now on is told
		shared, err = v.sharedBoxes(ctx, r)
		return err
	})
	if err != nil {
		_ = w.Close() // never fails
		return nil, toIMAP(err)
	}
	for i := range shared {
		a := v.m.account(shared[i].owner)
		w.follow(a, othersPrefix+shared[i].acl.Owner+separator)
		v.m.release(a)
	}
	return w, nil
}

// watch needs the latch.
func (a *account) watch(w *watch) {
	if a.watches == nil {
		a.watches = map[*watch]struct{}{}
	}
	a.watches[w] = struct{}{}
}

func (a *account) unwatch(w *watch) {
	a.mu.Lock()
	delete(a.watches, w)
	a.mu.Unlock()
}

// follow begins to collect what happens in somebody else's account. No latch may be held.
func (w *watch) follow(a *account, prefix string) {
	w.mu.Lock()
	_, known := w.others[a.id]
	if known || w.closed {
		w.mu.Unlock()
		return
	}
	a.refs.Add(1)
	w.others[a.id] = followed{a, prefix}
	w.mu.Unlock()
	a.mu.Lock()
	a.watch(w)
	a.mu.Unlock()
	w.mu.Lock()
	closed := w.closed
	w.mu.Unlock()
	if closed {
		a.unwatch(w)
	}
}

func (w *watch) Notify() <-chan struct{} { return w.signal }

// Close ends the collecting.
func (w *watch) Close() error {
	w.mu.Lock()
	done := w.closed
	w.closed = true
	w.mu.Unlock()
	if done {
		return nil
	}
	w.v.account.unwatch(w)
	w.v.m.release(w.v.account)
	for _, o := range w.others { // which do not change any more
		o.account.unwatch(w)
		w.v.m.release(o.account)
	}
	return nil
}

// Events returns what happened since the last call. What happened in others' mailboxes is told to whoever may know it now.
func (w *watch) Events(ctx context.Context) ([]imap.Event, bool, error) {
	w.mu.Lock()
	list, lost := w.events, w.lost
	w.events, w.lost = nil, false
	w.mu.Unlock()
	if len(list) == 0 {
		return nil, lost, nil
	}
	out := make([]imap.Event, 0, len(list))
	if !slices.ContainsFunc(list, func(e watched) bool { return e.need != 0 }) {
		for i := range list {
			out = append(out, list[i].Event)
		}
		return out, lost, nil
	}
	err := w.v.m.eng.View(ctx, func(r store.Reader) error {
		for i := range list {
			e := &list[i]
			if e.need != 0 {
				acl, err := (&account{id: e.account}).aclOf(ctx, r, e.box)
				if err != nil {
					return err
				}
				if e.need&^acl.of(w.v.account.id) != 0 {
					continue
				}
			}
			out = append(out, e.Event)
		}
		return nil
	})
	return out, lost, toIMAP(err)
}

// add keeps an event; those of messages in a mailbox stand once each as long as nobody has taken them.
func (w *watch) add(e watched) {
	w.mu.Lock()
	defer w.mu.Unlock()
	same := func(o watched) bool { return o.Kind == e.Kind && o.Mailbox == e.Mailbox }
	switch {
	case e.Kind <= imap.EventFlagChange && slices.ContainsFunc(w.events, same):
	case w.lost || len(w.events) >= w.v.m.limits.WatchEvents:
		w.events, w.lost = nil, true
	default:
		w.events = append(w.events, e)
	}
	select {
	case w.signal <- struct{}{}:
	default:
	}
}

// hear takes what happened in an account. It needs the account's latch.
func (w *watch) hear(a *account, n *notice) {
	if n.viewer != 0 && n.viewer != w.v.account.id {
		return
	}
	if a == w.v.account {
		if !n.notOwner {
			w.add(watched{Event: n.Event})
		}
		return
	}
	if n.box == 0 {
		return
	}
	w.mu.Lock()
	prefix := w.others[a.id].prefix
	w.mu.Unlock()
	e := watched{Event: n.Event, account: a.id, box: n.box, need: rightLookup}
	switch {
	case n.Kind <= imap.EventFlagChange || n.Kind == imap.EventMetadata:
		e.need = rightLookup | rightRead
	case n.acl != nil:
		if n.acl.of(w.v.account.id)&rightLookup == 0 {
			return
		}
		e.need = 0
	}
	e.Mailbox = prefix + e.Mailbox
	if e.OldName != "" {
		e.OldName = prefix + e.OldName
	}
	w.add(e)
}

// notice notes an event for those who watch the account as their own.
func (p *part) notice(e imap.Event) {
	if len(p.account.watches) > 0 {
		p.notices = append(p.notices, notice{Event: e})
	}
}

// noticeShared notes what happens to a mailbox, for all who may look it up.
func (p *part) noticeShared(ctx context.Context, r store.Reader, e imap.Event, b *box) error {
	return p.noticeTo(ctx, r, notice{Event: e, box: b.id})
}

// noticeGuests notes it for others than the owner.
func (p *part) noticeGuests(ctx context.Context, r store.Reader, e imap.Event, b *box) error {
	return p.noticeTo(ctx, r, notice{Event: e, box: b.id, notOwner: true})
}

func (p *part) noticeTo(ctx context.Context, r store.Reader, n notice) error {
	if len(p.account.watches) == 0 {
		return nil
	}
	acl, err := p.acl(ctx, r, n.box)
	n.acl = &acl
	p.notices = append(p.notices, n)
	return err
}

// noticeBox notes what a commit does to the messages of a mailbox.
func (p *part) noticeBox(b *box) {
	if len(p.account.watches) == 0 {
		return
	}
	note := func(kind imap.EventKind) {
		p.notices = append(p.notices, notice{Event: imap.Event{Kind: kind, Mailbox: b.Name}, box: b.id})
	}
	if b.came {
		note(imap.EventMessageNew)
	}
	if len(b.log.Gone) > 0 || b.log.All > 0 {
		note(imap.EventMessageExpunge)
	}
	if len(b.log.Flags) > 0 {
		note(imap.EventFlagChange)
	} else if len(b.log.Own) > 0 {
		note(imap.EventFlagChange)
		p.notices[len(p.notices)-1].viewer = b.log.Viewer
	}
}

// tellWatches tells those who watch, once the commit is durable; whoever made it hears of new messages only. It needs
// the latch.
func (p *part) tellWatches() {
	if len(p.notices) == 0 {
		return
	}
	for w := range p.account.watches {
		for i := range p.notices {
			if n := &p.notices[i]; w.v != p.c.by || n.Kind == imap.EventMessageNew {
				w.hear(p.account, n)
			}
		}
	}
}
