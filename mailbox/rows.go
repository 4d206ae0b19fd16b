package mailbox

import (
	"encoding/binary"
	"time"

	"github.com/samotop/samotop/imap"
)

// Every row begins with its version. Integers are varints, signed ones zigzag, but where a width is given; strings
// and lists are preceded by their length.
//
//	a  version, flags (1: being purged), last S, E, M, UIDVALIDITY, octets, messages, mailboxes; if there are cards,
//	   their octets and messages
//	C, D  cards.go
//	x  version, UIDVALIDITY, UIDNEXT, S, messages, unseen, deleted, octets, octets deleted, first recent UID,
//	   horizon of the log, rows of the log, object id, S of creation, special uses (bits), name to the end
//	k  version, names: the keyword's number is its place
//	u  version, three sets: empty (0), runs (1, count, gap and length each), bits (2, 512 octets)
//	m  version, system flags (8 bit), S, S - S of arrival, seconds of INTERNALDATE, its zone in minutes,
//	   seconds of SAVEDATE - seconds of INTERNALDATE, octets, E, keyword numbers to the end
//	y  version, algorithm, wrapped key, E (64 bit), T (64 bit), H (32 octets), octets of the body, trace prefix,
//	   then what all recipients share: preview, envelope, BODY, BODYSTRUCTURE, parts
//	h  version, flags (1: fields other than bulky ones are left out too), decoded texts (sortkeys.go; empty if too long),
//	   fields to the end
//	o  sort keys (sortkeys.go)
//	c  version, set of UIDs whose flags changed, vanished: count, UID - last UID and E each, every UID below this one went,
//	   then, if a viewer's own \Seen changed: his account, set of UIDs
//	e  version, T, H (32 octets), S of arrival, hashes of ids (8 octets each), places: M and U each
//	i  version, T, count
//	F, f  index.go
//	p  version, value to the end
//	l  version, S when it was made, as text
//	w  version, address of the owner, count; flags (1: negative), account (0: anyone), rights (bits), address each
//	j  version
//	q  version, runs: gap, length and whether seen (lowest bit), S
//	b  version, algorithm, generation, octets; then the engine's Ref
const (
	rowVersion = 1
	maxUID     = 1<<32 - 1
)

// Algorithms of the body's row and of the summary. Encryption at rest adds to them.
const algorithmPlain = 0

type accountRow struct {
	Purging     bool
	S           modSeq
	Email       emailID
	Box         boxID
	UIDValidity uint32
	Octets      int64
	Messages    int64
	Boxes       uint32

	FreeOctets, FreeMessages int64 // of cards, which do not count for the quota
}

func (r *accountRow) appendTo(b []byte) []byte {
	flags := byte(0)
	if r.Purging {
		flags |= 1
	}
	b = append(b, rowVersion, flags)
	for _, v := range [...]uint64{r.S, uint64(r.Email), uint64(r.Box), uint64(r.UIDValidity), uint64(r.Octets), uint64(r.Messages), uint64(r.Boxes)} {
		b = binary.AppendUvarint(b, v)
	}
	if r.FreeOctets != 0 || r.FreeMessages != 0 {
		b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(r.FreeOctets)), uint64(r.FreeMessages))
	}
	return b
}

func decodeAccount(b []byte) (r accountRow, err error) {
	d := decoderOf(b)
	d.version()
	r.Purging = d.Byte()&1 != 0
	r.S, r.Email, r.Box, r.UIDValidity = d.Uint(), emailID(d.Uint()), boxID(d.Uint()), uint32(d.Uint())
	r.Octets, r.Messages, r.Boxes = int64(d.Uint()), int64(d.Uint()), uint32(d.Uint())
	if len(d.B) > 0 {
		r.FreeOctets, r.FreeMessages = int64(d.Uint()), int64(d.Uint())
	}
	return r, d.err("an account")
}

type boxRow struct {
	UIDValidity uint32
	UIDNext     uid
	S           modSeq
	Messages    uint32
	Unseen      uint32
	Deleted     uint32
	Octets      int64
	DeletedSize int64 // octets of the messages that are \Deleted
	RecentFrom  uid
	Horizon     modSeq // the log is complete for changes after it
	LogRows     uint64
	Object      uint64
	Created     modSeq
	Use         uint16
	Name        string
}

// boxRoom is the room that a mailbox's row needs beside its name.
const boxRoom = 1 + 14*10

func (r *boxRow) appendTo(b []byte) []byte {
	b = append(b, rowVersion)
	for _, v := range [...]uint64{uint64(r.UIDValidity), uint64(r.UIDNext), r.S, uint64(r.Messages), uint64(r.Unseen), uint64(r.Deleted),
		uint64(r.Octets), uint64(r.DeletedSize), uint64(r.RecentFrom), r.Horizon, r.LogRows, r.Object, r.Created, uint64(r.Use)} {
		b = binary.AppendUvarint(b, v)
	}
	return append(b, r.Name...)
}

