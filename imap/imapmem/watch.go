package imapmem

import (
	"context"
	"crypto/rand"
	"slices"

	"github.com/samotop/samotop/imap"
)

var (
	_ imap.Watcher = (*account)(nil)
	_ imap.URLKeys = (*account)(nil)
	_ imap.Watch   = (*watch)(nil)
)

// maxEvents is how many events a watch keeps.
const maxEvents = 1000

// watch collects the events of an account for one session.
type watch struct {
	by     *account
	news   chan struct{}
	events []imap.Event
	lost   bool
}

func (a *account) Watch(context.Context) (imap.Watch, error) {
	defer a.lock()()
	w := &watch{by: a, news: make(chan struct{}, 1)}
	a.user.watches = append(a.user.watches, w)
	return w, nil
}

func (w *watch) Notify() <-chan struct{} { return w.news }

func (w *watch) Events(context.Context) ([]imap.Event, bool, error) {
	defer w.by.lock()()
	out, lost := w.events, w.lost
	w.events, w.lost = nil, false
	return out, lost, nil
}

func (w *watch) Close() error {
	defer w.by.lock()()
	w.by.user.watches = slices.DeleteFunc(w.by.user.watches, func(x *watch) bool { return x == w })
	return nil
}

// emit tells the watches of an event that an account caused; the lock is held.
func (u *user) emit(by *account, e imap.Event) {
	for _, w := range u.watches {
		messages := e.Kind <= imap.EventFlagChange
		switch {
		case !messages && w.by == by:
			continue
		case messages && slices.ContainsFunc(w.events, func(h imap.Event) bool { return h.Kind == e.Kind && h.Mailbox == e.Mailbox }):
			continue
		case len(w.events) >= maxEvents:
			w.lost = true
		default:
			w.events = append(w.events, e)
		}
		select {
		case w.news <- struct{}{}:
		default:
		}
	}
}

func (a *account) URLKey(_ context.Context, mailbox string, create bool) ([]byte, error) {
	defer a.lock()()
	b, err := a.box(mailbox)
	if err != nil {
		return nil, err
	}
	if b.urlKey == nil && create {
		b.urlKey = newKey()
	}
	return b.urlKey, nil
}

func (a *account) ResetURLKey(_ context.Context, mailbox string) error {
	defer a.lock()()
	if mailbox == "" {
		for _, b := range a.user.boxes {
			b.urlKey = nil
			b.newKeys()
		}
		return nil
	}
	b, err := a.box(mailbox)
	if err != nil {
		return err
	}
	b.urlKey = newKey()
	b.newKeys()
	return nil
}

// newKeys tells the sessions of a mailbox that its keys are others.
func (b *box) newKeys() {
	for v := range b.views {
		v.newKeys = true
	}
	b.notify()
}

func newKey() []byte {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails (crypto/rand)
	return key
}

func (a *account) Owner(_ context.Context, name string) (imap.Account, error) {
	a.backend.mu.Lock()
	defer a.backend.mu.Unlock()
	u := a.backend.users[name]
	if u == nil {
		return nil, &imap.Error{Code: "NONEXISTENT", Text: "there is no such user"}
	}
	return &account{user: u, backend: a.backend}, nil
}
