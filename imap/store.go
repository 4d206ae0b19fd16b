package imap

import (
	"context"
	"strconv"
)

// setArg reads a sequence set and the space behind it, and finds the UIDs of the view; named are all UIDs that the
// set names.
func (c *conn) setArg(p *parser, uid bool) (named, uids UIDSet, err error) {
	set, saved, err := p.set()
	if err == nil {
		err = p.sp()
	}
	if err == nil {
		uids, err = c.resolve(set, saved, uid)
	}
	if named = uids; uid && !saved && err == nil {
		named = uidSet(set, c.sel.uids.Max())
	}
	return named, uids, err
}

// cmdStore: RFC 9051 section 6.4.6.
func (c *conn) cmdStore(ctx context.Context, p *parser, uid bool) error {
	_, uids, err := c.setArg(p, uid)
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
	uids = c.cut(uids)
	var res StoreResult
	err = c.slowly(ctx, func(ctx context.Context) (err error) {
		res, err = c.sel.box.Store(ctx, uids, change)
		return err
	})
	if err != nil {
		return err
	}
	c.tellStored(res.Stored, silent, uid)
	if len(res.Modified) > 0 { // RFC 7162 section 3.1.3
		c.code, c.text = "MODIFIED "+c.asNumbers(res.Modified, uid).String(), "some messages had changed"
		return c.spill()
	}
	if !uid && len(res.Stored)+res.Modified.Len() < uids.Len() { // RFC 5530 section 3; who asks for the rest has it
		c.code, c.text = "EXPUNGEISSUED", "some of the messages are gone"
	}
	return c.spill()
}

// storeArgs reads what is to change.
func (c *conn) storeArgs(p *parser) (ch StoreChange, silent bool, err error) {
	if p.accept('(') {
		if !p.acceptWord("UNCHANGEDSINCE") || !p.accept(' ') {
			return ch, false, bad("STORE takes the modifier UNCHANGEDSINCE only")
		}
		n, err := p.number64()
		if err == nil {
			err = p.expect(')')
		}
		if err == nil {
			err = p.sp()
		}
		if err != nil {
			return ch, false, err
		}
		since := ModSeq(n)
		ch.UnchangedSince = &since
		c.mode |= modeCondstore
	}
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
		seq := s.of(ch.UID)
		if silent {
			if seq > 0 && c.mode&modeCondstore != 0 {
				c.fetchModSeq(seq, ch, uid)
			}
			continue
		}
		if seq > 0 {
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
	_, uids, err := c.setArg(p, uid)
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
	if move {
		uids = c.cut(uids)
	} else if err := c.tooMuch(uids.Len()); err != nil {
		return err
	}
	var res CopyResult
	err = c.slowly(ctx, func(ctx context.Context) (err error) {
		res, err = c.sel.box.Copy(ctx, uids, to, move)
		return err
	})
	if err != nil {
		return err
	}
	if len(res.Source) == 0 {
		return no("EXPUNGEISSUED", "the messages are gone")
	}
	if c.sel.name == to {
		c.sel.own = c.sel.own.Union(res.Dest)
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
	err := c.slowly(ctx, func(ctx context.Context) error {
		_, err := c.sel.box.Expunge(ctx, uids)
		return err
	})
	c.tellModSeq = true // RFC 7162 section 3.2.7
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
	return c.cmdExpunge(ctx, c.cut(uids))
}

// fetchModSeq tells the new mod-sequence of a silent STORE (RFC 7162 section 3.1.3).
func (c *conn) fetchModSeq(seq int, ch *FlagChange, uid bool) {
	b := c.fetchHeadUID(c.out, seq, ch, uid)
	b = append(b, "MODSEQ ("...)
	b = strconv.AppendUint(b, uint64(ch.ModSeq), 10)
	c.out = append(b, "))\r\n"...)
}
