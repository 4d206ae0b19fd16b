package imap

import "context"

// Quotas is an Account with quotas (RFC 9208).
type Quotas interface {
	// QuotaRoots returns the quota roots that a mailbox counts for, which need not exist yet.
	QuotaRoots(ctx context.Context, mailbox string) ([]string, error)
	// Quota returns usage and limits of a root.
	Quota(ctx context.Context, root string) ([]QuotaResource, error)
	// SetQuota sets the limits of a root, those that are not named being lifted. Whoever may not gets NOPERM.
	SetQuota(ctx context.Context, root string, limits []QuotaResource) error
}

// QuotaResource is a resource of a quota root (RFC 9208 section 5): STORAGE in units of 1024 octets, MESSAGE, MAILBOX.
type QuotaResource struct {
	Name         string
	Usage, Limit int64
}

// Metadata is an Account with annotations of mailboxes and of the server (RFC 5464).
type Metadata interface {
	// Entries returns all entries of a mailbox, of the server for "", that the login may see, in name order. Names
	// are lower case and begin with /private/ or /shared/.
	Entries(ctx context.Context, mailbox string) ([]MetadataEntry, error)
	// SetEntries changes entries, all or none; a nil Value removes one. Errors carry METADATA TOOMANY, METADATA
	// MAXSIZE n, or NOPERM.
	SetEntries(ctx context.Context, mailbox string, entries []MetadataEntry) error
}

// MetadataEntry is one annotation.
type MetadataEntry struct {
	Name  string
	Value []byte
}

// ACLs is an Account with access control lists (RFC 4314). Rights are letters, of "lrswipkxtea".
type ACLs interface {
	ACL(ctx context.Context, mailbox string) ([]ACLEntry, error)
	// SetACL sets the rights of an identifier; "" removes it.
	SetACL(ctx context.Context, mailbox, identifier, rights string) error
	MyRights(ctx context.Context, mailbox string) (string, error)
	// ListRights returns the rights that the identifier always has, and the groups of those that can be given.
	ListRights(ctx context.Context, mailbox, identifier string) (always string, may []string, err error)
}

// ACLEntry is what an identifier may do; one that begins with "-" has negative rights.
type ACLEntry struct{ Identifier, Rights string }
