package imap

import (
	"context"
	"strconv"
)

// setArg reads a sequence set and the space behind it, and finds the UIDs.
func (c *conn) setArg(p *parser, uid bool) (UIDSet, error) {
	set, saved, err := p.set()
	if err == nil {
		err = p.sp()
	}
	if err != nil {
		return nil, err
	}
	return c.resolve(set, saved, uid)
}

// cmdStore: RFC 9051 section 6.4.6.
func (c *conn) cmdStore(ctx context.Context, p *parser, uid bool) error {
	uids, err := c.setArg(p, uid)
	if err != nil {
		return err
	}
	change, silent, err := c.storeArgs(p)
	if err != nil {
		return err
	}
	if c.sel.readOnly {
		return no("READ-ONLY", "mailbox was opened read-only")
	}
	if len(uids) == 0 {
		return nil
	}
	res, err := c.sel.box.Store(ctx, uids, change)
	if err != nil {
		return err
	}
	c.tellStored(res.Stored, silent, uid)
	if !uid && len(res.Stored)+res.Modified.Len() < uids.Len() { // RFC 5530
		return no("EXPUNGEISSUED", "some of the messages are gone")
	}
	return c.spill()
}

// storeArgs reads what is to change.
func (c *conn) storeArgs(p *parser) (ch StoreChange, silent bool, err error) {
	switch p.peek() {
	case '+':
		ch.Mode = StoreAdd
		p.i++
	case '-':
		ch.Mode = StoreRemove
		p.i++
	}
	switch w := p.word(); w {
	case "FLAGS":
	case "FLAGS.SILENT":
		silent = true
	default:
		return ch, false, bad("STORE changes FLAGS or FLAGS.SILENT, not %s", clip(w))
	}
	if err = p.sp(); err == nil {
		ch.Flags, err = p.flags(true)
	}
	if err == nil {
		err = p.end()
	}
	return ch, silent, err
}

// tellStored answers STORE, and remembers what need not be told again.
func (c *conn) tellStored(stored []FlagChange, silent, uid bool) {
	v := c.sel
	s := seqs{set: v.uids}
	c.begin()
	for i := range stored {
		ch := &stored[i]
		v.known = append(v.known, uidMod{ch.UID, ch.ModSeq})
		if silent {
			continue
		}
		if seq := s.of(ch.UID); seq > 0 {
			c.tellKeywords(ch.Flags.Keywords)
			c.fetchFlags(seq, ch, uid)
		}
		if c.spill() != nil {
			return
		}
	}
}

// cmdCopy: COPY and MOVE (RFC 9051 sections 6.4.7 and 6.4.8).
func (c *conn) cmdCopy(ctx context.Context, p *parser, uid, move bool) error {
	uids, err := c.setArg(p, uid)
	if err != nil {
		return err
	}
	to, err := p.mailbox()
	if err == nil {
		err = p.end()
	}
	if err != nil {
		return err
	}
	if move && c.sel.readOnly {
		return no("READ-ONLY", "mailbox was opened read-only")
	}
	if len(uids) == 0 {
		c.text = "no messages to copy"
		return nil
	}
	res, err := c.sel.box.Copy(ctx, uids, to, move)
	if err != nil {
		return err
	}
	if len(res.Source) == 0 {
		return no("EXPUNGEISSUED", "the messages are gone")
	}
	code := "COPYUID " + strconv.FormatUint(uint64(res.UIDValidity), 10) + " " + res.Source.String() + " " + res.Dest.String()
	if move { // RFC 6851 section 4.3: before the EXPUNGEs
		c.say("* OK [", code, "] moved")
		return nil
	}
	c.code = code
	return nil
}

// cmdExpunge: RFC 9051 section 6.4.3. What is gone is told like any other change.
func (c *conn) cmdExpunge(ctx context.Context, uids UIDSet) error {
	if c.sel.readOnly {
		return no("READ-ONLY", "mailbox was opened read-only")
	}
	_, err := c.sel.box.Expunge(ctx, uids)
	return err
}

// cmdUIDExpunge: RFC 4315 section 2.1.
func (c *conn) cmdUIDExpunge(ctx context.Context, p *parser) error {
	set, saved, err := p.set()
	if err == nil {
		err = p.end()
	}
	if err != nil {
		return err
	}
	uids, err := c.resolve(set, saved, true)
	if err != nil || len(uids) == 0 { // an empty set would stand for all
		return err
	}
	return c.cmdExpunge(ctx, uids)
}
