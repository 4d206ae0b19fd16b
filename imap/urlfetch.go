package imap

import (
	"context"
	"crypto/subtle"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/samotop/samotop/message"
)

// urlWant is what URLFETCH asks of one URL (RFC 5524 section 3.1).
type urlWant struct {
	url                     string
	extended                bool
	structure, body, binary bool
}

// cmdURLFetch: RFC 4467 section 7, RFC 5524. Each URL has an untagged answer of its own.
func (c *conn) cmdURLFetch(ctx context.Context, p *parser) error {
	if !c.offersURLAuth() {
		return errNoExtension
	}
	var wants []urlWant
	for {
		w, err := p.urlWant()
		if err != nil {
			return err
		}
		if wants = append(wants, w); p.atEnd() {
			break
		}
		if err := p.sp(); err != nil {
			return err
		}
		if err := p.tooMany(len(wants) * 100); err != nil {
			return err
		}
	}
	for i := range wants {
		if err := c.fetchURL(ctx, &wants[i]); err != nil {
			return err
		}
	}
	return nil
}

// urlWant reads one URL, with parameters if it stands in parentheses.
func (p *parser) urlWant() (w urlWant, err error) {
	paren := p.accept('(')
	raw, err := p.astring()
	if w.url = string(raw); err != nil || !paren {
		return w, err
	}
	for !p.accept(')') {
		if err := p.sp(); err != nil {
			return w, err
		}
		var on *bool
		switch name := p.word(); name {
		case "BODYPARTSTRUCTURE":
			on = &w.structure
		case "BODY":
			on = &w.body
		case "BINARY":
			on = &w.binary
		default:
			return w, bad("there is no URLFETCH parameter %s", clip(name))
		}
		if *on || w.body && on == &w.binary || w.binary && on == &w.body { // RFC 5524 section 3.1
			return w, bad("each parameter of URLFETCH stands once, and BODY not with BINARY")
		}
		*on, w.extended = true, true
	}
	return w, nil
}

// fetchURL answers for one URL. Whatever is wrong with it gives NIL, without a word why (RFC 4467 section 7).
func (c *conn) fetchURL(ctx context.Context, w *urlWant) error {
	c.begin()
	c.out = append(c.out, "* URLFETCH "...)
	c.out = appendString(c.out, w.url)
	c.out = append(c.out, ' ')
	answered := false
	err := c.openURL(ctx, w.url, func(m *Message, u *messageURL) (err error) {
		answered, err = c.tellURL(ctx, m, u, w)
		return err
	})
	if err != nil {
		return wireError(err) // part of the answer may be told: nothing else would be understood
	}
	if !answered {
		c.out = append(c.out, "NIL"...)
	}
	c.say()
	return c.spill()
}

// openURL verifies an authorized URL (RFC 4467 section 7) and gives its message to use, or does not call it.
func (c *conn) openURL(ctx context.Context, s string, use func(m *Message, u *messageURL) error) error {
	u, ok := parseAuthURL(s, true)
	if !ok || u.mechanism != mechInternal || !c.mayFetch(u.access) || !u.expire.IsZero() && time.Now().After(u.expire) {
		return nil
	}
	account := c.account
	if !u.owner.isOf(c.sess.Login.Account) {
		var err error
		for _, name := range u.owner.names() {
			if account, err = c.account.(URLKeys).Owner(ctx, name); err == nil || !isAnswer(err) {
				break
			}
		}
		if err != nil {
			return unlessAnswer(err)
		}
		defer account.Close()
	}
	keys, ok := account.(URLKeys)
	if !ok {
		return nil
	}
	key, err := keys.URLKey(ctx, u.mailbox, false)
	if err != nil || len(key) == 0 {
		return unlessAnswer(err)
	}
	if subtle.ConstantTimeCompare([]byte(u.sign(key)), []byte(strings.ToLower(u.token))) != 1 {
		return nil
	}
	box, err := account.Select(ctx, u.mailbox, true)
	if err != nil {
		return unlessAnswer(err)
	}
	defer box.Close()
	snap, err := box.Snapshot(ctx)
	if err != nil || u.validity != 0 && u.validity != snap.UIDValidity {
		return unlessAnswer(err)
	}
	return fetchOne(ctx, box, u.uid, func(m *Message) error { return use(m, &u.messageURL) })
}

