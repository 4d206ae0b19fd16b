package accounts

import (
	"context"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/publicsuffix"

	"github.com/samotop/samotop/mail"
)

// Content is what became known of a message when its content had come, about which Decide said Prove, Look or Apart.
type Content struct {
	To, Sender mail.Address
	First      Decision // what Decide said
	Signed     []string // domains whose DKIM signatures are good
	List       string   // List-Id (RFC 2919), without the angle brackets
	ListSigned []string // those of Signed whose signatures cover the List-Id: others say nothing about it
	Subject    string   // decoded
	Refers     []string // Message-IDs that it names, without the angle brackets: asked of reports only
}

// Limits of what is kept of content.
const (
	maxSubjectOctets = 200
	maxListOctets    = 255 // RFC 2919 section 3
	maxRefers        = 100
)

// Judgement after the content: a contact of the sender or of a mailing list lets it in or refuses it; what was learnt is
// kept with whoever waits. It may be asked again.
func (a *Accounts) Content(ctx context.Context, q Content) (Decision, error) {
	id, err := a.ownID(ctx, q.To)
	if err != nil {
		return Refuse, err
	}
	g, gated := a.contacts.gate(id)
	if !gated {
		return Accept, nil
	}
	if q.Sender.IsNull() {
		return a.reportContent(ctx, id, g, q.Refers)
	}
	list := cleanListID(q.List)
	if list != "" {
		d, err := a.listContent(ctx, id, list, &q)
		if err != nil || d != Later {
			return d, err
		}
	}
	name := NormalSender(q.Sender, q.To)
	by := signedFor(q.Signed, domainOf(name))
	if q.First == Prove {
		return proveContent(g, by), nil
	}
	a.contacts.latch.Lock()
	defer a.contacts.latch.Unlock()
	c, err := a.contact(ctx, id, name)
	if err != nil {
		return Refuse, err
	}
	if c != nil && c.State == Rejected {
		return Refuse, nil
	}
	if c == nil || c.State != Pending || g.policy == PolicyClosed || g.policy == PolicyOpen {
		return stranger(g.policy), nil
	}
	if err := a.learn(ctx, id, c, by, list, &q); err != nil {
		return Refuse, err
	}
	return stranger(g.policy), nil
}

// proveContent answers for who uses the name of a contact: by says whether the message proves that it is his. The owner has
// decided about that name and cannot be asked again, so what would be put off is refused.
func proveContent(g gate, by string) Decision {
	if by != "" {
		return Known
	}
	if d := stranger(g.policy); d != Later {
		return d
	}
	return Refuse
}

// signedFor is the domain that has signed for a sender's domain: the same, or one above it.
func signedFor(signed []string, domain string) string {
	domain = strings.ToLower(domain)
	for _, d := range signed {
		d = strings.ToLower(d)
		if d != "" && (domain == d || strings.HasSuffix(domain, "."+d)) {
			return d
		}
	}
	return ""
}

// signedByList is the domain that has signed the List-Id and is of the same organization as the list: nobody else can say that
// a message is of it.
func signedByList(q *Content, list string) string {
	if d := signedFor(q.ListSigned, list); d != "" {
		return d
	}
	org, err := publicsuffix.EffectiveTLDPlusOne(list)
	if err != nil {
		return ""
	}
	for _, d := range q.ListSigned {
		if d = strings.ToLower(d); d == org || strings.HasSuffix(d, "."+org) {
			return d
		}
	}
	return ""
}

// signedForList is who has signed for a list: the list's organization, or else that of the sender, which may be the list's server.
func signedForList(q *Content, list string) (by string, own bool) {
	if d := signedByList(q, list); d != "" {
		return d, true
	}
	return signedFor(q.ListSigned, q.Sender.Domain), false
}

// cleanListID is the name of a list; "" if it is not one. A stranger wrote it.
func cleanListID(s string) string {
	s = strings.ToLower(strings.TrimSpace(s))
	if len(s) > maxListOctets || !strings.Contains(s, ".") {
		return ""
	}
	for _, r := range s {
		if r > unicode.MaxASCII || r <= ' ' || strings.ContainsRune(`<>"'\@,;:()`, r) || r == 0x7f {
			return ""
		}
	}
	return s
}

