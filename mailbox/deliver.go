package mailbox

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store"
)

// Door returns the door for delivery, which LMTP serves: recipients must be owners, content is stored once, and one
// batch puts it into all their mailboxes. Its transactions are also mail.Preparer and mail.Amender.
func (m *Mailbox) Door() mail.Door {
	return mail.DoorFunc(func(context.Context, *mail.Session) (mail.Receiver, error) {
		return mail.ReceiverFunc(m.beginDelivery), nil
	})
}

func (m *Mailbox) beginDelivery(ctx context.Context, s *mail.Session, from mail.Sender) (mail.Transaction, error) {
	if from.Size > m.limits.MessageOctets {
		return nil, tooLarge(m.limits.MessageOctets)
	}
	return &delivery{m: m, session: s.ID, from: from, ctx: context.WithoutCancel(ctx)}, nil
}

var (
	_ mail.Transaction = (*delivery)(nil)
	_ mail.Preparer    = (*delivery)(nil)
	_ mail.Amender     = (*delivery)(nil)
)

// delivery is a transaction of the Door.
type delivery struct {
	m       *Mailbox
	session string // its trace id
	from    mail.Sender
	ctx     context.Context // for Write, which has none; never cancelled
	to      []*addressee
	trace   []mail.Field
	in      *intake
	ended   bool
}

// addressee is one accepted recipient.
type addressee struct {
	owner    Owner
	account  *account
	address  string
	folder   string
	plus     string // the folder that the address itself named
	id       [16]byte
	hasID    bool
	delivery string // id, as it came
	dropped  bool
	prepared bool
	arrival  arrival
	reply    mail.Reply
	reserved usage
}

var (
	replyNoUser = mail.NewReply(550, mail.Enhanced{5, 1, 1}, "No such user here")
	replyQuota  = mail.NewReply(452, mail.Enhanced{4, 2, 2}, "Mailbox is full")
	replyNever  = mail.NewReply(552, mail.Enhanced{5, 2, 2}, "Message is larger than all that the mailbox may hold")
	replyMany   = mail.NewReply(452, mail.Enhanced{4, 5, 3}, "Too many recipients")
	replyEnded  = mail.NewReply(503, mail.Enhanced{5, 5, 1}, "The transaction has ended")
)

func tooLarge(limit int64) *mail.Reply {
	return mail.NewReply(552, mail.Enhanced{5, 3, 4}, "Message is larger than %d octets", limit)
}

// Recipient accepts a recipient who is known and has room.
func (d *delivery) Recipient(ctx context.Context, r *mail.Recipient) error {
	switch {
	case d.ended:
		return replyEnded
	case r.Failed != nil:
		return r.Failed
	case len(d.to) >= d.m.limits.Recipients:
		return replyMany
	}
	o, err := d.m.dir.Lookup(ctx, r.Address)
	switch {
	case errors.Is(err, ErrNoOwner):
		return replyNoUser.Because(err)
	case err != nil:
		return toReply(err)
	case o.ID == 0:
		return replyNoUser
	}
	a := &addressee{owner: o, address: r.Address.String(), folder: r.Folder, account: d.m.account(accountID(o.ID))}
	if r.DeliveryID != "" {
		sum := d.m.keyed('d', r.DeliveryID)
		a.hasID, a.delivery = true, r.DeliveryID
		copy(a.id[:], sum[:])
	}
	if err := d.m.hasRoom(ctx, a, max(d.from.Size, 1)); err != nil {
		d.m.release(a.account)
		return toReply(err)
	}
	d.to = append(d.to, a)
	return nil
}

// hasRoom checks the quota of a recipient before the content has come.
func (m *Mailbox) hasRoom(ctx context.Context, a *addressee, octets int64) error {
	if err := a.account.lock(ctx); err != nil {
		return err
	}
	defer a.account.mu.Unlock()
	p := part{account: a.account, row: a.account.row}
	if !p.fits(&a.owner, octets, 1) {
		return full(&a.owner, octets)
	}
	return nil
}

// full is the answer for want of room: for good if no emptying would help.
func full(o *Owner, octets int64) *mail.Reply {
	if o.QuotaOctets > 0 && octets > o.QuotaOctets {
		return replyNever
	}
	return replyQuota
}

// Trace adds header fields in front of the message.
func (d *delivery) Trace(fields ...mail.Field) { d.trace = append(d.trace, fields...) }

// Write takes content.
func (d *delivery) Write(p []byte) (int, error) {
	if d.ended {
		return 0, replyEnded
	}
	if len(p) == 0 {
		return 0, nil
	}
	if err := d.start(); err != nil {
		return 0, err
	}
	n, err := d.in.Write(p)
	if errors.Is(err, errTooLong) {
		return n, tooLarge(d.m.limits.MessageOctets)
	}
	return n, toReply(err)
}

func (d *delivery) start() (err error) {
	if d.in == nil {
		d.in, err = d.m.newIntake(d.ctx)
	}
	return toReply(err)
}

