package imap

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/samotop/samotop/accept"
	"github.com/samotop/samotop/mail"
)

// capabilities lists what holds in this state of the session (RFC 9051 section 7.2.2).
func (c *conn) capabilities() string {
	var b strings.Builder
	b.WriteString("IMAP4rev1")
	if c.offers("IMAP4rev2") {
		b.WriteString(" IMAP4rev2")
	}
	add := func(names ...string) {
		for _, n := range names {
			if c.offers(n) {
				b.WriteByte(' ')
				b.WriteString(n)
			}
		}
	}
	if c.srv.LiteralMinus {
		add("LITERAL-")
	} else {
		add("LITERAL+")
	}
	add("SASL-IR", "ID", "ENABLE", "LANGUAGE")
	if c.state == stateNot {
		if c.srv.TLSConfig != nil && c.sess.TLS == nil {
			add("STARTTLS")
		}
		if !c.loginAllowed() {
			b.WriteString(" LOGINDISABLED")
		}
		for _, m := range c.mechanisms() {
			add("AUTH=" + m)
		}
		return b.String()
	}
	add("IDLE", "NAMESPACE", "UIDPLUS", "MOVE", "UNSELECT", "CHILDREN", "SPECIAL-USE", "ESEARCH", "LIST-EXTENDED",
		"LIST-STATUS", "STATUS=SIZE", "CONDSTORE", "QRESYNC", "WITHIN", "SEARCHRES", "SORT", "SORT=DISPLAY", "ESORT",
		"THREAD=ORDEREDSUBJECT", "THREAD=REFERENCES", "MULTIAPPEND", "BINARY", "OBJECTID", "SAVEDATE", "PREVIEW",
		"CREATE-SPECIAL-USE", "UTF8=ACCEPT", "PARTIAL", "UIDONLY", "REPLACE", "UNAUTHENTICATE", "INPROGRESS", "I18NLEVEL=1",
		"SEARCH=FUZZY", "MULTISEARCH", "CATENATE", "CONTEXT=SEARCH", "CONTEXT=SORT")
	if c.offersNotify() {
		add("NOTIFY")
	}
	if c.offersURLAuth() {
		add("URLAUTH", "URLAUTH=BINARY")
	}
	if c.limits.CommandMessages > 0 && c.offers("MESSAGELIMIT") {
		b.WriteString(" MESSAGELIMIT=" + strconv.Itoa(c.limits.CommandMessages))
	}
	if _, ok := c.account.(Quotas); ok {
		add("QUOTA", "QUOTA=RES-STORAGE", "QUOTA=RES-MESSAGE", "QUOTASET")
	}
	if _, ok := c.account.(ACLs); ok {
		add("ACL", "RIGHTS=kxte", "LIST-MYRIGHTS")
	}
	if _, ok := c.account.(Metadata); ok {
		add("METADATA", "METADATA-SERVER", "LIST-METADATA", "FILTERS")
	}
	if c.offers("APPENDLIMIT") {
		b.WriteString(" APPENDLIMIT=" + strconv.FormatInt(c.limits.MessageOctets, 10))
	}
	if !c.compress {
		add("COMPRESS=DEFLATE")
	}
	return b.String()
}

// offers reports whether a capability has not been disabled, by the owner or for want of support by the backend.
func (c *conn) offers(name string) bool {
	if s, ok := c.account.(Supporter); ok && !s.Supports(name) {
		return false
	}
	for _, d := range c.srv.Disable {
		if strings.EqualFold(d, name) {
			return false
		}
	}
	return true
}

// plaintextLoopback: the peer is on this machine and the owner said that this is channel enough.
func (c *conn) plaintextLoopback() bool {
	return c.srv.PlaintextLoopback && c.sess.TLS == nil && accept.Address(c.sess.RemoteAddr).IsLoopback()
}

func (c *conn) loginAllowed() bool {
	return c.srv.Auth != nil && c.srv.Backend != nil && (c.sess.TLS != nil || c.plaintextLoopback())
}

// mechanisms lists the SASL mechanisms that are offered now.
func (c *conn) mechanisms() []string {
	if c.srv.Auth == nil || c.srv.Backend == nil {
		return nil
	}
	list := c.srv.Auth.Mechanisms(&c.sess)
	if !c.plaintextLoopback() {
		return list
	}
	for _, m := range c.srv.Auth.Mechanisms(c.asProtected()) {
		if isPlaintext(m) && !contains(list, m) {
			list = append(list[:len(list):len(list)], m)
		}
	}
	return list
}

// asProtected is the session as it would be if its channel were protected: how an Authenticator is told that PLAIN
// is in order on loopback.
func (c *conn) asProtected() *mail.Session {
	s := c.sess
	s.TLS = &tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true}
	return &s
}

