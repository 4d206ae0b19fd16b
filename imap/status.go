package imap

import "context"

// statusItem is one item that STATUS can tell (RFC 9051 section 6.3.11).
type statusItem uint16

const (
	statusMessages statusItem = 1 << iota
	statusRecent
	statusUIDNext
	statusUIDValidity
	statusUnseen
	statusDeleted
	statusSize
	statusModSeq
	statusAppendLimit
	statusDeletedStorage
	statusID
)

var statusNames = [...]string{
	"MESSAGES", "RECENT", "UIDNEXT", "UIDVALIDITY", "UNSEEN", "DELETED", "SIZE", "HIGHESTMODSEQ", "APPENDLIMIT", "DELETED-STORAGE", "MAILBOXID",
}

// statusItems reads the list of STATUS items.
func (c *conn) statusItems(p *parser) (items statusItem, err error) {
	if err := p.expect('('); err != nil {
		return 0, err
	}
	for n := 0; n == 0 || !p.accept(')'); n++ {
		if n > 0 {
			if err := p.sp(); err != nil {
				return 0, err
			}
		}
		w := p.word()
		is := statusItem(0)
		for i, name := range statusNames {
			if w == name {
				is = 1 << i
			}
		}
		if is == 0 || n > 100 {
			return 0, bad("there is no STATUS item %s", clip(w))
		}
		if items |= is; is == statusModSeq {
			c.mode |= modeCondstore
		}
	}
	return items, nil
}

func (c *conn) cmdStatus(ctx context.Context, p *parser) error {
	name, err := p.mailbox()
	if err == nil {
		err = p.sp()
	}
	if err != nil {
		return err
	}
	items, err := c.statusItems(p)
	if err == nil {
		err = p.end()
	}
	if err != nil {
		return err
	}
	st, err := c.account.Status(ctx, name)
	if err != nil {
		return err
	}
	c.tellStatus(name, items, &st)
	return nil
}

func (c *conn) tellStatus(name string, items statusItem, st *Status) {
	c.begin()
	c.out = append(c.out, "* STATUS "...)
	c.name(name)
	values := [...]uint64{
		uint64(st.Messages), uint64(st.Recent), uint64(st.UIDNext), uint64(st.UIDValidity), uint64(st.Unseen),
		uint64(st.Deleted), uint64(max(st.Size, 0)), uint64(max(st.HighestModSeq, 1)), uint64(c.limits.MessageOctets),
		uint64(max(st.DeletedSize, 0)),
	}
	sep := " ("
	for i, v := range values {
		if items&(1<<i) != 0 {
			c.out = append(c.out, sep...)
			c.out = append(c.out, statusNames[i]...)
			c.out = append(c.out, ' ')
			c.num(v)
			sep = " "
		}
	}
	if items&statusID != 0 && st.ID != "" {
		c.out = append(c.out, sep...)
		c.out = append(c.out, "MAILBOXID ("...)
		c.out = append(c.out, st.ID...)
		c.out = append(c.out, ')')
		sep = " "
	}
	if sep != " " {
		c.out = append(c.out, sep...)
	}
	c.say(")")
}
