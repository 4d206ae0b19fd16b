package imap

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/samotop/samotop/mail"
)

// state of a session (RFC 9051 section 3).
type state uint8

const (
	stateNot      state = 1 << iota // not authenticated
	stateAuth                       // authenticated
	stateSelected                   // a mailbox is selected
	stateLogout                     // over
)

// mode is what the client has enabled.
type mode uint8

const (
	modeCondstore mode = 1 << iota // RFC 7162
	modeQresync                    // RFC 7162 section 3.2.3
	modeUTF8                       // RFC 6855
	modeRev2                       // RFC 9051
	modeUIDOnly                    // RFC 9586
)

// conn is one connection with its session.
type conn struct {
	wire
	srv    *Server
	limits Limits
	ctx    context.Context // of the connection, which outlives each of its goroutines
	cancel context.CancelFunc

	sess     mail.Session
	state    state
	mode     mode
	account  Account
	sel      *selected
	saved    UIDSet // result of the last SEARCH RETURN (SAVE) (RFC 5182)
	compress bool
	notify   *notification // what NOTIFY asked for; nil: it was not used

	cmd        []byte // the command at hand
	tag        string
	lit        *literalHead // the message literal that the command at hand ends in
	code, text string       // of the tagged OK
	tellModSeq bool         // the OK carries HIGHESTMODSEQ
	limited    string       // response code: not all messages were worked on (RFC 9738)
	bads       int          // BAD answers in a row
	failures   int          // failed logins

	idling  bool   // in IDLE
	unwatch func() // ends watching; nil: nothing is watched
	rested  bool   // this goroutine has done nothing but wait
}

// interrupt tells the connection that the server stops.
func (c *conn) interrupt() { c.poke() }

// open begins the session, up to the greeting.
func (c *conn) open() error {
	c.state = stateNot
	c.sess = mail.Session{
		ID: c.srv.newID(), Service: c.srv.Service, LocalAddr: c.nc.LocalAddr(), RemoteAddr: c.nc.RemoteAddr(), Start: time.Now(),
	}
	c.awaitLogin()
	if c.sess.Service == "" {
		c.sess.Service = "mailbox"
	}
	if c.srv.ImplicitTLS {
		if err := c.handshake(c.ctx); err != nil {
			return err
		}
	}
	c.greet()
	return nil
}

// close ends the connection: what it holds is given back.
func (c *conn) close() {
	c.endWatching()
	c.cleanup(c.ctx)
	c.cancel()
	c.srv.gate.Leave(c)
	_ = c.nc.Close()
}

// awaitLogin begins the time for the login.
func (c *conn) awaitLogin() { c.before = c.sess.Start.Add(c.limits.LoginTimeout) }

func (c *conn) greet() {
	host := c.srv.Hostname
	if host != "" {
		host += " "
	}
	c.say("* OK [CAPABILITY ", c.capabilities(), "] ", host, "ready")
}

// cleanup gives back what the session holds.
func (c *conn) cleanup(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	c.unselect()
	c.endNotify()
	if c.account != nil {
		if err := c.account.Close(); err != nil {
			c.srv.log().WarnContext(ctx, "imap: closing account failed", "session", c.sess.ID, "err", err)
		}
		c.account = nil
	}
}

// farewell says BYE where the peer may still hear it.
func (c *conn) farewell(err error) {
	switch {
	case errors.Is(err, errDrain):
		c.say("* BYE [UNAVAILABLE] server is stopping, please come back")
	case isTimeout(err) && c.state == stateNot:
		c.say("* BYE login took too long")
	case isTimeout(err):
		c.say("* BYE idle for too long")
	case errors.Is(err, errBye):
		c.say("* BYE ", strings.TrimPrefix(err.Error(), errBye.Error()+": "))
	}
}

var (
	errDrain = errors.New("imap: server stopping")
	errBye   = errors.New("imap: bye")
)

func bye(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errBye}, args...)...)
}

func (c *conn) handshake(ctx context.Context) error {
	if c.srv.TLSConfig == nil {
		return errors.New("imap: no TLS configuration")
	}
	ctx, cancel := context.WithTimeout(ctx, c.limits.LoginTimeout)
	defer cancel()
	t := tls.Server(c.nc, c.srv.TLSConfig)
	if err := t.HandshakeContext(ctx); err != nil {
		return err
	}
	cs := t.ConnectionState()
	c.mu.Lock() // poke uses nc
	c.nc = t
	c.mu.Unlock()
	c.rd, c.wr, c.sess.TLS = t, t, &cs
	return nil
}