// unlessAnswer passes errors of ours; what would be an answer to the client means that the URL names nothing.
func unlessAnswer(err error) error {
	if isAnswer(err) {
		return nil
	}
	return err
}

// fetchOne gives a message to use, if it is there.
func fetchOne(ctx context.Context, box Mailbox, uid UID, use func(m *Message) error) error {
	var uids UIDSet
	uids.Add(uid)
	for m, err := range box.Fetch(ctx, uids, NeedParts|NeedContent|NeedStructure) {
		if err != nil {
			return unlessAnswer(err)
		}
		if m.UID == uid {
			return use(m)
		}
	}
	return nil
}

// tellURL writes what is asked of a URL; false: it names no part of the message.
func (c *conn) tellURL(ctx context.Context, m *Message, u *messageURL, w *urlWant) (bool, error) {
	if sectioned := len(u.item.path) > 0 || u.item.text != textAll; sectioned {
		if _, ok := u.item.spanOf(m.Parts); !ok {
			return false, nil
		}
	}
	it := u.item
	if !w.extended {
		return true, c.fetchSection(ctx, m, &it)
	}
	decodable := w.binary && (&fetchPlan{items: []fetchItem{{kind: itemBinary, path: it.path}}}).checkEncodings(m) == nil
	sep := "("
	if w.structure {
		c.out = append(c.out, "(BODYPARTSTRUCTURE "...)
		if err := c.tellPartStructure(ctx, m, &it, decodable); err != nil {
			return true, err
		}
		c.out = append(c.out, ')')
		sep = " ("
	}
	switch {
	case w.body, w.binary && it.text != textAll: // headers have no transfer encoding
		c.out = append(c.out, sep...)
		c.out = append(c.out, map[bool]string{true: "BODY ", false: "BINARY "}[w.body]...)
		if err := c.fetchSection(ctx, m, &it); err != nil {
			return true, err
		}
		c.out = append(c.out, ')')
	case w.binary:
		c.out = append(c.out, sep+"BINARY "...)
		if !decodable { // RFC 5524 section 3.2
			c.out = append(c.out, "NIL)"...)
			break
		}
		it.kind = itemBinary
		if err := c.fetchBinary(ctx, m, &it); err != nil {
			return true, err
		}
		c.out = append(c.out, ')')
	}
	return true, nil
}

// tellPartStructure writes the structure of what a URL names as it is told, with its extension data (RFC 5259): without an encoding
// if it is decoded (RFC 5524 section 3.2).
func (c *conn) tellPartStructure(ctx context.Context, m *Message, it *fetchItem, decode bool) error {
	if len(it.path) == 0 && it.text == textAll {
		c.out = append(c.out, m.Structure...)
		return nil
	}
	sp, _ := it.spanOf(m.Parts)
	if it.text != textAll { // a header or a text by itself is no part: it is as plain as text can be
		c.out = append(c.out, `("text" "plain" ("charset" "us-ascii") NIL NIL "8bit" `...)
		c.out = strconv.AppendInt(c.out, sp.to-sp.from, 10)
		c.out = append(c.out, " 0 NIL NIL NIL NIL)"...)
		return nil
	}
	part := m.Parts.find(it.path)
	root, err := message.Parse(newContentReader(ctx, m.Content, part.HeaderStart, part.End), message.Limits{})
	if err != nil {
		return err
	}
	if decode && root.Type != "multipart" && root.Message == nil {
		r, _ := decoded(ctx, m, it)
		var count binaryCount
		if _, err := io.Copy(&count, r); err != nil {
			return err
		}
		// As it is told, with what that needs; lines are a matter of the encoded form, and there is none.
		root.Encoding, root.BodyStart, root.End, root.Lines = count.encoding(), 0, count.n, 0
	}
	c.out = AppendBodyStructure(c.out, root, true)
	return nil
}
