package imap

import (
	"context"
	"strconv"
	"time"

	"github.com/samotop/samotop/mail"
)

// cmdReplace: RFC 8508. The new message is durable before the old one goes, so that a crash in between leaves both.
func (c *conn) cmdReplace(ctx context.Context, p *parser, uid bool) error {
	old, err := c.replaced(p, uid)
	if err != nil {
		return c.refused(err)
	}
	name, err := p.mailbox()
	if err == nil {
		err = p.sp()
	}
	var args messageArgs
	if err == nil {
		args, err = c.argsAt(p)
	}
	if err == nil && c.sel.readOnly {
		err = no("READ-ONLY", "mailbox was opened read-only")
	}
	if err == nil && !(c.sel.may("t") && c.sel.may("e")) {
		err = no("NOPERM", "you may not remove messages here")
	}
	if err == nil && len(old) == 0 {
		err = no("EXPUNGEISSUED", "the message to be replaced is gone")
	}
	if err != nil {
		return c.refused(err)
	}
	res, err := c.appendTo(ctx, name, args, onlyOne)
	if err != nil {
		return err
	}
	c.say("* OK [APPENDUID ", strconv.FormatUint(uint64(res.UIDValidity), 10), " ", res.UIDs.String(), "] replacement is there")
	del := StoreChange{Mode: StoreAdd, Flags: Flags{System: FlagDeleted}}
	if _, err := c.sel.box.Store(ctx, old, del); err != nil {
		return err
	}
	_, err = c.sel.box.Expunge(ctx, old)
	return err
}

// replaced reads the number of the message that is to be replaced.
func (c *conn) replaced(p *parser, uid bool) (UIDSet, error) {
	set, saved, err := p.set()
	if err == nil && (saved || len(set) != 1 || set[0].lo != set[0].hi) {
		err = bad("REPLACE takes the number of one message")
	}
	if err == nil {
		err = p.sp()
	}
	if err != nil {
		return nil, err
	}
	return c.resolve(set, false, uid)
}

// cmdUnauthenticate: RFC 8437. TLS and compression stay, all else is as at the beginning.
func (c *conn) cmdUnauthenticate(ctx context.Context) error {
	c.cleanup(ctx)
	c.state, c.mode, c.saved = stateNot, 0, nil
	c.sess.Login, c.sess.Stage = mail.Identity{}, mail.StageConnect
	c.sess.Start = time.Now()
	c.awaitLogin()
	return nil
}
