package mailbox

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/message"
	"github.com/samotop/samotop/store"
)

// Config is what a Mailbox needs. Engine and Directory must be set; zero means the default for everything else.
type Config struct {
	Engine    store.Engine // of the Mails database; the caller closes it after Close
	Directory Directory
	Clock     func() time.Time // default time.Now
	Rand      io.Reader        // makes the key of the house once; default crypto/rand
	Log       *slog.Logger     // default: nothing is logged
	Journal   mail.Journal     // told of each message that was delivered; default: each is a line of Log
	Limits    Limits
	Observer  Observer // told of changes; nil: nobody is
}

// Directory knows whose mailboxes there are. It is safe for concurrent use.
type Directory interface {
	// Lookup returns the owner of an address. One that nobody has gives ErrNoOwner, wrapped or not; a *mail.Reply is
	// passed on to the peer.
	Lookup(ctx context.Context, a mail.Address) (Owner, error)
}

// ErrNoOwner is the answer of a Directory for an address that nobody has: 550 5.1.1 to the peer.
var ErrNoOwner = errors.New("mailbox: no such owner")

// Owner is an account as the Mailbox sees it.
type Owner struct {
	ID            uint64 // never zero, never changed, never given to another
	Address       string // canonical
	QuotaOctets   int64  // of all messages together; 0: none
	QuotaMessages int64  // 0: none
	CreateFolders bool   // delivery to a folder that is not there makes it, instead of using INBOX
	PlusFolder    string // where mail to this very address goes when nobody names a folder; made if it is not there. Never one with a special use
}

// Limits bounds what one client or peer can make the room hold or do. A zero field stands for its default.
type Limits struct {
	MessageOctets   int64         // of one message in APPEND and delivery; default 256 MiB
	NameOctets      int           // of a whole mailbox name; default 512, at most 900
	NameDepth       int           // levels of a name; default 32
	Mailboxes       int           // of one account; default 10,000
	PlusFolders     int           // mailboxes of one account, from which on an Owner.PlusFolder makes no more; default 200
	Subscriptions   int           // of one account; default 20,000
	Keywords        int           // of one mailbox; default 1,000
	KeywordOctets   int           // of one keyword; default 255
	MessageKeywords int           // of one message; default 200
	CopyMessages    int           // of one COPY, which is one batch; default 25,000
	AppendMessages  int           // of one APPEND; default 1,000
	Recipients      int           // of one delivery; default 1,000
	LogRows         int           // of one mailbox, before the older half of its change log is forgotten; default 16,384
	StoreMessages   int           // changed by one batch of a STORE, EXPUNGE or MOVE; default 4,096
	PageMessages    int           // read in one View of a FETCH or SEARCH; default 512
	SummaryOctets   int           // of what is kept of a message's structure; default 1 MiB, at most 2 MiB
	HeaderRowOctets int           // of common header fields kept beside a message; default 8 KiB
	ColumnOctets    int64         // of flags and sort keys of mailboxes kept in memory for searches; default 64 MiB
	IndexEmails     int           // of one account that are not in the text index yet, before they are put into it; default 512
	IndexBacklog    int           // so many are put into the index even while mail comes in; default 4,096
	IndexOctets     int64         // of decoded text of one message, beyond which it is always looked into; default 16 MiB
	MetadataEntries int           // annotations of one mailbox, and of the server for one account; default 1,000
	MetadataOctets  int           // of the value of one annotation; default 64 KiB
	ACLEntries      int           // identifiers in the access control list of one mailbox; default 500
	WatchEvents     int           // kept for a session that watches all mailboxes; default 1,000
	Accounts        int           // idle accounts kept in memory; default 4,096
	DeliveryIDAge   time.Duration // ids are kept this long at least, and twice as long at most; default 7 days
	BodyGrace       time.Duration // from the last reference to the removal of a body; default 1 minute, negative: none
	Message         message.Limits
}

func (l Limits) withDefaults() Limits {
	orDefault(&l.MessageOctets, 256<<20)
	orDefault(&l.NameOctets, 512)
	l.NameOctets = min(l.NameOctets, 900)
	orDefault(&l.NameDepth, 32)
	orDefault(&l.Mailboxes, 10_000)
	orDefault(&l.PlusFolders, 200)
	orDefault(&l.Subscriptions, 20_000)
	orDefault(&l.Keywords, 1_000)
	orDefault(&l.KeywordOctets, 255)
	orDefault(&l.MessageKeywords, 200)
	orDefault(&l.CopyMessages, 25_000)
	orDefault(&l.AppendMessages, 1_000)
	orDefault(&l.Recipients, 1_000)
	orDefault(&l.LogRows, 16<<10)
	orDefault(&l.StoreMessages, 4096)
	orDefault(&l.PageMessages, 512)
	orDefault(&l.SummaryOctets, 1<<20)
	l.SummaryOctets = min(l.SummaryOctets, 2<<20)
	orDefault(&l.HeaderRowOctets, 8<<10)
	orDefault(&l.ColumnOctets, 64<<20)
	orDefault(&l.IndexEmails, 512)
	orDefault(&l.IndexBacklog, 4096)
	orDefault(&l.IndexOctets, 16<<20)
	orDefault(&l.MetadataEntries, 1000)
	orDefault(&l.MetadataOctets, 64<<10)
	orDefault(&l.ACLEntries, 500)
	orDefault(&l.WatchEvents, 1000)
	orDefault(&l.Accounts, 4096)
	orDefault(&l.DeliveryIDAge, 7*24*time.Hour)
	switch {
	case l.BodyGrace == 0:
		l.BodyGrace = time.Minute
	case l.BodyGrace < 0:
		l.BodyGrace = 0
	}
	return l
}

// maxRowsOctets is about the most that one change writes in rows, well below store.MaxBatchOctets.
const maxRowsOctets = 40 << 20

func orDefault[T ~int | ~int64](p *T, v T) {
	if *p <= 0 {
		*p = v
	}
}

func (c Config) withDefaults() Config {
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Journal == nil {
		c.Journal = mail.LogEvents(c.Log, nil)
	}
	c.Limits = c.Limits.withDefaults()
	return c
}