// isPlaintext tells the mechanisms that show a password or a token to whoever listens.
func isPlaintext(mechanism string) bool {
	switch mechanism {
	case "PLAIN", "LOGIN", "OAUTHBEARER", "XOAUTH2":
		return true
	}
	return false
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// cmdID: RFC 2971. What the client tells goes to the log.
func (c *conn) cmdID(p *parser) error {
	var told []any
	if !p.acceptWord("NIL") {
		if err := p.expect('('); err != nil {
			return err
		}
		for n := 0; !p.accept(')'); n++ {
			if n > 0 {
				if err := p.sp(); err != nil {
					return err
				}
			}
			if n == maxIDFields {
				return bad("ID takes at most %d fields (RFC 2971 section 3.3)", maxIDFields)
			}
			name, err := p.str()
			if err == nil {
				err = p.sp()
			}
			var value []byte
			if err == nil {
				value, err = p.nstring()
			}
			if err != nil {
				return err
			}
			if len(name) > 30 || len(value) > 1024 {
				return bad("ID field names have at most 30 octets, values 1024 (RFC 2971 section 3.3)")
			}
			told = append(told, strings.ToLower(clip(string(name))), clip(string(value)))
		}
	}
	if err := p.end(); err != nil {
		return err
	}
	c.srv.log().Debug("imap: client", append([]any{"session", c.sess.ID}, told...)...)
	ours := c.srv.ID
	if ours == nil {
		ours = []ServerID{{"name", "samotop"}}
	}
	c.begin()
	c.out = append(c.out, "* ID ("...)
	for i, f := range ours {
		if i > 0 {
			c.out = append(c.out, ' ')
		}
		c.out = appendString(c.out, f.Name)
		c.out = append(c.out, ' ')
		c.out = appendNString(c.out, f.Value)
	}
	c.say(")")
	return nil
}

const maxIDFields = 30 // RFC 2971 section 3.3

// cmdEnable: RFC 5161. What cannot be enabled is passed over in silence.
func (c *conn) cmdEnable(p *parser) error {
	var done []string
	for n := 1; ; n++ {
		a, err := p.atom()
		if err != nil {
			return err
		}
		if name := upper(a); c.enable(name) {
			if name == "IMAP4REV2" {
				name = "IMAP4rev2"
			}
			done = append(done, name)
		}
		if p.atEnd() {
			break
		}
		if err := p.sp(); err != nil {
			return err
		}
		if err := p.tooMany(n); err != nil {
			return err
		}
	}
	c.say(strings.Join(append([]string{"* ENABLED"}, done...), " "))
	return nil
}

// enable turns a capability on; false if it is not one that can be.
func (c *conn) enable(name string) bool {
	on, ok := enableable[name]
	if !ok || !c.offers(name) && !(name == "IMAP4REV2" && c.offers("IMAP4rev2")) {
		return false
	}
	c.mode |= on
	return true
}

// enableable are the capabilities that ENABLE turns on, and what else they imply.
var enableable = map[string]mode{
	"CONDSTORE":   modeCondstore,
	"QRESYNC":     modeQresync | modeCondstore, // RFC 7162 section 3.2.3
	"UTF8=ACCEPT": modeUTF8,
	"IMAP4REV2":   modeRev2,
	"UIDONLY":     modeUIDOnly,
}

// cmdStartTLS: RFC 9051 section 6.2.1.
func (c *conn) cmdStartTLS(ctx context.Context) error {
	if c.sess.TLS != nil {
		return bad("TLS is up already")
	}
	if c.srv.TLSConfig == nil {
		return no("CANNOT", "TLS is not available")
	}
	c.drop() // whatever came before the handshake came in the clear: it is never run
	c.tagged("OK", "", "begin TLS now")
	if err := c.flush(); err != nil {
		return err
	}
	if err := c.handshake(ctx); err != nil {
		return wireError(err)
	}
	c.drop()
	return errAnswered
}

// cmdLogin: RFC 9051 section 6.2.3. It is SASL PLAIN in other clothes.
func (c *conn) cmdLogin(ctx context.Context, p *parser) error {
	user, err := p.astring()
	if err == nil {
		err = p.sp()
	}
	if err != nil {
		return err
	}
	pass, err := p.astring()
	if err == nil {
		err = p.end()
	}
	if err != nil {
		return err
	}
	if !c.loginAllowed() {
		return no("PRIVACYREQUIRED", "passwords are taken only under TLS")
	}
	if strings.IndexByte(string(user), 0) >= 0 || strings.IndexByte(string(pass), 0) >= 0 {
		return bad("user name and password cannot hold NUL")
	}
	if len(user) == 0 || len(pass) == 0 { // SASL PLAIN has no words for it (RFC 4616 section 2)
		return c.loginFailed(ctx, mail.ErrCredentials)
	}
	response := append(append(append([]byte{0}, user...), 0), pass...)
	x, err := c.startAuth(ctx, "PLAIN")
	if err == nil {
		var done bool
		if _, done, err = x.Next(ctx, response); err == nil && !done {
			err = mail.ErrExchange
		}
	}
	if err != nil {
		return c.loginFailed(ctx, err)
	}
	return c.loggedIn(ctx, x.Identity())
}

func (c *conn) startAuth(ctx context.Context, mechanism string) (mail.Exchange, error) {
	if c.srv.Auth == nil || c.srv.Backend == nil {
		return nil, mail.ErrMechanism
	}
	s := &c.sess
	if isPlaintext(mechanism) && c.plaintextLoopback() {
		s = c.asProtected()
	}
	return c.srv.Auth.Start(ctx, s, mechanism)
}

// cmdAuthenticate: RFC 9051 section 6.2.2, with the initial response of RFC 4959.
func (c *conn) cmdAuthenticate(ctx context.Context, p *parser) error {
	mechanism := p.word()
	var response []byte
	if p.accept(' ') {
		var err error
		if response, err = decodeResponse(p.b[p.i:]); err != nil {
			return err
		}
		p.i = len(p.b)
	}
	if err := p.end(); err != nil || mechanism == "" {
		return bad("AUTHENTICATE takes a mechanism and an initial response")
	}
	if isPlaintext(mechanism) && !c.loginAllowed() {
		return no("PRIVACYREQUIRED", "passwords are taken only under TLS")
	}
	x, err := c.startAuth(ctx, mechanism)
	if err != nil {
		return c.loginFailed(ctx, err)
	}
	for {
		challenge, done, err := x.Next(ctx, response)
		if err != nil {
			return c.loginFailed(ctx, err)
		}
		if done && challenge == nil {
			return c.loggedIn(ctx, x.Identity())
		}
		if response, err = c.challenge(challenge); err != nil {
			return err
		}
		if done { // the server's final message was sent as a challenge: its response is empty and says nothing
			return c.loggedIn(ctx, x.Identity())
		}
	}
}

// challenge sends a challenge and reads the response.
func (c *conn) challenge(challenge []byte) ([]byte, error) {
	c.begin()
	c.out = append(c.out, '+', ' ')
	c.out = base64.StdEncoding.AppendEncode(c.out, challenge)
	c.say()
	if err := c.flush(); err != nil {
		return nil, err
	}
	line, err := c.line(nil, c.limits.LoginOctets)
	if errors.Is(err, errLineTooLong) {
		return nil, bad("response is longer than %d octets", c.limits.LoginOctets)
	}
	if err != nil {
		return nil, err
	}
	if string(line) == "*" { // RFC 9051 section 6.2.2
		return nil, bad("authentication cancelled")
	}
	return decodeResponse(line)
}

// decodeResponse decodes BASE64; "=" is an empty initial response (RFC 4959 section 3).
func decodeResponse(b []byte) ([]byte, error) {
	if string(b) == "=" {
		return []byte{}, nil
	}
	out, err := base64.StdEncoding.Strict().DecodeString(string(b))
	if err != nil || strings.ContainsAny(string(b), "\r\n") {
		return nil, bad("response is not BASE64")
	}
	if out == nil {
		out = []byte{}
	}
	return out, nil
}

// loginFailed answers a login that did not succeed, after a while (RFC 5530 for the codes).
func (c *conn) loginFailed(ctx context.Context, err error) error {
	var r *mail.Reply
	switch {
	case errors.Is(err, mail.ErrMechanism):
		return no("CANNOT", "authentication mechanism is not available")
	case errors.Is(err, mail.ErrExchange):
		return bad("authentication response is malformed")
	case errors.As(err, &r) && r.Temporary():
		return &Error{Code: "UNAVAILABLE", Text: r.Text, Cause: r.Cause}
	case errors.As(err, &r):
		err = &Error{Code: "AUTHENTICATIONFAILED", Text: r.Text, Cause: r.Cause}
	case errors.Is(err, mail.ErrCredentials):
		err = no("AUTHENTICATIONFAILED", "user name or password is wrong")
	default:
		return err
	}
	if c.limits.LoginDelay > 0 {
		select {
		case <-time.After(c.limits.LoginDelay):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if c.failures++; c.failures >= c.limits.LoginFailures {
		if ferr := c.finish(err); ferr != nil {
			return ferr
		}
		return bye("too many failed logins")
	}
	return err
}

// loggedIn opens the account.
func (c *conn) loggedIn(ctx context.Context, id mail.Identity) error {
	c.sess.Login, c.sess.Stage = id, mail.StageAuth
	acct, err := c.srv.Backend.Open(ctx, &c.sess)
	if err != nil {
		c.sess.Login = mail.Identity{}
		return err
	}
	c.account, c.state, c.before = acct, stateAuth, time.Time{}
	c.srv.log().Info("imap: login", "session", c.sess.ID, "remote", c.sess.RemoteAddr, "account", id.Account,
		"mechanism", id.Mechanism)
	c.code, c.text = "CAPABILITY "+c.capabilities(), "logged in"
	return nil
}
