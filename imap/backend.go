package imap

import (
	"context"
	"io"
	"iter"
	"time"

	"github.com/samotop/samotop/mail"
)

// Backend opens the mail of whoever has logged in. It is safe for concurrent use; what it opens belongs to one
// session.
type Backend interface {
	Open(ctx context.Context, s *mail.Session) (Account, error)
}

// Account is one session's access to the mailboxes its login may see. Names are UTF-8 in Unicode NFC, the hierarchy
// separator is "/", INBOX is written so in any case. Errors meant for the client are *Error.
type Account interface {
	Folders
	// Select opens a mailbox. With readOnly (EXAMINE) nothing changes, \Recent included.
	Select(ctx context.Context, name string, readOnly bool) (Mailbox, error)
	// Append begins one APPEND of one or more messages (RFC 3502): all of them or none.
	Append(ctx context.Context, name string) (Appender, error)
	Close() error
}

// Supporter is an Account that cannot do all that the contract has. Without it everything is offered.
type Supporter interface {
	// Supports reports whether what a capability needs is there: "OBJECTID" that EmailID, ThreadID and Folder.ID are
	// filled, "PREVIEW" that Preview is, "SAVEDATE" that SaveDate is, "QRESYNC" that Changes knows of expunges before
	// the session, and so on.
	Supports(capability string) bool
}

// Folders manages mailboxes. Every change is durable when the call returns.
type Folders interface {
	// List returns all mailboxes the login may see, and the subscribed names that do not exist, in name order.
	List(ctx context.Context) ([]Folder, error)
	// Status is answered from counters, in constant time.
	Status(ctx context.Context, name string) (Status, error)
	Create(ctx context.Context, name string, use []SpecialUse) (mailboxID string, err error)
	Delete(ctx context.Context, name string) error
	// Rename of INBOX moves its messages (RFC 3501 section 6.3.5). Children move along.
	Rename(ctx context.Context, from, to string) error
	Subscribe(ctx context.Context, name string, on bool) error
}

// SpecialUse is an attribute of RFC 6154, such as \Sent.
type SpecialUse string

const (
	UseAll       SpecialUse = `\All`
	UseArchive   SpecialUse = `\Archive`
	UseDrafts    SpecialUse = `\Drafts`
	UseFlagged   SpecialUse = `\Flagged`
	UseJunk      SpecialUse = `\Junk`
	UseSent      SpecialUse = `\Sent`
	UseTrash     SpecialUse = `\Trash`
	UseImportant SpecialUse = `\Important` // RFC 8457
)

// Folder is a mailbox as LIST shows it.
type Folder struct {
	Name        string
	ID          string // MAILBOXID (RFC 8474)
	Use         []SpecialUse
	Subscribed  bool
	NonExistent bool // only a subscription, or only the parent of other mailboxes
	NoSelect    bool
	NoInferiors bool
}

// Status holds what STATUS and SELECT tell.
type Status struct {
	ID            string
	UIDValidity   uint32
	UIDNext       UID
	Messages      uint32
	Recent        uint32
	Unseen        uint32
	Deleted       uint32
	Size          int64
	DeletedSize   int64 // of the messages that are \Deleted (RFC 9208 section 4.1.4)
	HighestModSeq ModSeq
}

// UID is a unique identifier (RFC 3501 section 2.3.1.1). Zero is none.
type UID uint32

// ModSeq is a modification sequence (RFC 7162). Zero is none.
type ModSeq uint64

// Mailbox is one session's selected mailbox. All its methods work on UIDs; sequence numbers are the server's own
// affair. Messages that have gone meanwhile are passed over silently.
type Mailbox interface {
	// Snapshot returns the mailbox as it is now; a read-write selection takes the recent messages for itself.
	Snapshot(ctx context.Context) (*Snapshot, error)
	// Changes returns what happened after since. It costs nothing when nothing happened.
	Changes(ctx context.Context, since ModSeq) (*Changes, error)
	// Notify gets a value whenever Changes may have something to tell; it has room for one.
	Notify() <-chan struct{}
	Messages
	Close() error
}

