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

// Waker is a Mailbox that can call a function in place of sending to Notify, so that nobody must wait for that.
type Waker interface {
	// Wake sets what is called when something became durable: from any goroutine, and it must not block. After Wake(nil) it is
	// not called any more.
	Wake(f func())
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

// ACLs is an Account with access control lists (RFC 4314). Rights are letters, of "lrswipkxtea". The backend checks them for
// each command, and answers NONEXISTENT where a mailbox may not be looked up, NOPERM where a right is missing.
type ACLs interface {
	ACL(ctx context.Context, mailbox string) ([]ACLEntry, error)
	// SetACL replaces the rights of an identifier, adds to them or takes from them; one that has none left is removed.
	SetACL(ctx context.Context, mailbox, identifier string, mode StoreMode, rights string) error
	MyRights(ctx context.Context, mailbox string) (string, error)
	// ListRights returns the rights that the identifier always has, and the groups of those that can be given.
	ListRights(ctx context.Context, mailbox, identifier string) (always string, may []string, err error)
}

// ACLEntry is what an identifier may do; one that begins with "-" has negative rights.
type ACLEntry struct{ Identifier, Rights string }

// Namespaces is an Account that also sees mailboxes of others (RFC 2342). Without it there are personal ones only.
type Namespaces interface {
	// Namespaces returns the prefixes of the mailboxes of other users and of those that are shared, each with the
	// separator at its end, such as "Other Users/"; "" where there are none.
	Namespaces() (others, shared string)
}

// Watcher is an Account of which a client can be told changes in all its mailboxes (RFC 5465, NOTIFY).
type Watcher interface {
	// Watch begins to collect events. The caller closes the Watch before the Account.
	Watch(ctx context.Context) (Watch, error)
}

// Watch collects what happens in the mailboxes that the login may see. It belongs to one session.
type Watch interface {
	// Notify gets a value whenever Events may have something to tell; it has room for one.
	Notify() <-chan struct{}
	// Events returns what happened since the last call, in order, changes of messages in one mailbox as few as they can be.
	// What this very Account did is left out (RFC 5465 section 5), but messages that it put into a mailbox may be told. Lost
	// says that more happened than was kept: the client is told NOTIFICATIONOVERFLOW then, and nothing more.
	Events(ctx context.Context) (events []Event, lost bool, err error)
	Close() error
}

// Event is something that happened to a mailbox or to an account.
type Event struct {
	Kind    EventKind
	Mailbox string   // its name after the event
	OldName string   // of EventRenamed
	Entries []string // of EventMetadata: names of the entries that changed or went, lower case
}

// EventKind is the kind of an Event (RFC 5465 section 5).
type EventKind uint8

const (
	EventMessageNew     EventKind = iota + 1 // messages arrived
	EventMessageExpunge                      // messages went
	EventFlagChange                          // flags changed, or UIDVALIDITY
	EventCreated                             // the mailbox exists now, or may be seen now
	EventDeleted                             // the mailbox is gone, or may not be seen any more
	EventRenamed                             // likewise of its children, of which nothing is told
	EventSubscription                        // it was subscribed or unsubscribed
	EventMetadata                            // entries of the mailbox, of the server for "", changed
)

// URLKeys is an Account whose mailboxes have access keys (RFC 4467 section 5), by which URLs are authorized.
type URLKeys interface {
	// URLKey returns the key of a mailbox, at least 16 octets that nobody can guess. One that is not there yet is made
	// if create says so, durably; else the key is nil. It goes with the mailbox: not to another one of the same name.
	URLKey(ctx context.Context, mailbox string, create bool) ([]byte, error)
	// ResetURLKey replaces the key of a mailbox; for "" all keys of the account are removed.
	ResetURLKey(ctx context.Context, mailbox string) error
	// Owner opens the account of another user, for reading what an authorized URL of his names: nothing is told of
	// it to the client before the URL is verified. NONEXISTENT if there is no such user. The result is a URLKeys too.
	Owner(ctx context.Context, user string) (Account, error)
}
