package main

import (
	"fmt"

	"github.com/samotop/samotop/internal/house"
	"github.com/samotop/samotop/management"
)

type mailboxACLCmd struct {
	List   aclListCmd   `cmd:"" help:"List who may do what with a folder."`
	Grant  aclGrantCmd  `cmd:"" help:"Let somebody use a folder."`
	Revoke aclRevokeCmd `cmd:"" help:"Take somebody off the list of a folder."`
}

// aclFolder names a folder.
type aclFolder struct {
	Address string `arg:"" help:"Address of the folder's owner."`
	Folder  string `arg:"" help:"Name of the folder, as in IMAP."`
}

const aclHelp = `Others see the folder as "Other Users/ADDRESS/FOLDER" in their mail programs. Rights are letters: l lists it, r reads,
s keeps one's own marks of what was read, w sets other flags, i puts messages in, t marks for deletion, e removes what is
marked, k makes folders below, x renames and deletes it, a changes this list; p is kept and has no effect. The owner has
all of them, always. IDENTIFIER is an address, or "anyone" for whoever has an account; with - before it the rights are
taken away, whatever else gives them (write -- before such arguments).

`

type aclListCmd struct {
	aclFolder
	jsonFlag
}

func (aclListCmd) Help() string {
	return aclHelp + `Example:
  samotop mailbox acl list alice@example.org Work`
}

func (c *aclListCmd) Run(e *env) error {
	t := newTable(e.stdout, c.JSON, "who\trights", func(g management.FolderGrant) string { return g.Who + "\t" + g.Rights })
	return t.end(each(e, house.Accounts|house.Mails, "mailbox/acl-list", management.FolderGrantArgs{Address: c.Address, Folder: c.Folder}, t.add))
}

type aclGrantCmd struct {
	aclFolder
	Identifier string `arg:"" help:"Who: an address, or anyone."`
	Rights     string `arg:"" help:"Letters of lrswipkxtea; they replace what he had."`
}

func (aclGrantCmd) Help() string {
	return aclHelp + `Example:
  samotop mailbox acl grant alice@example.org Work bob@example.org lrs`
}

func (c *aclGrantCmd) Run(e *env) error {
	args := management.FolderGrantArgs{Address: c.Address, Folder: c.Folder, Who: c.Identifier, Rights: c.Rights}
	if err := e.call(house.Accounts|house.Mails, "mailbox/acl-set", args, nil); err != nil {
		return err
	}
	_, err := fmt.Fprintf(e.stdout, "%s of %s: %s has %s\n", c.Folder, c.Address, c.Identifier, c.Rights)
	return err
}

type aclRevokeCmd struct {
	aclFolder
	Identifier string `arg:"" help:"Who: an address, or anyone."`
}

func (aclRevokeCmd) Help() string {
	return `Whoever has the folder open loses it at once.

Example:
  samotop mailbox acl revoke alice@example.org Work bob@example.org`
}

func (c *aclRevokeCmd) Run(e *env) error {
	args := management.FolderGrantArgs{Address: c.Address, Folder: c.Folder, Who: c.Identifier}
	if err := e.call(house.Accounts|house.Mails, "mailbox/acl-set", args, nil); err != nil {
		return err
	}
	_, err := fmt.Fprintf(e.stdout, "%s of %s: %s has nothing any more\n", c.Folder, c.Address, c.Identifier)
	return err
}