// Snapshot is the state of a mailbox at one moment.
type Snapshot struct {
	Status
	UIDs        UIDSet   // of all messages
	RecentUIDs  UIDSet   // \Recent in this session
	FirstUnseen UID      // 0: all are seen
	Keywords    []string // in use or defined
	MaxKeywords bool     // no new keyword can be made: PERMANENTFLAGS without \*
	ReadOnly    bool
	Rights      string // letters of RFC 4314: what the login may do here; "": everything
}

// Changes is what happened to a mailbox between two modseqs.
type Changes struct {
	ModSeq   ModSeq // now
	New      UIDSet // arrived, all above what was there
	Recent   UIDSet // of New, those that are \Recent in this session
	Vanished UIDSet // expunged; may name UIDs that the session never saw
	Flags    []FlagChange
	UIDNext  UID
	Gone     bool   // the mailbox was deleted, may not be read any more, or its UIDVALIDITY changed
	Rights   string // as in Snapshot
	NewKeys  bool   // the access keys of the mailbox were reset by its owner, whose session this is, since the last call (RFC 4467 section 7)
}

// FlagChange is the present state of a message whose flags changed.
type FlagChange struct {
	UID    UID
	ModSeq ModSeq
	Flags  Flags
}

// Flags of one message: the system flags as bits, keywords by name.
type Flags struct {
	System   SystemFlags
	Keywords []string // as first spelt, sorted; must not be changed
}

// SystemFlags is a set of system flags (RFC 3501 section 2.3.2) but \Recent, which belongs to the session.
type SystemFlags uint8

const (
	FlagSeen SystemFlags = 1 << iota
	FlagAnswered
	FlagFlagged
	FlagDeleted
	FlagDraft
)

// Messages reads and changes the messages of a mailbox. Every change is durable when the call returns.
type Messages interface {
	// Fetch yields the messages of the set in UID order with at least what need asks for. Nothing is locked and no
	// snapshot is open while the loop body runs. A Message is valid until the next step.
	Fetch(ctx context.Context, uids UIDSet, need Need) iter.Seq2[*Message, error]
	Store(ctx context.Context, uids UIDSet, change StoreChange) (StoreResult, error)
	// Expunge removes the messages of the set that are \Deleted; a nil set stands for all.
	Expunge(ctx context.Context, uids UIDSet) (UIDSet, error)
	// Copy and Move put the messages at the end of another mailbox of the account: all or none. Errors carry
	// TRYCREATE if it does not exist, OVERQUOTA if there is no room.
	Copy(ctx context.Context, uids UIDSet, to string, move bool) (CopyResult, error)
	// Search answers SEARCH, SORT and THREAD.
	Search(ctx context.Context, q *Query) (*SearchResult, error)
}

// StoreChange is the change of STORE.
type StoreChange struct {
	Mode           StoreMode
	Flags          Flags
	UnchangedSince *ModSeq // RFC 7162 section 3.1.3
}

// StoreMode is how flags change.
type StoreMode uint8

const (
	StoreReplace StoreMode = iota
	StoreAdd
	StoreRemove
)

// StoreResult is what STORE did: the messages of the set as they now are, and those that failed UNCHANGEDSINCE.
type StoreResult struct {
	Stored   []FlagChange
	Modified UIDSet
}

// CopyResult tells COPYUID (RFC 4315): Source and Dest correspond in order.
type CopyResult struct {
	UIDValidity  uint32
	Source, Dest UIDSet
}

// Need says what Fetch must fill in; UID, ModSeq and Flags always are.
type Need uint16

const (
	NeedDates     Need = 1 << iota // InternalDate, SaveDate
	NeedSize                       // Size
	NeedIDs                        // EmailID, ThreadID
	NeedEnvelope                   // Envelope
	NeedStructure                  // Body, BodyStructure
	NeedParts                      // Parts
	NeedHeader                     // Header
	NeedContent                    // Content
	NeedPreview                    // Preview
)

