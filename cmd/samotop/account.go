package main

import (
	"fmt"

	"github.com/samotop/samotop/internal/house"
	"github.com/samotop/samotop/management"
)

type accountCmd struct {
	Add      accountAddCmd      `cmd:"" help:"Add an account."`
	List     accountListCmd     `cmd:"" help:"List accounts."`
	Show     accountShowCmd     `cmd:"" help:"Show an account and what it holds."`
	Set      accountSetCmd      `cmd:"" help:"Change an account."`
	Password accountPasswordCmd `cmd:"" help:"Set a new password."`
	Grant    accountGrantCmd    `cmd:"" help:"Let an account send as another address."`
	Revoke   accountRevokeCmd   `cmd:"" help:"Take that back."`
	Remove   accountRemoveCmd   `cmd:"" help:"Remove an account and its mail."`
}

type accountAddCmd struct {
	Address string `arg:"" help:"Its address, in a domain of the house."`
	Admin   bool   `help:"May look after the house, and gets the mail for postmaster."`
	Quota   int64  `help:"Octets of mail it may keep (default: no limit)." placeholder:"BYTES"`

	QuotaMessages int64 `help:"Messages it may keep (default: no limit)." placeholder:"N"`
	PlusFolders   bool  `help:"Mail to name+work goes to the folder work, which is made if need be."`
	passwordFlag
}

func (accountAddCmd) Help() string {
	return `Example:
  samotop account add bob@example.org --quota 5000000000`
}

func (c *accountAddCmd) Run(e *env) error {
	pw, err := c.read(e)
	if err != nil {
		return err
	}
	if err := notNegative(c.Quota, c.QuotaMessages); err != nil {
		return err
	}
	var a management.NewPassword
	if err := e.call(house.Accounts, "account/add", management.AccountArgs{Address: c.Address, Password: pw, Admin: c.Admin, Quota: c.Quota,
		QuotaMessages: c.QuotaMessages, PlusFolders: c.PlusFolders}, &a); err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "Account  %s\n", a.Address)
	if a.Password != "" {
		fmt.Fprintf(e.stdout, "Password %s\n", a.Password)
	}
	return nil
}

type accountListCmd struct {
	Domain string `arg:"" optional:"" help:"Only those of this domain."`
	jsonFlag
}

func (accountListCmd) Help() string {
	return `Example:
  samotop account list example.org --json`
}

func (c *accountListCmd) Run(e *env) error {
	t := newTable(e.stdout, c.JSON, "address\tadmin\tenabled\tquota\tcreated", func(a management.Account) string {
		return fmt.Sprintf("%s\t%s\t%s\t%s\t%s", a.Address, yesNo(a.Admin), yesNo(a.Enabled), quota(a.Quota), stamp(a.Created))
	})
	return t.end(each(e, house.Accounts, "account/list", management.NameArgs{Name: c.Domain}, t.add))
}

type accountShowCmd struct {
	Address string `arg:"" help:"Its address."`
	jsonFlag
}

func (accountShowCmd) Help() string {
	return `Example:
  samotop account show bob@example.org`
}

func (c *accountShowCmd) Run(e *env) error {
	var a management.Account
	if err := e.call(house.Accounts|house.Mails, "account/show", management.NameArgs{Name: c.Address}, &a); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, a)
	}
	fmt.Fprintf(e.stdout, "Address   %s\nAdmin     %s\nEnabled   %s\nQuota     %s\nCreated   %s\n",
		a.Address, yesNo(a.Admin), yesNo(a.Enabled), quotas(a), stamp(a.Created))
	if a.PlusFolders {
		fmt.Fprintln(e.stdout, "Folders   mail to name+work goes to the folder work")
	}
	lines(e.stdout, "Sends as  ", a.SendAs)
	if u := a.Usage; u != nil {
		fmt.Fprintf(e.stdout, "Messages  %d\nMailboxes %d\nUses      %s\n", u.Messages, u.Mailboxes, octets(u.Octets))
	}
	return nil
}

type accountSetCmd struct {
	Address string `arg:"" help:"Its address."`
	Admin   *bool  `help:"Make it an admin, or with --no-admin not." negatable:""`
	Enabled *bool  `help:"Let it log in and receive, or with --no-enabled not." negatable:""`
	Quota   *int64 `help:"Octets of mail it may keep; 0 for no limit." placeholder:"BYTES"`

	QuotaMessages *int64  `help:"Messages it may keep; 0 for no limit." placeholder:"N"`
	PlusFolders   *string `help:"on: mail to name+work goes to the folder work, which is made if need be; off: to INBOX." placeholder:"on|off" enum:"on,off"`
}

func notNegative(octets, messages int64) error {
	switch {
	case octets < 0:
		return &house.UsageError{Text: fmt.Sprintf("--quota %d: less than nothing", octets)}
	case messages < 0:
		return &house.UsageError{Text: fmt.Sprintf("--quota-messages %d: less than nothing", messages)}
	}
	return nil
}

// quotas says what an account may keep.
func quotas(a management.Account) string {
	switch {
	case a.QuotaMessages == 0:
		return quota(a.Quota)
	case a.Quota == 0:
		return fmt.Sprintf("%d messages", a.QuotaMessages)
	}
	return fmt.Sprintf("%s, %d messages", quota(a.Quota), a.QuotaMessages)
}

func (accountSetCmd) Help() string {
	return `Example:
  samotop account set bob@example.org --quota-messages 100000 --plus-folders on`
}

func (c *accountSetCmd) Run(e *env) error {
	args := management.SetArgs{Address: c.Address, Admin: c.Admin, Enabled: c.Enabled, Quota: c.Quota, QuotaMessages: c.QuotaMessages}
	if c.PlusFolders != nil {
		on := *c.PlusFolders == "on"
		args.PlusFolders = &on
	}
	if args == (management.SetArgs{Address: c.Address}) {
		return &house.UsageError{Text: "account set: nothing to change was given; see \"samotop account set --help\""}
	}
	var octets, messages int64
	if c.Quota != nil {
		octets = *c.Quota
	}
	if c.QuotaMessages != nil {
		messages = *c.QuotaMessages
	}
	if err := notNegative(octets, messages); err != nil {
		return err
	}
	return e.call(house.Accounts, "account/set", args, nil)
}

type accountPasswordCmd struct {
	Address string `arg:"" help:"Its address."`
	passwordFlag
}

func (accountPasswordCmd) Help() string {
	return `Example:
  samotop account password bob@example.org --password-file -`
}

func (c *accountPasswordCmd) Run(e *env) error {
	pw, err := c.read(e)
	if err != nil {
		return err
	}
	var a management.NewPassword
	if err := e.call(house.Accounts, "account/password", management.SetArgs{Address: c.Address, Password: &pw}, &a); err != nil {
		return err
	}
	if a.Password != "" {
		fmt.Fprintf(e.stdout, "Password %s\n", a.Password)
	}
	return nil
}

type accountRemoveCmd struct {
	Address string `arg:"" help:"Its address."`
}

func (accountRemoveCmd) Help() string {
	return `Nobody can log in to it, nothing is delivered to it any more, and its mail is deleted. Aliases that lead to it must
be removed first.

Example:
  samotop account remove bob@example.org`
}

func (c *accountRemoveCmd) Run(e *env) error {
	return e.call(house.Accounts|house.Mails|house.Guard, "account/remove", management.NameArgs{Name: c.Address}, nil)
}
