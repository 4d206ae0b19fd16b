package imap

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// catParts reads parts of CATENATE up to a literal, behind which it stands, or to the closing parenthesis.
func (p *parser) catParts(a *messageArgs) error {
	for n := 0; ; n++ {
		switch {
		case p.acceptWord("TEXT"):
			if err := p.sp(); err != nil {
				return err
			}
			if c := p.peek(); c != '{' && c != '~' {
				return bad("TEXT is a literal, at octet %d", p.i+1)
			}
			return nil
		case p.acceptWord("UTF8"): // RFC 6855 section 4
			if err := p.sp(); err != nil {
				return err
			}
			if err := p.expect('('); err != nil {
				return err
			}
			if p.peek() != '~' {
				return bad("UTF8 takes a literal8, at octet %d", p.i+1)
			}
			a.closer, a.opts.UTF8 = true, true
			return nil
		case p.acceptWord("URL"):
			if err := p.sp(); err != nil {
				return err
			}
			url, err := p.astring()
			if err == nil {
				err = p.tooMany(n * 10)
			}
			if err != nil {
				return err
			}
			a.urls = append(a.urls, string(url))
		default:
			return bad("a part is neither TEXT nor URL, at octet %d", p.i+1)
		}
		if p.accept(')') {
			a.whole = true
			return nil
		}
		if err := p.sp(); err != nil {
			return err
		}
	}
}

// limitedWriter counts what a catenated message comes to.
type limitedWriter struct {
	w          io.Writer
	left, size int64
}

func (l *limitedWriter) Write(b []byte) (int, error) {
	if l.left -= int64(len(b)); l.left < 0 {
		return 0, no("TOOBIG", fmt.Sprintf("message is larger than %d octets", l.size))
	}
	return l.w.Write(b)
}

// takeCatenated puts a message together and reads what follows it.
func (c *conn) takeCatenated(ctx context.Context, to Appender, args *messageArgs) (more bool, err error) {
	opts := args.opts
	opts.Size = -1
	next, err := to.Next(ctx, opts)
	if err != nil {
		return false, c.refused(err)
	}
	w := &limitedWriter{next, c.limits.MessageOctets, c.limits.MessageOctets}
	for {
		for _, url := range args.urls {
			if err := c.copyURL(ctx, w, url); err != nil {
				return false, c.refused(err)
			}
		}
		args.urls = nil
		if args.whole {
			if w.left == w.size {
				return false, c.refused(no("", "a message has at least one octet"))
			}
			return c.anotherMessage(args.rest, args)
		}
		if args.closer && c.mode&(modeUTF8|modeRev2) == 0 {
			return false, c.refused(bad("ENABLE UTF8=ACCEPT first"))
		}
		if err := c.catLiteral(w); err != nil {
			return false, err
		}
		if err := c.moreParts(args); err != nil {
			return false, err
		}
	}
}

// catLiteral takes a TEXT part.
func (c *conn) catLiteral(w *limitedWriter) error {
	if err := c.literalAllowed(*c.lit); err != nil {
		return c.refused(err)
	}
	if c.lit.size > w.left {
		return c.refused(no("TOOBIG", fmt.Sprintf("message is larger than %d octets", w.size)))
	}
	if c.lit.binary {
		return c.takeLiteral(withoutNUL{w})
	}
	return c.takeLiteral(w)
}

// moreParts reads what follows a TEXT part. A URL may itself be a literal.
func (c *conn) moreParts(args *messageArgs) error {
	line, err := c.line(nil, c.limits.CommandOctets)
	for {
		if errors.Is(err, errLineTooLong) {
			return bad("arguments of APPEND are longer than %d octets", c.limits.CommandOctets)
		}
		if err != nil {
			return err
		}
		c.literalOf(line)
		p := &parser{b: line, l: &c.limits, utf8: c.mode&(modeUTF8|modeRev2) != 0}
		next := messageArgs{}
		if args.closer {
			err = p.expect(')')
		}
		if next.whole = err == nil && p.accept(')'); err == nil && !next.whole {
			if err = p.sp(); err == nil {
				err = p.catParts(&next)
			}
		}
		switch {
		case errors.Is(err, errNeed) && c.lit != nil && c.lit.size <= int64(c.limits.CommandOctets-len(line)-2):
			if line, err = c.inlineLiteral(line); err == nil {
				line, err = c.line(line, c.limits.CommandOctets)
			}
			continue
		case err == nil && !next.whole && c.lit == nil:
			err = errNoMessage
		}
		if err != nil {
			return c.refused(err)
		}
		args.urls, args.whole, args.rest, args.closer = next.urls, next.whole, p, next.closer
		return nil
	}
}

// inlineLiteral reads the literal at hand into the line it ends.
func (c *conn) inlineLiteral(line []byte) ([]byte, error) {
	if err := c.literalAllowed(*c.lit); err != nil {
		return line, c.refused(err)
	}
	if !c.lit.nonSyn {
		c.say("+ OK")
		if err := c.flush(); err != nil {
			return line, err
		}
	}
	return c.literal(append(line, '\r', '\n'), c.lit.size)
}

// maxURLTold is the longest URL that BADURL repeats whole.
const maxURLTold = 1000

// copyURL writes what a URL of the own account names.
func (c *conn) copyURL(ctx context.Context, w io.Writer, url string) error {
	told := url
	if len(url) > maxURLTold || !isASCII(url) {
		told = clip(url)
	}
	failed := &Error{Code: "BADURL " + string(appendString(nil, told)), Text: "the URL names nothing that can be had here"}
	if _, has, _ := cutFold(url, ";URLAUTH="); has != "" && c.offersURLAuth() { // RFC 4469 section 3
		return c.copyAuthURL(ctx, w, url, failed)
	}
	u, ok := parseURL(url, c.sess.Login.Account)
	if !ok {
		return failed
	}
	v := c.sel
	if u.mailbox != "" {
		var done func()
		var err error
		if v, done, err = c.openView(ctx, u.mailbox); err != nil {
			var e *Error
			if errors.As(err, &e) && e.Cause == nil {
				return failed
			}
			return err
		}
		defer done()
	}
	if v == nil || u.validity != 0 && u.validity != v.validity {
		return failed
	}
	var uids UIDSet
	uids.Add(u.uid)
	for m, err := range v.box.Fetch(ctx, uids.Intersect(v.uids), NeedParts|NeedContent) {
		if err != nil {
			return err
		}
		if m.UID == u.uid {
			if found, err := u.copy(ctx, w, m, int64(c.limits.HeaderOctets)); found || err != nil {
				return err
			}
		}
	}
	return failed
}

// copyAuthURL writes what an authorized URL names, of whose mailbox ever.
func (c *conn) copyAuthURL(ctx context.Context, w io.Writer, url string, failed error) error {
	found := false
	err := c.openURL(ctx, url, func(m *Message, u *messageURL) (err error) {
		found, err = u.copy(ctx, w, m, int64(c.limits.HeaderOctets))
		return err
	})
	if err == nil && !found {
		err = failed
	}
	return err
}
