package main

import (
	"fmt"
	"time"

	"github.com/samotop/samotop/internal/house"
	"github.com/samotop/samotop/management"
)

type contactCmd struct {
	Policy  contactPolicyCmd  `cmd:"" help:"Say, or show, who may write to an account."`
	List    contactListCmd    `cmd:"" help:"List the contacts of an account: who asked, who is approved, who is rejected."`
	Approve contactApproveCmd `cmd:"" help:"Let a sender, or all of a domain, write to an account."`
	Reject  contactRejectCmd  `cmd:"" help:"Refuse the mail of a sender, or of all of a domain."`
	Remove  contactRemoveCmd  `cmd:"" help:"Forget what was decided about a sender."`
	Suffix  contactSuffixCmd  `cmd:"" help:"Make an address at which one unknown sender may write for a time."`
}

type contactPolicyCmd struct {
	Address string `arg:"" help:"The account."`
	Policy  string `arg:"" optional:"" help:"open, show, ask or closed; without it the policy is shown."`
	jsonFlag
}

func (contactPolicyCmd) Help() string {
	return `  open    everyone may write, but who was rejected (as it is at first)
  show    mail of unknown senders goes to the folder Contacts/Unknown until they are decided about
  ask     unknown senders are put off, and appear in "samotop contact list"; once approved, their next attempt arrives
  closed  nobody may write who is not approved
To whom the owner writes is approved by that. Mail to postmaster and abuse always arrives. In a mail program the contacts
are the messages in Contacts/Pending, Contacts/Approved and Contacts/Rejected: to move one decides.

Example:
  samotop contact policy alice@example.org ask`
}

func (c *contactPolicyCmd) Run(e *env) error {
	var p management.Policy
	if err := e.call(house.Accounts, "contact/policy", management.PolicyArgs{Address: c.Address, Policy: c.Policy}, &p); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, p)
	}
	fmt.Fprintf(e.stdout, "Policy of %s: %s\n", p.Address, p.Policy)
	return nil
}

type contactListCmd struct {
	Address string `arg:"" help:"The account."`
	jsonFlag
}

func (contactListCmd) Help() string {
	return `Example:
  samotop contact list alice@example.org`
}

func (c *contactListCmd) Run(e *env) error {
	t := newTable(e.stdout, c.JSON, "sender\tstate\tfirst seen\tlast seen\tknown by", func(m management.Contact) string {
		last, by := "", "any mail"
		if !m.LastSeen.IsZero() {
			last = stamp(m.LastSeen)
		}
		switch {
		case m.Signed != "":
			by = "signature of " + m.Signed
		case m.Proven:
			by = "authentication of the domain"
		case m.Network != "":
			by = "network " + m.Network
		}
		state := m.State
		if !m.Expires.IsZero() {
			state += " until " + stamp(m.Expires)
		}
		return m.Sender + "\t" + state + "\t" + stamp(m.FirstSeen) + "\t" + last + "\t" + by
	})
	return t.end(each(e, house.Accounts, "contact/list", management.NameArgs{Name: c.Address}, t.add))
}

type contactApproveCmd struct {
	Address string        `arg:"" help:"The account."`
	Sender  string        `arg:"" help:"Who: an address, @DOMAIN for all of it, or list:ID for a mailing list."`
	For     time.Duration `help:"Only for this time, such as 24h." placeholder:"TIME"`
}

func (contactApproveCmd) Help() string {
	return `Example:
  samotop contact approve alice@example.org bob@example.net
  samotop contact approve alice@example.org @shop.example --for 48h`
}

func (c *contactApproveCmd) Run(e *env) error {
	return c.decide(e, "contact/approve", c.For)
}

func (c *contactApproveCmd) decide(e *env, verb string, expires time.Duration) error {
	if expires < 0 {
		return &house.UsageError{Text: "--for: the time is negative"}
	}
	var m management.Contact
	if err := e.call(house.Accounts, verb, management.ContactArgs{Address: c.Address, Sender: c.Sender, Expires: expires}, &m); err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "%s is %s\n", m.Sender, m.State)
	return nil
}

type contactRejectCmd struct {
	Address string `arg:"" help:"The account."`
	Sender  string `arg:"" help:"Who: an address, @DOMAIN for all of it, or list:ID for a mailing list."`
}

func (contactRejectCmd) Help() string {
	return `Example:
  samotop contact reject alice@example.org @spam.example`
}

func (c *contactRejectCmd) Run(e *env) error {
	return (&contactApproveCmd{Address: c.Address, Sender: c.Sender}).decide(e, "contact/reject", 0)
}

type contactRemoveCmd struct {
	Address string `arg:"" help:"The account."`
	Sender  string `arg:"" help:"Who: an address, @DOMAIN or list:ID."`
}

func (contactRemoveCmd) Help() string {
	return `Example:
  samotop contact remove alice@example.org bob@example.net`
}

func (c *contactRemoveCmd) Run(e *env) error {
	return e.call(house.Accounts, "contact/remove", management.ContactArgs{Address: c.Address, Sender: c.Sender}, nil)
}

type contactSuffixCmd struct {
	Address string        `arg:"" help:"The account."`
	For     time.Duration `help:"How long it is good, such as 24h; at most 720h." default:"1h" placeholder:"TIME"`
	jsonFlag
}

func (contactSuffixCmd) Help() string {
	return `For codes and receipts, which come from addresses that nobody knows before. Whoever writes to the address first may write to it
until the time is over, known by his domain; others, and everybody later, are judged as without it.

Example:
  samotop contact suffix alice@example.org --for 2h`
}

func (c *contactSuffixCmd) Run(e *env) error {
	if c.For <= 0 {
		return &house.UsageError{Text: "--for: say a time, such as 1h"}
	}
	var s management.Suffix
	if err := e.call(house.Accounts, "contact/suffix", management.SuffixArgs{Address: c.Address, For: c.For}, &s); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, s)
	}
	fmt.Fprintf(e.stdout, "%s is good for one sender until %s\n", s.Address, stamp(s.Until))
	return nil
}
