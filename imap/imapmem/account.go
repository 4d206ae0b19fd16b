package imapmem

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/mail"
)

// Backend keeps the accounts.
type Backend struct {
	mu    sync.Mutex
	users map[string]*user
}

var _ imap.Backend = (*Backend)(nil)

// New makes an empty Backend.
func New() *Backend { return &Backend{users: map[string]*user{}} }

// Open opens the account of whoever has logged in, making it at the first time.
func (b *Backend) Open(_ context.Context, s *mail.Session) (imap.Account, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	u := b.users[s.Login.Account]
	if u == nil {
		u = &user{boxes: map[string]*box{}, subs: map[string]bool{}, metadata: map[string][]imap.MetadataEntry{}, validity: 1_000_000, modseq: 1}
		u.make("INBOX", nil)
		b.users[s.Login.Account] = u
	}
	return &account{user: u, backend: b}, nil
}

// user is one account.
type user struct {
	mu       sync.Mutex
	boxes    map[string]*box
	subs     map[string]bool
	validity uint32 // last one given
	modseq   imap.ModSeq
	ids      int
	quota    []imap.QuotaResource // limits
	metadata map[string][]imap.MetadataEntry
	watches  []*watch
}

// box is a mailbox. The lock of its user guards it.
type box struct {
	user     *user
	name, id string
	validity uint32
	uidNext  imap.UID
	use      []imap.SpecialUse
	msgs     []*msg // in UID order
	modseq   imap.ModSeq
	gone     []expunged // in modseq order
	recent   imap.UID   // messages from here on are \Recent to nobody yet
	views    map[*view]struct{}
	deleted  bool
	acl      []imap.ACLEntry
	urlKey   []byte // RFC 4467; nil: none
}

type expunged struct {
	uid    imap.UID
	modseq imap.ModSeq
}

func (u *user) next() imap.ModSeq { u.modseq++; return u.modseq }

func (u *user) newID(kind string) string { u.ids++; return fmt.Sprintf("%s%d", kind, u.ids) }

func (u *user) make(name string, use []imap.SpecialUse) *box {
	u.validity++
	b := &box{
		user: u, name: name, id: u.newID("F"), validity: u.validity, uidNext: 1, recent: 1, use: use, modseq: u.next(),
		views: map[*view]struct{}{},
	}
	u.boxes[name] = b
	return b
}

// notify wakes the sessions that have the mailbox selected.
func (b *box) notify() {
	for v := range b.views {
		select {
		case v.news <- struct{}{}:
		default:
		}
	}
}

// account is one session.
type account struct {
	user    *user
	backend *Backend
}

func nonexistent(name string) error {
	return &imap.Error{Code: "NONEXISTENT", Text: "there is no mailbox " + name}
}

// box finds a mailbox; the lock is held.
func (a *account) box(name string) (*box, error) {
	if b := a.user.boxes[name]; b != nil {
		return b, nil
	}
	return nil, nonexistent(name)
}

func (a *account) lock() func() {
	a.user.mu.Lock()
	return a.user.mu.Unlock
}

func (a *account) Close() error { return nil }

func (a *account) List(context.Context) ([]imap.Folder, error) {
	defer a.lock()()
	var out []imap.Folder
	for name, b := range a.user.boxes {
		out = append(out, imap.Folder{Name: name, ID: b.id, Use: b.use, Subscribed: a.user.subs[name]})
	}
	for name := range a.user.subs {
		if a.user.boxes[name] == nil {
			out = append(out, imap.Folder{Name: name, Subscribed: true, NonExistent: true})
		}
	}
	slices.SortFunc(out, func(a, b imap.Folder) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

func (a *account) Status(_ context.Context, name string) (imap.Status, error) {
	defer a.lock()()
	b, err := a.box(name)
	if err != nil {
		return imap.Status{}, err
	}
	return b.status(), nil
}

func (b *box) status() imap.Status {
	st := imap.Status{
		ID: b.id, UIDValidity: b.validity, UIDNext: b.uidNext, Messages: uint32(len(b.msgs)), HighestModSeq: b.modseq,
	}
	for _, m := range b.msgs {
		if m.flags.System&imap.FlagSeen == 0 {
			st.Unseen++
		}
		if m.flags.System&imap.FlagDeleted != 0 {
			st.Deleted++
			st.DeletedSize += int64(len(m.raw))
		}
		if m.uid >= b.recent {
			st.Recent++
		}
		st.Size += int64(len(m.raw))
	}
	return st
}

func (a *account) Create(_ context.Context, name string, use []imap.SpecialUse) (string, error) {
	defer a.lock()()
	if a.user.boxes[name] != nil {
		return "", &imap.Error{Code: "ALREADYEXISTS", Text: "mailbox exists already"}
	}
	a.user.emit(a, imap.Event{Kind: imap.EventCreated, Mailbox: name})
	return a.user.make(name, use).id, nil
}

func (a *account) Delete(_ context.Context, name string) error {
	defer a.lock()()
	b, err := a.box(name)
	if err != nil {
		return err
	}
	b.deleted = true
	delete(a.user.boxes, name)
	delete(a.user.metadata, name)
	b.notify()
	a.user.emit(a, imap.Event{Kind: imap.EventDeleted, Mailbox: name})
	return nil
}

func (a *account) Rename(_ context.Context, from, to string) error {
	defer a.lock()()
	u := a.user
	if u.boxes[to] != nil {
		return &imap.Error{Code: "ALREADYEXISTS", Text: "mailbox exists already"}
	}
	b := u.boxes[from]
	if from == "INBOX" {
		dst := u.make(to, nil)
		b.move(b.msgs, dst)
		u.emit(a, imap.Event{Kind: imap.EventRenamed, Mailbox: to, OldName: from})
		return nil
	}
	found := b != nil
	for name, child := range u.boxes {
		if name == from || strings.HasPrefix(name, from+"/") {
			found = true
			delete(u.boxes, name)
			child.name = to + name[len(from):]
			defer func() {
				u.boxes[child.name], u.metadata[child.name] = child, u.metadata[name]
				delete(u.metadata, name)
			}()
		}
	}
	if !found {
		return nonexistent(from)
	}
	u.emit(a, imap.Event{Kind: imap.EventRenamed, Mailbox: to, OldName: from})
	return nil
}

func (a *account) Subscribe(_ context.Context, name string, on bool) error {
	defer a.lock()()
	a.user.emit(a, imap.Event{Kind: imap.EventSubscription, Mailbox: name})
	if !on {
		delete(a.user.subs, name)
		return nil
	}
	a.user.subs[name] = true
	return nil
}

func (a *account) Select(_ context.Context, name string, readOnly bool) (imap.Mailbox, error) {
	defer a.lock()()
	b, err := a.box(name)
	if err != nil {
		return nil, err
	}
	v := &view{box: b, readOnly: readOnly, news: make(chan struct{}, 1)}
	b.views[v] = struct{}{}
	return v, nil
}

func (a *account) Append(_ context.Context, name string) (imap.Appender, error) {
	defer a.lock()()
	b, err := a.box(name)
	if err != nil {
		return nil, &imap.Error{Code: "TRYCREATE", Text: "there is no such mailbox"}
	}
	return &appender{box: b, now: time.Now()}, nil
}
