package imap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// messageArgs are the arguments in front of a message literal.
type messageArgs struct {
	flags  Flags
	opts   AppendOptions
	closer bool // UTF8 (~{n}): a parenthesis follows the literal

	catenate bool     // the message is put together (RFC 4469)
	urls     []string // the parts before the literal, or all parts if there is none
	whole    bool     // the list of parts was closed
	rest     *parser  // what follows the closed list
}

// appendArgs reads flags and date up to the message literal (RFC 9051 section 6.3.12).
func (p *parser) appendArgs() (a messageArgs, err error) {
	if p.recentOK = true; p.peek() == '(' {
		if a.opts.Flags, err = p.flags(false); err == nil {
			err = p.sp()
		}
		if err != nil {
			return a, err
		}
	}
	if p.peek() == '"' {
		if a.opts.Date, err = p.dateTime(); err == nil {
			err = p.sp()
		}
		if err != nil {
			return a, err
		}
	}
	if p.acceptWord("CATENATE") { // RFC 4469 section 3
		if err := p.sp(); err != nil {
			return a, err
		}
		if err := p.expect('('); err != nil {
			return a, err
		}
		a.catenate = true
		return a, p.catParts(&a)
	}
	if p.acceptWord("UTF8") { // RFC 6855 section 4
		if err := p.sp(); err != nil {
			return a, err
		}
		if err := p.expect('('); err != nil {
			return a, err
		}
		a.closer, a.opts.UTF8 = true, true
	}
	if c := p.peek(); c != '{' && c != '~' {
		return a, bad("the message is missing, as a literal at octet %d", p.i+1)
	}
	return a, nil
}

// atMessage reports whether the literal at the end of buf is a message of APPEND or REPLACE, and not a mailbox name.
func (c *conn) atMessage(buf []byte) (bool, error) {
	p := &parser{b: buf, l: &c.limits, utf8: c.mode&(modeUTF8|modeRev2) != 0}
	_, err := p.tag()
	verb := ""
	if err == nil {
		verb, err = p.verb()
	}
	if err == nil {
		err = p.sp()
	}
	if err == nil && verb != "APPEND" { // REPLACE
		if _, _, err = p.set(); err == nil {
			err = p.sp()
		}
	}
	if err == nil {
		_, err = p.mailbox()
	}
	if err == nil {
		err = p.sp()
	}
	args := messageArgs{whole: true}
	for err == nil && args.whole { // the literal may be that of another message behind one catenated of messages alone
		if args, err = p.appendArgs(); err == nil && args.whole {
			err = p.sp()
		}
	}
	if errors.Is(err, errNeed) {
		return false, nil
	}
	return err == nil, err
}

// cmdAppend: RFC 9051 section 6.3.12, RFC 3502. Messages go to the backend as they come.
func (c *conn) cmdAppend(ctx context.Context, p *parser) error {
	name, err := p.mailbox()
	if err == nil {
		err = p.sp()
	}
	var args messageArgs
	if err == nil {
		args, err = c.argsAt(p)
	}
	if err != nil {
		return c.refused(err)
	}
	res, err := c.appendTo(ctx, name, args, c.limits.AppendMessages)
	if err != nil {
		return err
	}
	if len(res.UIDs) > 0 {
		c.code = "APPENDUID " + strconv.FormatUint(uint64(res.UIDValidity), 10) + " " + res.UIDs.String()
	}
	return nil
}

// appendTo takes the messages for a mailbox, at most limit.
func (c *conn) appendTo(ctx context.Context, name string, args messageArgs, limit int) (res AppendResult, err error) {
	to, err := c.account.Append(ctx, name)
	if err != nil {
		return res, c.refused(err)
	}
	if res, err = c.takeMessages(ctx, to, args, limit); err != nil {
		if aerr := to.Abort(); aerr != nil {
			c.srv.log().Warn("imap: giving up APPEND failed", "session", c.sess.ID, "err", aerr)
		}
	}
	return res, err
}

// argsAt reads the arguments of the command at hand up to its message. All of it is there if it is catenated of
// messages alone; then another may follow.
func (c *conn) argsAt(p *parser) (messageArgs, error) {
	args, err := p.appendArgs()
	switch {
	case err != nil:
	case args.catenate && !c.offers("CATENATE"):
		err = errNoExtension
	case args.whole:
		args.rest = p
	case c.lit == nil:
		err = errNoMessage
	}
	return args, err
}

var errNoMessage = bad("the message is missing, as a literal")