func decodeBox(b []byte) (r boxRow, err error) {
	d := decoderOf(b)
	d.version()
	r.UIDValidity, r.UIDNext, r.S = uint32(d.Uint()), uid(d.Uint()), d.Uint()
	r.Messages, r.Unseen, r.Deleted = uint32(d.Uint()), uint32(d.Uint()), uint32(d.Uint())
	r.Octets, r.DeletedSize, r.RecentFrom = int64(d.Uint()), int64(d.Uint()), uid(d.Uint())
	r.Horizon, r.LogRows, r.Object, r.Created = d.Uint(), d.Uint(), d.Uint(), d.Uint()
	r.Use = uint16(d.Uint())
	r.Name = string(d.B)
	return r, d.err("a mailbox")
}

// smallRow is what changes of a message, and what is asked for most.
type smallRow struct {
	System   imap.SystemFlags
	S        modSeq
	Arrived  modSeq
	Date     int64 // unix seconds
	Zone     int32 // minutes east
	Saved    int64 // unix seconds
	Size     int64
	Email    emailID
	Keywords []byte // numbers as varints, ascending
}

func (r *smallRow) appendTo(b []byte) []byte {
	b = append(b, rowVersion, byte(r.System))
	b = binary.AppendUvarint(b, r.S)
	b = binary.AppendUvarint(b, r.S-r.Arrived)
	b = binary.AppendVarint(b, r.Date)
	b = binary.AppendVarint(b, int64(r.Zone))
	b = binary.AppendVarint(b, r.Saved-r.Date)
	b = binary.AppendUvarint(b, uint64(r.Size))
	b = binary.AppendUvarint(b, uint64(r.Email))
	return append(b, r.Keywords...)
}

// smallRoom is enough for a small row without keywords.
const smallRoom = 2 + 10 + 10 + 10 + 5 + 10 + 10 + 10

// decodeSmall keeps Keywords as a part of b.
func decodeSmall(b []byte) (r smallRow, err error) {
	d := decoderOf(b)
	d.version()
	r.System = imap.SystemFlags(d.Byte())
	r.S = d.Uint()
	r.Arrived = r.S - d.Uint()
	r.Date = d.Int()
	r.Zone = int32(d.Int())
	r.Saved = r.Date + d.Int()
	r.Size = int64(d.Uint())
	r.Email = emailID(d.Uint())
	r.Keywords = d.B
	return r, d.err("a message")
}

func (r *smallRow) internalDate() time.Time {
	t := time.Unix(r.Date, 0)
	if r.Zone == 0 {
		return t.UTC()
	}
	return t.In(time.FixedZone("", int(r.Zone)*60))
}

func (r *smallRow) setDate(t time.Time) {
	_, offset := t.Zone()
	r.Date, r.Zone = t.Unix(), int32(offset/60)
}

// summaryRow is what never changes of a message. Shared is the part that is the same for all recipients.
type summaryRow struct {
	Email, Thread emailID
	Hash          bodyHash
	Body          int64 // octets
	Prefix        []byte
	Shared        []byte
}

// summaryRoom is the room that a summary needs beside Prefix and Shared.
const summaryRoom = 3 + 8 + 8 + 32 + 10 + 10

func (r *summaryRow) appendTo(b []byte) []byte {
	b = append(b, rowVersion, algorithmPlain, 0)
	b = binary.BigEndian.AppendUint64(b, uint64(r.Email))
	b = binary.BigEndian.AppendUint64(b, uint64(r.Thread))
	b = append(b, r.Hash[:]...)
	b = binary.AppendUvarint(b, uint64(r.Body))
	b = appendBytes(b, r.Prefix)
	return append(b, r.Shared...)
}

// decodeSummary keeps Prefix and Shared as parts of b.
func decodeSummary(b []byte) (r summaryRow, err error) {
	d := decoderOf(b)
	d.version()
	if d.Byte() != algorithmPlain {
		d.Fail()
	}
	d.Bytes()
	if ids := d.Take(16 + 32); ids != nil {
		r.Email = emailID(binary.BigEndian.Uint64(ids))
		r.Thread = emailID(binary.BigEndian.Uint64(ids[8:]))
		copy(r.Hash[:], ids[16:])
	}
	r.Body = int64(d.Uint())
	r.Prefix = d.Bytes()
	r.Shared = d.B
	return r, d.err("a summary")
}

// headerRoom is the room that a header row needs beside its fields and keys.
const headerRoom = 2 + 5

type place struct {
	Box boxID
	UID uid
}

type emailRow struct {
	Thread  emailID
	Hash    bodyHash
	Arrived modSeq
	IDs     []msgIDHash
	Places  []place
}

func (r *emailRow) room() int { return 1 + 10 + 32 + 10 + 20 + 8*len(r.IDs) + 10*len(r.Places) }

