package imap

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"strings"
	"time"
)

// mechInternal is the one mechanism of URL authorization (RFC 4467 section 6): the HMAC-SHA-256 of the URL up to the
// access identifier, under the key of the mailbox.
const mechInternal = "INTERNAL"

// authURL is a URL with an authorization (RFC 4467 section 3, RFC 5092 section 6.1).
type authURL struct {
	messageURL
	owner     urlOwner
	expire    time.Time // zero: never
	access    string    // lower-case kind with its "+", and for whom: "submit+fred", "user+fred", "authuser", "anonymous"
	mechanism string    // upper case; "" in a URL that is not authorized yet
	token     string
	rump      string // what the token authorizes
}

// parseAuthURL reads a URL with URLAUTH; authorized says whether mechanism and token must be there, or must not.
func parseAuthURL(s string, authorized bool) (u authURL, ok bool) {
	at := strings.LastIndex(upper([]byte(s)), ";URLAUTH=")
	if at < 0 || !isASCII(s) {
		return u, false
	}
	base, rest := s[:at], s[at+len(";URLAUTH="):]
	access, verifier, has := strings.Cut(rest, ":")
	if has != authorized {
		return u, false
	}
	if has {
		u.mechanism, u.token, has = strings.Cut(verifier, ":")
		if u.mechanism = strings.ToUpper(u.mechanism); !has || len(u.token) < 32 {
			return u, false
		}
	}
	u.rump = s[:len(s)-len(rest)+len(access)]
	if u.access, ok = parseAccess(access); !ok {
		return u, false
	}
	if i := strings.LastIndex(upper([]byte(base)), ";EXPIRE="); i >= 0 {
		t, err := time.Parse(time.RFC3339, strings.ToUpper(base[i+len(";EXPIRE="):]))
		if err != nil {
			return u, false
		}
		base, u.expire = base[:i], t
	}
	var path string
	if u.owner, path, ok = splitServer(base); !ok || u.owner.user == "" {
		return u, false
	}
	u.messageURL, ok = parsePath(path)
	return u, ok && u.mailbox != ""
}

// parseAccess reads an access identifier (RFC 4467 section 2, RFC 5092 section 6.1.1).
func parseAccess(s string) (string, bool) {
	kind, user, plus := strings.Cut(s, "+")
	kind = strings.ToLower(kind)
	switch {
	case !plus && (kind == "anonymous" || kind == "authuser"):
		return kind, true
	case plus && (kind == "submit" || kind == "user"):
		name, err := url.PathUnescape(user)
		return kind + "+" + name, err == nil && name != ""
	}
	return "", false
}

// urlOwner is whose mailbox a URL is of.
type urlOwner struct{ user, host string } // the user, "" if it does not say so, and the server without its port

// splitServer takes an absolute URL apart.
func splitServer(s string) (o urlOwner, path string, ok bool) {
	if len(s) <= 7 || !strings.EqualFold(s[:7], "imap://") {
		return o, "", false
	}
	server, path, _ := strings.Cut(s[7:], "/")
	at := strings.LastIndexByte(server, '@')
	o.host, _, _ = strings.Cut(server[at+1:], ":")
	if at < 0 {
		return o, "/" + path, true
	}
	user, _, _ := strings.Cut(server[:at], ";") // ;AUTH=
	var err error
	o.user, err = url.PathUnescape(user)
	return o, "/" + path, err == nil
}

// names are what the account may be called: the user, or, where users are called by addresses and the URL has the domain as
// its server, both together.
func (o urlOwner) names() [2]string { return [2]string{o.user, o.user + "@" + o.host} }

func (o urlOwner) isOf(account string) bool {
	names := o.names()
	return sameUser(names[0], account) || sameUser(names[1], account)
}

// sign makes the token of a URL.
func (u *authURL) sign(key []byte) string {
	h := hmac.New(sha256.New, key)
	_, _ = h.Write([]byte(u.rump)) // never fails (hash.Hash)
	return hex.EncodeToString(h.Sum(nil))
}