// step reads one command and answers it.
func (c *conn) step(ctx context.Context) error {
	if !c.buffered() {
		switch err := c.await(ctx); {
		case errors.Is(err, errRest):
			return err
		case err != nil && c.idling:
			return c.endIdle(ctx, err)
		case err != nil:
			return err
		}
	}
	if c.idling {
		return c.endIdle(ctx, nil)
	}
	var err error
	c.cmd, err = c.readCommand(c.pool.get(&c.pool.line, inOctets))
	defer c.releaseCommand()
	c.begin()
	switch {
	case errors.Is(err, errAnswered):
		return c.err
	case err != nil:
		return err
	}
	return c.run(ctx)
}

// releaseCommand gives the buffer of the command back: IDLE does so before it waits.
func (c *conn) releaseCommand() {
	c.pool.put(&c.pool.line, c.cmd)
	c.cmd = nil
}

// errAnswered: the command was answered already.
var errAnswered = errors.New("imap: answered")

// readCommand reads a command with its literals, up to the message literal of APPEND, which stays with c.lit.
func (c *conn) readCommand(buf []byte) ([]byte, error) {
	c.lit = nil
	if !c.buffered() { // a poke
		return buf, errAnswered
	}
	limit := c.limits.CommandOctets
	if c.state == stateNot {
		limit = min(limit, c.limits.LoginOctets)
	}
	return c.readMore(buf, limit)
}

// readMore reads lines and literals until the command is whole or stands before a message literal.
func (c *conn) readMore(buf []byte, limit int) ([]byte, error) {
	for {
		start := len(buf)
		var err error
		if buf, err = c.line(buf, limit); err != nil {
			if errors.Is(err, errLineTooLong) {
				return buf, c.overrun(buf, nil, fmt.Sprintf("command is longer than %d octets", limit))
			}
			return buf, err
		}
		h, _, ok := parseLiteralHead(buf[start:])
		if !ok {
			return buf, nil
		}
		tag, verb, perr := c.peekVerb(buf)
		if perr == nil {
			perr = c.literalAllowed(h)
		}
		if perr != nil {
			return buf, c.refuse(tag, h, perr)
		}
		if takesMessage(verb) {
			if is, err := c.atMessage(buf); err != nil {
				return buf, c.refuse(tag, h, err)
			} else if is {
				c.lit = &h
				return buf, nil
			}
		}
		if h.size > int64(limit-len(buf)-2) {
			return buf, c.overrun(buf, &h, fmt.Sprintf("command with its literals is longer than %d octets", limit))
		}
		if !h.nonSyn {
			c.say("+ OK")
			if err := c.flush(); err != nil {
				return buf, err
			}
		}
		buf = append(buf, '\r', '\n')
		if buf, err = c.literal(buf, h.size); err != nil {
			return buf, err
		}
	}
}

// minusOctets is the most of a non-synchronizing literal under LITERAL- (RFC 7888 section 5).
const minusOctets = 4096

// literalAllowed refuses non-synchronizing literals that LITERAL- does not allow.
func (c *conn) literalAllowed(h literalHead) error {
	if c.srv.LiteralMinus && h.nonSyn && h.size > minusOctets {
		return &Error{Bad: true, Code: "TOOBIG", Text: fmt.Sprintf("literals of more than %d octets must wait for the continuation", minusOctets)}
	}
	return nil
}

// overrun answers a command that is too long.
func (c *conn) overrun(buf []byte, h *literalHead, why string) error {
	tag, _, _ := c.peekVerb(buf)
	e := &Error{Bad: true, Code: "TOOBIG", Text: why}
	if h == nil {
		h = &literalHead{}
	}
	return c.refuse(tag, *h, e)
}

// refuse answers a command whose literal is not wanted. One that is sent without waiting is read and thrown away, or
// the connection ends (RFC 7888 section 4).
func (c *conn) refuse(tag string, h literalHead, cause error) error {
	if err := c.skip(h, c.limits.SkipOctets, cause); err != nil {
		return err
	}
	c.tag = tag
	if err := c.finish(cause); err != nil {
		return err
	}
	return errAnswered
}

// skip reads over a non-synchronizing literal and what is left of its command, which fails for cause, if the literals have at
// most left octets.
func (c *conn) skip(h literalHead, left int64, cause error) error {
	for h.nonSyn {
		if left -= h.size; left < 0 {
			code, why := "TOOBIG", ""
			if e := (*Error)(nil); errors.As(cause, &e) {
				why = ": " + e.Text
				if e.Code != "" {
					code = e.Code
				}
			}
			return bye("[%s] literal is too large to be read over%s", code, why)
		}
		if err := c.octets(h.size, func([]byte) error { return nil }); err != nil {
			return err
		}
		line, err := c.line(nil, c.limits.CommandOctets)
		if err != nil && !errors.Is(err, errLineTooLong) {
			return err
		}
		var ok bool
		if h, _, ok = parseLiteralHead(line); !ok {
			return nil
		}
	}
	return nil
}