// Message is a message as FETCH and SEARCH see it.
type Message struct {
	UID          UID
	ModSeq       ModSeq
	Flags        Flags
	InternalDate time.Time
	SaveDate     time.Time
	Size         int64
	EmailID      string
	ThreadID     string
	Preview      string
	Envelope     []byte // the parenthesised list as it goes on the wire, made by AppendEnvelope at delivery
	Body         []byte // BODY, made by AppendBodyStructure at delivery
	Structure    []byte // BODYSTRUCTURE, likewise
	// Header is the message's header, as stored, with the empty line that ends it. With NeedHeader a backend may
	// leave out fields that it does not keep beside the message if HeaderPartial is set; the server asks Content then.
	Header        []byte
	HeaderPartial bool
	HeaderFields  []string // lower-case names of the fields that a partial Header holds all of: these need no Content
	// HeaderOmits tells of a field name, lower case, whether a partial Header may lack fields of it; all others need no
	// Content, even where there are none. Nil: only HeaderFields is known.
	HeaderOmits func(name string) bool
	Parts       *Part   // byte ranges of all parts
	Content     Content // the whole message: trace fields and body as one
}

// Content reads a message by ranges.
type Content interface {
	Size() int64
	// Append appends n octets from offset off to dst, fewer at the end of the message.
	Append(ctx context.Context, dst []byte, off, n int64) ([]byte, error)
}

// Part is one part of a message with its byte ranges, from the beginning of the message: header is
// [HeaderStart, BodyStart), body is [BodyStart, End). The root is the message itself.
type Part struct {
	HeaderStart, BodyStart, End int64
	Lines                       int64  // of the body
	Type, Subtype               string // lower case
	Charset, Encoding           string // lower case
	Name                        string // file name, decoded, for searching
	Message                     *Part  // of a message/rfc822 or message/global part: the message inside, whose ranges are of the outermost message
	Children                    []Part // of a multipart
}

// Appender takes the messages of one APPEND.
type Appender interface {
	// Next begins a message and returns where its content goes; the one before is complete then.
	Next(ctx context.Context, o AppendOptions) (io.Writer, error)
	// Commit makes all of them durable at once.
	Commit(ctx context.Context) (AppendResult, error)
	Abort() error
}

// AppendOptions goes with one message of APPEND.
type AppendOptions struct {
	Flags Flags
	Date  time.Time // zero: now
	Size  int64     // octets announced by the literal, -1 if unknown
	UTF8  bool      // came as UTF8 literal (RFC 6855)
	// Binary says that the message came as literal8 (RFC 3516) and may hold NUL. Parts declared as binary are BASE64 by
	// then; it may be stored like any other.
	Binary bool
}

// AppendResult tells APPENDUID (RFC 4315).
type AppendResult struct {
	UIDValidity uint32
	UIDs        UIDSet
}

// Query is SEARCH, SORT or THREAD with sequence numbers already turned into UIDs.
type Query struct {
	Within   UIDSet    // the session's view: nothing else may be found
	Criteria *Criteria // nil: all
	Sort     []SortKey // SORT if not empty: Ordered is filled
	Thread   string    // THREAD algorithm, "" if none: Threads is filled
}

// SearchResult answers a Query.
type SearchResult struct {
	UIDs    UIDSet
	Ordered []UID
	Threads []Thread
	ModSeq  ModSeq // highest of the messages found
}

// Thread is a node of THREAD's answer: UID 0 is a missing parent.
type Thread struct {
	UID      UID
	Children []Thread
}

// Error is an answer meant for the client: "NO [Code] Text" (or BAD).
type Error struct {
	Bad   bool
	Code  string // response code without brackets, "" for none: "TRYCREATE", "OVERQUOTA", "NONEXISTENT"
	Text  string
	Cause error // for our log
}

func (e *Error) Error() string {
	s := "NO "
	if e.Bad {
		s = "BAD "
	}
	if e.Code != "" {
		s += "[" + e.Code + "] "
	}
	s += e.Text
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Cause }
