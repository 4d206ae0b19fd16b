package mailbox

import (
	"context"
	"errors"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store"
)

// Backend returns what an IMAP server reads.
func (m *Mailbox) Backend() imap.Backend { return backend{m: m} }

// QuietBackend is a Backend whose changes the Observer is not told of: for whoever carries out what he decided.
func (m *Mailbox) QuietBackend() imap.Backend { return backend{m: m, quiet: true} }

type backend struct {
	m     *Mailbox
	quiet bool
}

// Open opens the account of whoever has logged in, and makes it when it is seen for the first time.
func (b backend) Open(ctx context.Context, s *mail.Session) (imap.Account, error) {
	return b.open(ctx, s.Login.Account, &imap.Error{Code: "AUTHORIZATIONFAILED", Text: "There is no such account"})
}

// open opens the account of an address; nobody is the answer where there is none.
func (b backend) open(ctx context.Context, address string, nobody *imap.Error) (imap.Account, error) {
	missing := *nobody
	addr, err := mail.ParseAddress(address)
	if err != nil {
		missing.Cause = err
		return nil, &missing
	}
	o, err := b.m.dir.Lookup(ctx, addr)
	if err == nil && o.ID == 0 {
		err = ErrNoOwner
	}
	if errors.Is(err, ErrNoOwner) {
		missing.Cause = err
		return nil, &missing
	}
	if err != nil {
		return nil, toIMAP(err)
	}
	v := &view{m: b.m, quiet: b.quiet, address: addr, account: b.m.account(accountID(o.ID))}
	v.root = v
	if err := v.await(ctx); err != nil {
		b.m.release(v.account)
		return nil, toIMAP(err)
	}
	return v, nil
}

// view is one session's access to an account: to its own, and through that to those of others who share something.
type view struct {
	m       *Mailbox
	address mail.Address // of the account's owner
	account *account
	closed  bool
	quiet   bool // the observer is not told

	root   *view               // of the session's own account
	guests map[accountID]*view // of others; the root has them
	guest  accountID           // who looks at another's account; 0: its owner
	prefix string              // what the names of the account's mailboxes begin with for the session
}

var _ imap.Account = (*view)(nil)

// await makes sure that the account exists, durably.
func (v *view) await(ctx context.Context) error {
	a := v.account
	if err := a.lock(ctx); err != nil {
		return err
	}
	last := a.last
	a.mu.Unlock()
	if last == nil {
		return nil
	}
	return last.Wait(ctx)
}

// Close ends the session's access.
func (v *view) Close() error {
	if !v.closed {
		v.closed = true
		for _, g := range v.guests {
			v.m.release(g.account)
		}
		v.m.release(v.account)
	}
	return nil
}

// owner asks again who the owner is: quotas change.
func (v *view) owner(ctx context.Context) (Owner, error) {
	o, err := v.m.dir.Lookup(ctx, v.address)
	if err == nil && accountID(o.ID) != v.account.id {
		err = ErrNoOwner
	}
	return o, err
}

// change is Mailbox.change for this account alone.
func (v *view) change(ctx context.Context, build func(p *part, r store.Reader) error) error {
	return v.changeIn(ctx, []*account{v.account}, func(c *commit, r store.Reader) error {
		return build(c.parts[0], r)
	})
}

// changeIn is Mailbox.change for a session.
func (v *view) changeIn(ctx context.Context, accounts []*account, build func(c *commit, r store.Reader) error) error {
	err := v.m.change(ctx, accounts, func(c *commit, r store.Reader) error {
		c.quiet, c.by = v.quiet, v.root
		return build(c, r)
	})
	return toIMAP(err)
}

// boxByName finds a mailbox among what is durable, for a client who needs some rights in it.
func (v *view) boxByName(ctx context.Context, r store.Reader, name string, need rights) (boxID, boxRow, error) {
	id, row, err := v.findBox(ctx, r, name)
	if err != nil {
		return id, row, notThere(err, v.prefix+name)
	}
	have, err := v.rightsIn(ctx, r, id)
	if err == nil {
		err = v.lacks(have, need, name)
	}
	return id, row, err
}

// findBox is boxByName with store.ErrNotFound.
func (v *view) findBox(ctx context.Context, r store.Reader, name string) (boxID, boxRow, error) {
	var ar arena
	value, err := r.Get(ctx, ar.nameKey(kindName, v.account.id, name))
	if err != nil {
		return 0, boxRow{}, err
	}
	id := boxID(lastUint32(value))
	row, err := v.boxByID(ctx, r, id)
	return id, row, err
}

func (v *view) boxByID(ctx context.Context, r store.Reader, id boxID) (boxRow, error) {
	var ar arena
	value, err := r.Get(ctx, ar.boxKey(kindBox, v.account.id, id))
	if err != nil {
		return boxRow{}, err
	}
	return decodeBox(value)
}

func notFound(err error) bool { return errors.Is(err, store.ErrNotFound) }

func notThere(err error, name string) error {
	if notFound(err) {
		return no("NONEXISTENT", "Mailbox %q does not exist", name)
	}
	return err
}

// Select opens a mailbox.
func (v *view) Select(ctx context.Context, name string, readOnly bool) (imap.Mailbox, error) {
	g, name, err := v.at(ctx, name)
	if err != nil {
		return nil, err
	}
	s := &selected{view: g, readOnly: readOnly, inbox: name == inbox, notify: make(chan struct{}, 1)}
	err = v.m.eng.View(ctx, func(r store.Reader) error {
		if s.id, s.first, err = g.boxByName(ctx, r, name, rightRead); err == nil {
			s.have, err = g.rightsIn(ctx, r, s.id)
		}
		return err
	})
	if err != nil {
		return nil, toIMAP(err)
	}
	g.account.refs.Add(1)
	s.attach()
	return s, nil
}

// Append begins an APPEND.
func (v *view) Append(ctx context.Context, name string) (imap.Appender, error) {
	g, name, err := v.at(ctx, name)
	if err != nil {
		return nil, tryCreate(err)
	}
	err = v.m.eng.View(ctx, func(r store.Reader) error {
		_, _, err := g.boxByName(ctx, r, name, rightInsert)
		return err
	})
	if err != nil {
		return nil, tryCreate(toIMAP(err))
	}
	o, err := g.owner(ctx)
	if err != nil {
		return nil, toIMAP(err)
	}
	return &appending{view: g, name: name, owner: o}, nil
}

// tryCreate turns the answer that a mailbox is not there into one that invites to make it (RFC 3501 section 6.3.11).
func tryCreate(err error) error {
	var e *imap.Error
	if errors.As(err, &e) && e.Code == "NONEXISTENT" {
		return &imap.Error{Code: "TRYCREATE", Text: e.Text, Cause: e.Cause}
	}
	return err
}