// peekVerb reads tag and verb of a command and says whether it may be used now.
func (c *conn) peekVerb(buf []byte) (tag, verb string, err error) {
	p := parser{b: buf, l: &c.limits}
	if tag, err = p.tag(); err != nil {
		return "*", "", err
	}
	if verb, err = p.verb(); err != nil {
		return tag, "", err
	}
	return tag, verb, c.allowed(verb)
}

// tag reads a tag: an astring without "+" (RFC 3501 section 9).
func (p *parser) tag() (string, error) {
	start := p.i
	for p.i < len(p.b) && p.i-start < maxTagOctets && p.b[p.i] != '+' && (isAtomChar(p.b[p.i]) || p.b[p.i] == ']') {
		p.i++
	}
	if p.i == start || p.peek() != ' ' && !p.atEnd() {
		return "*", bad("command has no tag")
	}
	t := string(p.b[start:p.i])
	return t, nil
}

const maxTagOctets = 200

// verb reads the name of the command, "UID FETCH" as one.
func (p *parser) verb() (string, error) {
	if err := p.sp(); err != nil {
		return "", bad("command has no name")
	}
	v := p.word()
	if v == "UID" && p.accept(' ') {
		v += " " + p.word()
	}
	if v == "" {
		return "", bad("command has no name")
	}
	return v, nil
}

// run executes the command at hand and answers it.
func (c *conn) run(ctx context.Context) error {
	p := &parser{b: c.cmd, l: &c.limits, utf8: c.mode&(modeUTF8|modeRev2) != 0}
	var verb string
	var err error
	c.code, c.text, c.limited, c.tellModSeq = "", "", "", false
	if c.tag, err = p.tag(); err == nil {
		verb, err = p.verb()
	}
	if err == nil {
		err = c.allowed(verb)
	}
	if err == nil {
		before, box := c.mode, c.sel
		err = c.exec(ctx, verb, p)
		if c.mode&^before&modeCondstore != 0 && c.sel != nil && c.sel == box { // RFC 7162 section 3.1: what enables it is answered by
			c.say("* OK [HIGHESTMODSEQ ", strconv.FormatUint(uint64(max(c.sel.modseq, 1)), 10), "] highest")
		}
	}
	if c.idling {
		return c.err
	}
	return c.complete(ctx, verb, err)
}

// complete tells what is new and answers the command.
func (c *conn) complete(ctx context.Context, verb string, err error) error {
	if c.text == "" {
		c.text = verb + " completed"
	}
	if c.sel != nil && c.state == stateSelected {
		if serr := c.syncAfter(ctx, verb); serr != nil && err == nil {
			err = serr
		}
		if c.tellModSeq && c.sel != nil && c.mode&modeQresync != 0 {
			c.code = "HIGHESTMODSEQ " + strconv.FormatUint(uint64(c.sel.modseq), 10)
		}
	}
	if err == nil {
		c.tellLimited()
	}
	return c.finish(err)
}

// finish writes the tagged answer. It returns an error if the connection must end.
func (c *conn) finish(err error) error {
	c.begin()
	var e *Error
	switch {
	case errors.Is(err, errBye), c.err != nil, isIO(err):
		return err
	case errors.Is(err, errAnswered):
		return c.err
	case err == nil:
		c.bads = 0
		c.tagged("OK", c.code, c.text)
	case errors.As(err, &e):
		status := "NO"
		if e.Bad {
			status = "BAD"
		}
		if e.Cause != nil {
			c.srv.log().Warn("imap: command failed", "session", c.sess.ID, "account", c.sess.Login.Account, "err", err)
		}
		c.tagged(status, e.Code, e.Text)
		if e.Bad {
			return c.countBad()
		}
	case errors.Is(err, context.Canceled):
		return err
	default:
		c.srv.log().Error("imap: command failed", "session", c.sess.ID, "account", c.sess.Login.Account, "err", err)
		c.tagged("NO", "UNAVAILABLE", "temporary local problem, please try again later")
	}
	return c.err
}

func (c *conn) countBad() error {
	if c.bads++; c.bads >= c.limits.Errors {
		return bye("too many commands that make no sense")
	}
	return c.err
}

func (c *conn) tagged(status, code, text string) {
	tag := c.tag
	if tag == "" {
		tag = "*"
	}
	if code != "" {
		code = "[" + code + "] "
	}
	if text == "" {
		text = "done"
	}
	c.say(tag, " ", status, " ", code, strings.Map(printable, text))
}

// printable keeps texts to the one line of ASCII that resp-text is.
func printable(r rune) rune {
	if r < ' ' || r > '~' {
		return '?'
	}
	return r
}

// isIO reports whether err came from the connection, so that there is no use in answering.
func isIO(err error) bool { return errors.Is(err, errWire) }

// errWire wraps errors of the connection.
var errWire = errors.New("imap: connection")

func wireError(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", errWire, err)
}