// Amend refiles or drops an accepted recipient.
func (d *delivery) Amend(i int, folder string, drop bool) error {
	if d.ended || i < 0 || i >= len(d.to) {
		return replyEnded
	}
	d.to[i].folder, d.to[i].dropped = folder, drop
	return nil
}

// Prepare does all but the commit, and keeps the room that the message will need.
func (d *delivery) Prepare(ctx context.Context) ([]mail.Reply, error) {
	if d.ended {
		return nil, replyEnded
	}
	if err := d.closeContent(); err != nil {
		return nil, err
	}
	replies := make([]mail.Reply, len(d.to))
	for i, a := range d.to {
		if !a.dropped && !a.prepared {
			if err := d.reserve(ctx, a); err != nil {
				return nil, err
			}
		}
		replies[i] = a.reply
	}
	return replies, nil
}

func (d *delivery) closeContent() error {
	if err := d.start(); err != nil {
		return err
	}
	if err := d.in.close(len(d.to)); err != nil {
		return toReply(err)
	}
	now := d.m.now()
	for _, a := range d.to {
		a.arrival = d.arrival(a, now)
		a.reply = mail.OK()
	}
	return nil
}

func (d *delivery) reserve(ctx context.Context, a *addressee) error {
	if err := a.account.lock(ctx); err != nil {
		return toReply(err)
	}
	defer a.account.mu.Unlock()
	p := part{account: a.account, row: a.account.row}
	a.prepared = true
	if !p.fits(&a.owner, a.arrival.size(), 1) {
		a.reply = *full(&a.owner, a.arrival.size())
		return nil
	}
	a.reserved = usage{a.arrival.size(), 1}
	a.account.reserved.octets += a.reserved.octets
	a.account.reserved.messages += a.reserved.messages
	return nil
}

// arrival makes the trace prefix of a recipient: Return-Path (RFC 5321 section 4.4) and Delivered-To on top of what
// the rooms before us added.
func (d *delivery) arrival(a *addressee, now time.Time) arrival {
	fields := make([]mail.Field, 0, len(d.trace)+2)
	fields = append(fields, mail.Field{Name: "Return-Path", Value: d.from.Address.Path()},
		mail.Field{Name: "Delivered-To", Value: a.address})
	for _, f := range slices.Backward(d.trace) {
		fields = append(fields, f)
	}
	if d.in.folded { // what follows must not become a part of a field that we vouch for
		fields = append(fields, mail.Field{Name: "X-Folded-Beginning", Value: "the message begins with white space"})
	}
	out := arrival{in: d.in, date: now}
	for _, f := range fields {
		at := len(out.prefix)
		out.prefix = f.Append(out.prefix)
		if !bulky(f.Name) {
			out.extra = append(out.extra, out.prefix[at:]...)
		}
	}
	return out
}

// Commit stores the message for all recipients in one batch.
func (d *delivery) Commit(ctx context.Context) ([]mail.Reply, error) {
	if d.ended {
		return nil, replyEnded
	}
	defer d.end()
	if d.in == nil || !d.in.done {
		if err := d.closeContent(); err != nil {
			return nil, err
		}
	}
	if err := d.store(ctx); err != nil {
		d.m.log.WarnContext(ctx, "delivery failed", "error", err)
		return nil, toReply(err)
	}
	replies := make([]mail.Reply, len(d.to))
	for i, a := range d.to {
		replies[i] = a.reply
		d.tell(ctx, a)
	}
	return replies, nil
}

// tell says in the journal where the message is.
func (d *delivery) tell(ctx context.Context, a *addressee) {
	if a.dropped {
		return
	}
	e := mail.Event{Time: d.m.now(), Trace: d.session, Room: "mailbox", Kind: "stored", ID: a.delivery, MessageID: d.in.digest.messageID,
		From: d.from.Address.String(), To: a.address, Code: a.reply.Code, Text: "in the folder INBOX of " + a.owner.Address}
	if e.From == "" {
		e.From = "<>"
	}
	if folder := a.folder + a.plus; folder != "" {
		e.Text = "in the folder " + folder + " of " + a.owner.Address
	}
	if !a.reply.Positive() {
		e.Kind, e.Text = "refused", ""
	}
	e.Text = strings.TrimSpace(e.Text + ": " + a.reply.String())
	d.m.journal.Record(ctx, e)
}

func (d *delivery) store(ctx context.Context) error {
	accounts := make([]*account, 0, len(d.to))
	for _, a := range d.to {
		if !a.dropped {
			accounts = append(accounts, a.account)
		}
	}
	slices.SortFunc(accounts, func(a, b *account) int {
		switch {
		case a.id < b.id:
			return -1
		case a.id > b.id:
			return 1
		}
		return 0
	})
	accounts = slices.Compact(accounts)
	if len(accounts) == 0 {
		return nil
	}
	again := false
	return d.m.change(ctx, accounts, func(c *commit, r store.Reader) error {
		err := d.build(ctx, c, r, again)
		again = true
		return err
	})
}

