package house

import (
	"bytes"
	"context"
	"crypto/hmac"
	"encoding/base64"
	"errors"
	"slices"
	"strings"

	"github.com/samotop/samotop/accounts"
	"github.com/samotop/samotop/mailbox"
	"github.com/samotop/samotop/message"
)

// Programs that keep a local copy of the mail move a message by sending it anew to the other folder and deleting the old one
// (mbsync, offlineimap). What they send is known by the token in it, and becomes the message about the contact; whether the
// old one is deleted before or after that makes no difference in the end.

// cardHeaderOctets is how much of a message is looked at for contactField.
const cardHeaderOctets = 16 << 10

// appended takes messages that were sent into the folders of contacts as decisions, if the house has made them once.
func (d *contactDesk) appended(ctx context.Context, e *mailbox.Event) {
	state := slices.Index(contactFolders, e.To.Name)
	if state < 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, decideTime)
	defer cancel()
	for _, m := range e.Messages {
		name, err := d.contactOf(ctx, e.Owner, m.EmailID)
		if err == nil && name != "" {
			err = d.adopt(ctx, e.Owner, name, accounts.ContactState(state), m.EmailID)
		}
		if err != nil {
			d.owe(e.Owner)
			d.log.WarnContext(ctx, "a message sent to a folder of contacts decides nothing", "err", err)
		}
	}
}

// contactOf tells which contact a message is about; "": none.
func (d *contactDesk) contactOf(ctx context.Context, account uint64, email string) (string, error) {
	c, err := d.content(ctx, account, email)
	if errors.Is(err, mailbox.ErrNoMessage) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	text, err := c.Append(ctx, nil, 0, min(c.Size(), cardHeaderOctets))
	if err != nil {
		return "", err
	}
	return d.nameOf(account, text), nil
}

// nameOf reads contactField and believes it if the token is right.
func (d *contactDesk) nameOf(account uint64, text []byte) string {
	if i := bytes.Index(text, []byte("\r\n\r\n")); i >= 0 {
		text = text[:i+2]
	}
	h := message.ParseHeader(text)
	for _, v := range h.Values(contactField) {
		token, coded, _ := strings.Cut(string(v), " ")
		coded = strings.Map(func(r rune) rune { // a program may have folded it
			if r == ' ' || r == '\t' {
				return -1
			}
			return r
		}, coded)
		name, err := base64.RawURLEncoding.DecodeString(coded)
		if err == nil && hmac.Equal([]byte(token), []byte(d.cards.Token(account, string(name)))) {
			return string(name)
		}
	}
	return ""
}

// adopt makes a message the one about the contact, which then counts as moved.
func (d *contactDesk) adopt(ctx context.Context, account uint64, name string, state accounts.ContactState, email string) error {
	known, err := d.adoptKnown(ctx, account, name, state, email)
	switch {
	case errors.Is(err, mailbox.ErrNoCard):
		return nil // it was deleted or moved at this moment, or is the message already
	case err != nil || !known:
		return d.gone(err)
	}
	return d.gestures(ctx, account, []string{email})
}

// adoptKnown tells whether there was a message about the contact before. Where there was none, the contact is new or was
// forgotten: then the decision comes first.
func (d *contactDesk) adoptKnown(ctx context.Context, account uint64, name string, state accounts.ContactState, email string) (bool, error) {
	defer d.lock(account)()
	have, err := d.cards.Named(ctx, account, []string{name})
	if err != nil {
		return false, err
	}
	x := mailbox.CardChange{Name: name, State: int(state), Adopt: email}
	if len(have) > 0 {
		return true, d.cards.Change(ctx, account, []mailbox.CardChange{x})
	}
	page, err := d.rules.ContactPage(ctx, accounts.ContactRange{Account: account, Names: []string{name}})
	if err != nil || !page.Gated {
		return false, err
	}
	if err := d.rules.Judge(ctx, accounts.Verdict{Account: account, Sender: name, State: state}); err != nil {
		return false, err
	}
	d.log.InfoContext(ctx, "decided by sending a message", "account", page.Address, "contact", name, "state", state.String())
	return false, d.cards.Change(ctx, account, []mailbox.CardChange{x})
}