// listContent answers for the mail of a list: Later where nothing was decided about it, or where its signature is missing. A
// rejected list is refused without a proof: nobody gains by taking its name.
func (a *Accounts) listContent(ctx context.Context, id uint64, list string, q *Content) (Decision, error) {
	a.contacts.latch.Lock()
	defer a.contacts.latch.Unlock()
	c, err := a.contact(ctx, id, listPrefix+list)
	switch {
	case err != nil:
		return Refuse, err
	case c == nil || c.State == Pending:
		return Later, nil
	case c.State == Rejected:
		return Refuse, nil
	case c.Signed != "" && slices.ContainsFunc(q.ListSigned, func(d string) bool { return strings.EqualFold(d, c.Signed) }):
		return Known, a.ofThatList(ctx, id, list, q)
	case c.Signed != "":
		return Later, nil
	}
	next := *c // approved by hand: the first mail signed by its own organization says by whom
	if next.Signed = signedByList(q, list); next.Signed == "" {
		return Later, nil
	}
	if err := a.putContact(ctx, id, c, next); err != nil {
		return Refuse, err
	}
	return Known, a.ofThatList(ctx, id, list, q)
}

// ofThatList notes that a sender who waits is the list's, so that it need not be shown. The latch is held.
func (a *Accounts) ofThatList(ctx context.Context, id uint64, list string, q *Content) error {
	c, err := a.contact(ctx, id, NormalSender(q.Sender, q.To))
	if err != nil || c == nil || c.State != Pending || c.List == list {
		return err
	}
	next := *c
	next.List, next.Read = list, true
	return a.putContact(ctx, id, c, next)
}

// learn keeps what the content told of a sender who waits. Mail of a list makes the list wait in his place, if it is signed:
// else it could not be told from others that say they are it. The latch is held.
func (a *Accounts) learn(ctx context.Context, id uint64, c *Contact, by, list string, q *Content) error {
	next := *c
	next.Read = true
	if next.Subject == "" {
		next.Subject = cleanSubject(q.Subject)
	}
	if next.Signed == "" {
		next.Signed = by
	}
	if list != "" {
		if d, own := signedForList(q, list); d != "" {
			waits, err := a.listWaits(ctx, id, list, d, own, &next)
			if err != nil {
				return err
			}
			if waits {
				next.List = list
			}
		}
	}
	if next == *c {
		return nil
	}
	return a.putContact(ctx, id, c, next)
}

// listWaits makes a list a contact that waits in place of its sender, and tells whether it does. Who takes a list's name
// first does not keep the list from it: one signature of the list's own organization is worth more than another's, and what
// somebody else signs waits as that sender.
func (a *Accounts) listWaits(ctx context.Context, id uint64, list, by string, own bool, sender *Contact) (bool, error) {
	c, err := a.contact(ctx, id, listPrefix+list)
	if err != nil || c != nil && c.State != Pending {
		return false, err
	}
	next := Contact{Sender: listPrefix + list, FirstSeen: sender.LastSeen, Signed: by, Subject: sender.Subject, Read: true}
	if c != nil {
		change := own && c.Signed != by && !ofOrganization(c.Signed, list)
		if c.Signed != by && !change {
			return false, nil
		}
		if !change && sender.LastSeen.Sub(c.LastSeen) < seenAgain {
			return true, nil
		}
		next = *c
		if change {
			next.Signed, next.Subject = by, sender.Subject
		}
	} else if err := a.makeRoom(ctx, id); err != nil {
		return false, err
	}
	next.LastSeen = sender.LastSeen
	next.Tries++
	if err := a.putContact(ctx, id, c, next); err != nil {
		return false, err
	}
	a.contacts.mu.Lock()
	a.contacts.pending[id]++
	a.contacts.mu.Unlock()
	return true, nil
}

// ofOrganization tells whether a domain that signed is of the organization of a list.
func ofOrganization(by, list string) bool {
	return signedByList(&Content{ListSigned: []string{by}}, list) != ""
}

// cleanSubject cuts a stranger's text and takes control characters out.
func cleanSubject(s string) string {
	s = strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?")))
	if len(s) <= maxSubjectOctets {
		return s
	}
	n := maxSubjectOctets
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// waits answers for a pending sender of a policy that puts off: Look, where the content may tell more than is known.
func (a *Accounts) waits(ctx context.Context, id uint64, g gate, c *Contact) (Decision, error) {
	switch {
	case c == nil:
	case c.List != "":
		list, err := a.contact(ctx, id, listPrefix+c.List)
		switch {
		case err != nil:
			return Refuse, err
		case list != nil && list.State == Rejected:
			return Refuse, nil
		case list != nil && list.State == Approved:
			return Look, nil
		}
	case g.policy == PolicyAsk && !c.Read && c.Tries > 0: // the second attempt: no flood comes so far
		return Look, nil
	}
	if g.lists {
		return Look, nil
	}
	return stranger(g.policy), nil
}