// build puts the message into the batch, for each recipient who is still to get it.
func (d *delivery) build(ctx context.Context, c *commit, r store.Reader, again bool) error {
	for _, a := range d.to {
		if a.dropped || a.prepared && !a.reply.Positive() {
			continue
		}
		p := c.part(a.account)
		repeated, err := d.repeated(ctx, c, r, a, again)
		switch {
		case err != nil:
			return err
		case repeated:
			a.reply = *mail.NewReply(250, mail.Enhanced{2, 0, 0}, "Delivered before")
			continue
		case !a.prepared && !p.fits(&a.owner, a.arrival.size(), 1):
			a.reply = *full(&a.owner, a.arrival.size())
			continue
		}
		b, err := p.destination(ctx, r, a)
		if err != nil {
			return err
		}
		u, e, err := p.arrive(ctx, r, b, &a.arrival)
		if err != nil {
			return err
		}
		p.observe(Delivered, nil, b, u, e)
		a.reply = mail.Reply{Code: 250, Enhanced: mail.Enhanced{2, 0, 0}, Text: "Delivered as " + emailName(a.account.id, e)}
		if a.hasID {
			c.ids = append(c.ids, deliveryUse{a.account.id, a.id, e})
		}
	}
	return nil
}

// repeated tells whether a delivery id has come before. The first time it relies on what the batch asserts.
func (d *delivery) repeated(ctx context.Context, c *commit, r store.Reader, a *addressee, again bool) (bool, error) {
	if !a.hasID {
		return false, nil
	}
	for i := range c.ids {
		if c.ids[i].account == a.account.id && c.ids[i].id == a.id {
			return true, nil
		}
	}
	if !again {
		return false, nil
	}
	return d.m.buckets.stored(ctx, r, &c.ar, a.account.id, a.id)
}

// part returns what the commit does to an account.
func (c *commit) part(a *account) *part {
	i, _ := slices.BinarySearchFunc(c.parts, a.id, func(p *part, id accountID) int {
		switch {
		case p.id < id:
			return -1
		case p.id > id:
			return 1
		}
		return 0
	})
	return c.parts[i]
}

// destination is the mailbox that a recipient's mail goes to: the folder asked for, by name or by special use, or
// INBOX.
func (p *part) destination(ctx context.Context, r store.Reader, a *addressee) (*box, error) {
	if a.folder != "" {
		b, err := p.folderFor(ctx, r, a)
		if err != nil || b != nil {
			return b, err
		}
	} else if a.owner.PlusFolder != "" {
		b, err := p.plusFolder(ctx, r, a)
		if b != nil {
			a.plus = a.owner.PlusFolder
		}
		if err != nil || b != nil {
			return b, err
		}
	}
	b, err := p.named(ctx, r, inbox)
	if err == nil && b == nil {
		err = errNoInbox
	}
	return b, err
}

// contactsPrefix begins the names of folders that are made when the guard delivers into them.
const contactsPrefix = "Contacts/"

func (p *part) folderFor(ctx context.Context, r store.Reader, a *addressee) (*box, error) {
	if a.folder[0] == '\\' {
		return p.withUse(ctx, r, a.folder)
	}
	name, err := p.m.canonical(a.folder)
	if err != nil {
		return nil, nil // a name that cannot be: INBOX
	}
	b, err := p.named(ctx, r, name)
	if err != nil || b != nil || !a.owner.CreateFolders && !strings.HasPrefix(name, contactsPrefix) || int(p.row.Boxes) >= p.m.limits.Mailboxes {
		return b, err
	}
	b = p.newBox(name, 0)
	p.notice(imap.Event{Kind: imap.EventCreated, Mailbox: name})
	p.addName(b)
	return b, nil
}

// plusFolder is the folder that the address itself names. Strangers choose it: they reach no folder with a special use, such
// as Sent, and make only so many.
func (p *part) plusFolder(ctx context.Context, r store.Reader, a *addressee) (*box, error) {
	name, err := p.m.canonical(a.owner.PlusFolder)
	if err != nil || strings.HasPrefix(name, contactsPrefix) {
		return nil, nil
	}
	b, err := p.named(ctx, r, name)
	switch {
	case err != nil:
		return nil, err
	case b != nil && b.Use != 0:
		return nil, nil
	case b != nil:
		return b, nil
	case int(p.row.Boxes) >= p.m.limits.PlusFolders:
		return nil, nil
	}
	b = p.newBox(name, 0)
	p.notice(imap.Event{Kind: imap.EventCreated, Mailbox: name})
	p.addName(b)
	return b, nil
}

// Abort gives the message up.
func (d *delivery) Abort() error {
	d.end()
	return nil
}

// end frees what the transaction holds. A body that a batch took is no longer ours to discard.
func (d *delivery) end() {
	if d.ended {
		return
	}
	d.ended = true
	for _, a := range d.to {
		if a.reserved != (usage{}) {
			a.account.mu.Lock()
			a.account.reserved.octets -= a.reserved.octets
			a.account.reserved.messages -= a.reserved.messages
			a.account.mu.Unlock()
		}
		d.m.release(a.account)
	}
	d.in.discard()
}