func (r *emailRow) appendTo(b []byte) []byte {
	b = binary.AppendUvarint(append(b, rowVersion), uint64(r.Thread))
	b = append(b, r.Hash[:]...)
	b = binary.AppendUvarint(b, r.Arrived)
	b = binary.AppendUvarint(b, uint64(len(r.IDs)))
	for i := range r.IDs {
		b = append(b, r.IDs[i][:]...)
	}
	b = binary.AppendUvarint(b, uint64(len(r.Places)))
	for _, p := range r.Places {
		b = binary.AppendUvarint(b, uint64(p.Box))
		b = binary.AppendUvarint(b, uint64(p.UID))
	}
	return b
}

func decodeEmail(b []byte) (r emailRow, err error) {
	d := decoderOf(b)
	d.version()
	r.Thread = emailID(d.Uint())
	copy(r.Hash[:], d.Take(32))
	r.Arrived = d.Uint()
	r.IDs = make([]msgIDHash, d.Count(8))
	for i := range r.IDs {
		copy(r.IDs[i][:], d.Take(8))
	}
	n := d.Count(2)
	r.Places = make([]place, n, n+1) // COPY adds one
	for i := range r.Places {
		r.Places[i] = place{boxID(d.Uint()), uid(d.Uint())}
	}
	return r, d.err("an email")
}

type msgIDRow struct {
	Thread emailID
	Count  uint64
}

func (r *msgIDRow) appendTo(b []byte) []byte {
	b = binary.AppendUvarint(append(b, rowVersion), uint64(r.Thread))
	return binary.AppendUvarint(b, r.Count)
}

func decodeMsgID(b []byte) (r msgIDRow, err error) {
	d := decoderOf(b)
	d.version()
	r.Thread, r.Count = emailID(d.Uint()), d.Uint()
	return r, d.err("a Message-ID")
}

type goneMessage struct {
	UID   uid
	Email emailID
}

// logRow is one entry of the change log.
type logRow struct {
	Flags imap.UIDSet
	Gone  []goneMessage // in UID order
	All   uid           // every UID below it is gone; their emails live on elsewhere (RENAME of INBOX)

	Viewer accountID   // for whom alone the flags of these changed; 0: nobody
	Own    imap.UIDSet // whose own \Seen changed
}

func (r *logRow) empty() bool {
	return len(r.Flags) == 0 && len(r.Gone) == 0 && r.All == 0 && len(r.Own) == 0
}

func (r *logRow) appendTo(b []byte) []byte {
	b = appendSet(append(b, rowVersion), r.Flags)
	b = binary.AppendUvarint(b, uint64(len(r.Gone)))
	last := uid(0)
	for _, g := range r.Gone {
		b = binary.AppendUvarint(b, uint64(g.UID-last))
		b = binary.AppendUvarint(b, uint64(g.Email))
		last = g.UID
	}
	b = binary.AppendUvarint(b, uint64(r.All))
	if len(r.Own) > 0 {
		b = appendSet(binary.AppendUvarint(b, uint64(r.Viewer)), r.Own)
	}
	return b
}

// decodeLog adds the UIDs of an entry to the sets, as they are for a viewer; 0 is the owner.
func decodeLog(b []byte, viewer accountID, flags, gone *imap.UIDSet) error {
	d := decoderOf(b)
	d.version()
	d.set(flags)
	last := uint64(0)
	for n := d.Count(2); n > 0; n-- {
		last += d.Uint()
		d.Uint()
		if last == 0 || last > maxUID {
			d.Fail()
			break
		}
		gone.Add(imap.UID(last))
	}
	if all := d.Uint(); all > 1 && all <= maxUID {
		gone.AddRange(1, imap.UID(all-1))
	}
	if len(d.B) > 0 {
		own := flags
		if accountID(d.Uint()) != viewer || viewer == 0 {
			own = new(imap.UIDSet)
		}
		d.set(own)
	}
	return d.err("the change log")
}

type bodyRow struct {
	Generation uint64
	Size       int64
}

func (r *bodyRow) appendTo(b []byte) []byte {
	b = binary.AppendUvarint(append(b, rowVersion, algorithmPlain), r.Generation)
	return binary.AppendUvarint(b, uint64(r.Size))
}

func decodeBody(own []byte) (r bodyRow, err error) {
	d := decoderOf(own)
	d.version()
	if d.Byte() != algorithmPlain {
		d.Fail()
	}
	r.Generation, r.Size = d.Uint(), int64(d.Uint())
	return r, d.err("a body")
}

func appendKeywords(b []byte, names []string) []byte {
	b = binary.AppendUvarint(append(b, rowVersion), uint64(len(names)))
	for _, n := range names {
		b = appendString(b, n)
	}
	return b
}

func decodeKeywords(b []byte) ([]string, error) {
	d := decoderOf(b)
	d.version()
	names := make([]string, d.Count(1))
	for i := range names {
		names[i] = d.Text()
	}
	return names, d.err("the keywords")
}
