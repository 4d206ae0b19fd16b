package mailbox

import (
	"context"
	"slices"
	"sync"

	"github.com/samotop/samotop/imap"
)

var _ imap.Watcher = (*view)(nil)

// watch collects what happens in an account for one session (RFC 5465).
type watch struct {
	v      *view
	signal chan struct{}

	mu     sync.Mutex
	events []imap.Event
	lost   bool
}

// Watch begins to collect events.
func (v *view) Watch(context.Context) (imap.Watch, error) {
	w := &watch{v: v, signal: make(chan struct{}, 1)}
	a := v.account
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.watches == nil {
		a.watches = map[*watch]struct{}{}
	}
	a.watches[w] = struct{}{}
	a.refs.Add(1)
	return w, nil
}

func (w *watch) Notify() <-chan struct{} { return w.signal }

// Close ends the collecting.
func (w *watch) Close() error {
	a := w.v.account
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.watches[w]; ok {
		delete(a.watches, w)
		a.refs.Add(-1)
	}
	return nil
}

// Events returns what happened since the last call.
func (w *watch) Events(context.Context) ([]imap.Event, bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	list, lost := w.events, w.lost
	w.events, w.lost = nil, false
	return list, lost, nil
}

// tell adds events; those of messages in a mailbox stand once each as long as nobody has taken them.
func (w *watch) tell(list []imap.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range list {
		if e.Kind <= imap.EventFlagChange && slices.ContainsFunc(w.events, func(o imap.Event) bool { return o.Kind == e.Kind && o.Mailbox == e.Mailbox }) {
			continue
		}
		if w.lost || len(w.events) >= w.v.m.limits.WatchEvents {
			w.events, w.lost = nil, true
			break
		}
		w.events = append(w.events, e)
	}
	select {
	case w.signal <- struct{}{}:
	default:
	}
}

// notice notes an event for those who watch the account.
func (p *part) notice(e imap.Event) {
	if len(p.account.watches) > 0 {
		p.notices = append(p.notices, e)
	}
}

// noticeBox notes what a commit does to the messages of a mailbox.
func (p *part) noticeBox(b *box) {
	if len(p.account.watches) == 0 {
		return
	}
	if b.came {
		p.notice(imap.Event{Kind: imap.EventMessageNew, Mailbox: b.Name})
	}
	if len(b.log.Gone) > 0 || b.log.All > 0 {
		p.notice(imap.Event{Kind: imap.EventMessageExpunge, Mailbox: b.Name})
	}
	if len(b.log.Flags) > 0 {
		p.notice(imap.Event{Kind: imap.EventFlagChange, Mailbox: b.Name})
	}
}

// tellWatches tells those who watch, once the commit is durable; whoever made it hears of new messages only. It needs
// the latch.
func (p *part) tellWatches() {
	if len(p.notices) == 0 {
		return
	}
	for w := range p.account.watches {
		list := p.notices
		if w.v == p.c.by {
			list = slices.DeleteFunc(slices.Clone(list), func(e imap.Event) bool { return e.Kind != imap.EventMessageNew })
		}
		if len(list) > 0 {
			w.tell(list)
		}
	}
}
