package mailbox

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/pop3"
	"github.com/samotop/samotop/store"
)

// POP3 returns what a POP3 server reads: the INBOX of each account. One session at a time has it (RFC 1939 section 4), and
// until it ends nobody else can take messages out of INBOX: EXPUNGE and MOVE there answer INUSE (RFC 5530), CLOSE leaves
// what is \Deleted. All else goes on beside it. Flags play no part and are not changed.
func (m *Mailbox) POP3() pop3.Backend { return maildrops{m} }

type maildrops struct{ m *Mailbox }

// Open locks the INBOX of whoever has logged in.
func (b maildrops) Open(ctx context.Context, s *mail.Session, messages int) (pop3.Drop, error) {
	acct, err := b.m.Backend().Open(ctx, s)
	if err != nil {
		return nil, toPOP3(err)
	}
	v := acct.(*view)
	if !b.m.lockDrop(v.account.id) {
		_ = v.Close() // never fails
		return nil, pop3.ErrInUse
	}
	d := &maildrop{view: v}
	err = v.await(ctx) // what was taken out before the lock is gone now
	if err == nil {
		err = d.load(ctx, messages)
	}
	if err != nil {
		_ = d.Close() // never fails
		return nil, toPOP3(err)
	}
	return d, nil
}

func (m *Mailbox) lockDrop(id accountID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, held := m.drops[id]; held {
		return false
	}
	if m.drops == nil {
		m.drops = map[accountID]struct{}{}
	}
	m.drops[id] = struct{}{}
	return true
}

// mayTake tells whether messages can be taken out of a mailbox: out of INBOX not while a POP3 session has it.
func (p *part) mayTake(b *box) error {
	if b.Name != inbox {
		return nil
	}
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	if _, held := p.m.drops[p.id]; held {
		return no("INUSE", "INBOX is being read by POP3: try again when that has ended")
	}
	return nil
}

func (m *Mailbox) unlockDrop(id accountID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.drops, id)
}

// toPOP3 turns errors into those that a POP3 client may be told.
func toPOP3(err error) error {
	var e *imap.Error
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &e):
		return err
	case e.Code == "AUTHORIZATIONFAILED":
		return &pop3.Error{Code: "AUTH", Text: e.Text, Cause: e.Cause}
	case e.Code == "UNAVAILABLE":
		return &pop3.Error{Code: "SYS/TEMP", Text: e.Text, Cause: e.Cause}
	}
	return &pop3.Error{Text: e.Text, Cause: e.Cause}
}

// maildrop is the INBOX as it was when a session opened it.
type maildrop struct {
	*view
	sel      *selected
	validity uint32
	uids     []imap.UID
	sizes    []int64
	over     bool
}

var _ pop3.Drop = (*maildrop)(nil)

// load lists the messages.
func (d *maildrop) load(ctx context.Context, messages int) error {
	box, err := d.Select(ctx, inbox, true)
	if err != nil {
		return err
	}
	d.sel = box.(*selected)
	// The numbers and unique-ids stand for messages of this mailbox: if INBOX is renamed, what takes its name is another.
	d.sel.inbox = false
	d.validity = d.sel.first.UIDValidity
	for msg, err := range d.sel.Fetch(ctx, imap.UIDSet{{Start: 1, Stop: maxUID}}, imap.NeedSize) {
		if err != nil {
			return err
		}
		if len(d.uids) == messages {
			break
		}
		d.uids = append(d.uids, msg.UID)
		d.sizes = append(d.sizes, msg.Size)
	}
	return nil
}

func (d *maildrop) Len() int         { return len(d.uids) }
func (d *maildrop) Size(i int) int64 { return d.sizes[i] }

// AppendUIDL is UIDVALIDITY and UID: RFC 3501 section 2.3.1.1 promises that they are never given again.
func (d *maildrop) AppendUIDL(dst []byte, i int) []byte {
	dst = strconv.AppendUint(dst, uint64(d.validity), 10)
	dst = append(dst, '.')
	return strconv.AppendUint(dst, uint64(d.uids[i]), 10)
}

// Read gives the content of a message.
func (d *maildrop) Read(ctx context.Context, i int, f func(pop3.Content) error) error {
	one := imap.UIDSet{{Start: d.uids[i], Stop: d.uids[i]}}
	for msg, err := range d.sel.Fetch(ctx, one, imap.NeedContent) {
		if err != nil {
			return toPOP3(err)
		}
		return f(msg.Content)
	}
	return pop3.ErrGone
}

// Delete removes messages, whatever their flags are: one batch for Limits.StoreMessages of them.
func (d *maildrop) Delete(ctx context.Context, messages []int) error {
	uids := make([]imap.UID, len(messages))
	for i, n := range messages {
		uids[i] = d.uids[n]
	}
	slices.Sort(uids)
	var set imap.UIDSet
	for _, u := range uids {
		set.Add(u)
	}
	for _, piece := range pieces(set, d.m.limits.StoreMessages) {
		err := d.change(ctx, func(p *part, r store.Reader) error {
			p.c.batch.Deletes = true
			return d.remove(ctx, p, r, piece)
		})
		if err != nil {
			return toPOP3(err)
		}
	}
	return nil
}

func (d *maildrop) remove(ctx context.Context, p *part, r store.Reader, set imap.UIDSet) error {
	b, err := p.box(ctx, r, d.sel.id)
	if err != nil {
		return err
	}
	if b == nil || b.Name != inbox || b.UIDValidity != d.validity {
		return nil // it has been renamed or deleted: these messages are in the maildrop no more
	}
	list, err := p.messages(ctx, r, b, set, false)
	if err != nil {
		return err
	}
	for i := range list {
		m := &list[i]
		if err := p.depart(ctx, r, b, m.uid, &m.small); err != nil {
			return err
		}
		p.observe(Expunged, b, nil, m.uid, m.small.Email)
	}
	return nil
}

// Close gives the lock back.
func (d *maildrop) Close() error {
	if d.over {
		return nil
	}
	d.over = true
	if d.sel != nil {
		_ = d.sel.Close() // never fails
	}
	d.m.unlockDrop(d.account.id)
	return d.view.Close()
}