// sameUser compares user names as logins do, but for the case of letters.
func sameUser(a, b string) bool { return strings.EqualFold(a, b) }

// mayFetch reports whether this session is one that the access identifier names (RFC 4467 section 3).
func (c *conn) mayFetch(access string) bool {
	kind, user, _ := strings.Cut(access, "+")
	switch kind {
	case "anonymous", "authuser": // nobody is here without having logged in as somebody
		return true
	case "user":
		return sameUser(user, c.sess.Login.Account)
	}
	for _, s := range c.srv.Submitters { // "submit": a submission server asks, for the user it has verified
		if sameUser(s, c.sess.Login.Account) {
			return true
		}
	}
	return false
}

func (c *conn) offersURLAuth() bool {
	_, ok := c.account.(URLKeys)
	return ok && c.offers("URLAUTH")
}

// cmdGenURLAuth: RFC 4467 section 7, GENURLAUTH.
func (c *conn) cmdGenURLAuth(ctx context.Context, p *parser) error {
	if !c.offersURLAuth() {
		return errNoExtension
	}
	var urls []authURL
	for {
		raw, err := p.astring()
		if err == nil {
			err = p.sp()
		}
		if err != nil {
			return err
		}
		if w := p.word(); w != mechInternal {
			return no("", "there is no mechanism "+clip(w)+", only "+mechInternal)
		}
		u, ok := parseAuthURL(string(raw), false)
		if !ok {
			return bad("not an IMAP URL of a message that ends in ;URLAUTH= and for whom it is")
		}
		if !u.owner.isOf(c.sess.Login.Account) { // whether that user exists is not told
			return bad("the URL must be of your own mailbox, with your user name")
		}
		if urls = append(urls, u); p.atEnd() {
			break
		}
		if err := p.sp(); err != nil {
			return err
		}
		if err := p.tooMany(len(urls) * 100); err != nil {
			return err
		}
	}
	return c.tellGenerated(ctx, urls)
}

// tellGenerated answers GENURLAUTH.
func (c *conn) tellGenerated(ctx context.Context, urls []authURL) error {
	c.begin()
	line := []byte("* GENURLAUTH")
	for i := range urls {
		u := &urls[i]
		key, err := c.urlKey(ctx, u)
		if err != nil {
			return err
		}
		line = appendString(append(line, ' '), u.rump+":"+strings.ToLower(mechInternal)+":"+u.sign(key))
	}
	c.out = append(c.out, line...)
	c.say()
	return c.spill()
}

// urlKey gets the key for a URL of this account, made if need be (RFC 4467 section 7: no RESETKEY needs to come before).
func (c *conn) urlKey(ctx context.Context, u *authURL) ([]byte, error) {
	st, err := c.account.Status(ctx, u.mailbox)
	if err == nil && u.validity != 0 && u.validity != st.UIDValidity {
		err = bad("the mailbox has another UIDVALIDITY")
	}
	var key []byte
	if err == nil {
		key, err = c.account.(URLKeys).URLKey(ctx, u.mailbox, true)
	}
	if isAnswer(err) { // section 7: the mailbox has to exist
		return nil, bad("the URL names no mailbox that is here")
	}
	return key, err
}

// cmdResetKey: RFC 4467 section 7, RESETKEY.
func (c *conn) cmdResetKey(ctx context.Context, p *parser) error {
	if !c.offersURLAuth() {
		return errNoExtension
	}
	name := ""
	if p.accept(' ') {
		var err error
		if name, err = p.mailbox(); err != nil {
			return err
		}
		for p.accept(' ') {
			if w := p.word(); w != mechInternal {
				return no("", "there is no mechanism "+clip(w)+", only "+mechInternal)
			}
		}
	}
	if err := p.end(); err != nil {
		return err
	}
	if err := c.account.(URLKeys).ResetURLKey(ctx, name); err != nil {
		return err
	}
	c.code = "URLMECH " + mechInternal
	return nil
}