// refused reads over the message of a command that fails for cause: what could have been taken can be read over, so that
// the client hears of TRYCREATE or OVERQUOTA instead of losing the connection.
func (c *conn) refused(cause error) error {
	if c.lit != nil {
		if err := c.skip(*c.lit, max(c.limits.MessageOctets, c.limits.SkipOctets), cause); err != nil {
			return err
		}
	}
	return cause
}

// onlyOne as a limit: the command has no words for a second message.
const onlyOne = 0

func (c *conn) takeMessages(ctx context.Context, to Appender, args messageArgs, limit int) (AppendResult, error) {
	var none, res AppendResult
	for n := 1; ; n++ {
		if err := c.tooMuch(n); err != nil {
			return none, c.refused(err)
		}
		if limit == onlyOne && n > 1 {
			return none, c.refused(bad("REPLACE takes one message (RFC 8508 section 4.7)"))
		}
		if limit != onlyOne && n > limit {
			return none, c.refused(no("LIMIT", fmt.Sprintf("more than %d messages at once", limit)))
		}
		var more bool
		var err error
		if args.catenate {
			more, err = c.takeCatenated(ctx, to, &args)
		} else if err = c.takeMessage(ctx, to, args); err == nil {
			more, err = c.nextMessage(&args)
		}
		if err != nil {
			return none, err
		}
		if !more {
			err := c.slowly(ctx, func(ctx context.Context) (err error) {
				res, err = to.Commit(ctx)
				return err
			})
			return res, err
		}
	}
}

// takeMessage moves one message literal to the backend.
func (c *conn) takeMessage(ctx context.Context, to Appender, args messageArgs) error {
	size := c.lit.size
	switch {
	case c.literalAllowed(*c.lit) != nil: // of a second message
		return c.refused(c.literalAllowed(*c.lit))
	case size == 0: // RFC 3502 section 6.3.11: how a client gives up
		return c.refused(no("", "a message has at least one octet"))
	case args.opts.UTF8 && c.mode&(modeUTF8|modeRev2) == 0: // RFC 6855 section 4
		return c.refused(bad("ENABLE UTF8=ACCEPT first"))
	case size > c.limits.MessageOctets: // RFC 7889 section 3.1
		return c.refused(no("TOOBIG", fmt.Sprintf("message is larger than %d octets", c.limits.MessageOctets)))
	}
	args.opts.Size = size
	if c.lit.binary {
		return c.takeBinary(ctx, to, args.opts)
	}
	w, err := to.Next(ctx, args.opts)
	if err != nil {
		return c.refused(err)
	}
	return c.takeLiteral(w)
}

// takeLiteral moves the octets of the literal at hand.
func (c *conn) takeLiteral(w io.Writer) error {
	size := c.lit.size
	if !c.lit.nonSyn {
		c.say("+ ready for ", strconv.FormatInt(size, 10), " octets")
		if err := c.flush(); err != nil {
			return err
		}
	}
	err := c.octets(size, func(b []byte) error {
		_, werr := w.Write(b)
		return werr
	})
	if err != nil && !isIO(err) {
		c.lit.nonSyn, c.lit.size = true, 0 // the octets are read, the rest of the command is not
		return c.refused(err)
	}
	return err
}

// nextMessage reads what follows a message: the end, or the arguments of another one.
func (c *conn) nextMessage(args *messageArgs) (more bool, err error) {
	line, err := c.line(nil, c.limits.LoginOctets)
	if errors.Is(err, errLineTooLong) {
		return false, bad("arguments of APPEND are longer than %d octets", c.limits.LoginOctets)
	}
	if err != nil {
		return false, err
	}
	p := &parser{b: line, l: &c.limits, utf8: c.mode&(modeUTF8|modeRev2) != 0}
	c.literalOf(line)
	if args.closer {
		err = p.expect(')')
	}
	if err != nil {
		return false, c.refused(err)
	}
	return c.anotherMessage(p, args)
}

// literalOf takes note of the literal that a line ends in, if it does.
func (c *conn) literalOf(line []byte) {
	c.lit = nil
	if h, _, ok := parseLiteralHead(line); ok {
		c.lit = &h
	}
}

// anotherMessage reads the end of the command, or the arguments of another message.
func (c *conn) anotherMessage(p *parser, args *messageArgs) (more bool, err error) {
	if p.atEnd() {
		return false, nil
	}
	if err = p.sp(); err == nil {
		*args, err = c.argsAt(p)
	}
	if err != nil {
		return false, c.refused(err)
	}
	return true, nil
}
