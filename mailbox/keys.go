package mailbox

import "encoding/binary"

// The keys of the Mails database. Integers are big-endian, so that key order is number order.
//
//	A account (u64, from the Directory)   M mailbox (u32)   U UID (u32)   E email (u64, in order of arrival)
//	S modseq of the account (u64)         T thread (u64, the E of its first email)
//	H keyed hash of a body (32 octets)    I keyed hash of a Message-ID (8 octets)
//
//	key            value                                       written
//	v              format name and version                     once
//	K              key of the house for H and I (32 octets)    once
//	B              bucket of delivery ids, time of rotation    weekly
//	a A            account: last numbers, counters             in every batch of the account, which asserts the old one
//	x A M          mailbox: numbers, counters, name            with each change in it
//	n A name       M                                           CREATE, DELETE, RENAME
//	s A name       empty: the name is subscribed               SUBSCRIBE
//	k A M          keywords of the mailbox, by number          with a new keyword
//	u A M chunk    sets of 4096 UIDs: present, unseen, deleted with each change of those
//	m A M U        small row: flags, modseq, dates, size       delivery, STORE
//	y A M U        summary: ids, hash, trace prefix, envelope, structure, parts     delivery, COPY; immutable
//	h A M U        common header fields as they came           delivery, COPY; immutable
//	o A M U        sort keys: sent date, base subject, names, hashed ids            delivery, COPY; immutable
//	c A M S        change log: UIDs whose flags changed, UIDs and emails that went   STORE, EXPUNGE
//	e A E          email: thread, hash, its places (M, U)      delivery, COPY, EXPUNGE
//	t A T E        empty: E is in thread T                     delivery
//	i A I          T, and how many emails name I               delivery
//	b H            body: algorithm, generation, size, then the engine's Ref     each new reference
//	r H A E        empty: email E refers to body H             delivery
//	g H A E        time: a reference went; body may be free    EXPUNGE, until swept
//	d bucket A id  E: this delivery id was stored              delivery
//	p A M entry    value of an annotation; M 0: of the server                       SETMETADATA
//	l A M          what the access key of URLs is made of                           GENURLAUTH, RESETKEY
//	F A            text index: its blocks                                           in the background (index.go)
//	f A B row      text index: which emails have which terms                        in the background
//	w A M          who may do what with the mailbox, if not only its owner          SETACL, CREATE below it, RENAME of INBOX
//	j V A M        account V, or anyone if 0, is in the list of it              with w
//	q A M V chunk  what V, who is not the owner, has seen of 512 UIDs               STORE, COPY and APPEND by V
//	C A name       card: E, and what it was made of            with it (cards.go)
//	D A E          name of the card that email E is            likewise
//	z A M          a deleted mailbox whose messages are still being removed         DELETE, until swept
//
// Arrivals have no entry in the change log: a small row holds the modseq of its arrival, which grows with the UID,
// so that what is new after a modseq is found by bisection.
const (
	kindFormat   = 'v'
	kindHouseKey = 'K'
	kindBucket   = 'B'
	kindAccount  = 'a'
	kindBox      = 'x'
	kindName     = 'n'
	kindSub      = 's'
	kindKeywords = 'k'
	kindChunk    = 'u'
	kindSmall    = 'm'
	kindSummary  = 'y'
	kindHeader   = 'h'
	kindSort     = 'o'
	kindLog      = 'c'
	kindEmail    = 'e'
	kindThread   = 't'
	kindMsgID    = 'i'
	kindBody     = 'b'
	kindRef      = 'r'
	kindFree     = 'g'
	kindDelivery = 'd'
	kindDoomed   = 'z'
	kindIndex    = 'F'
	kindMetadata = 'p'
	kindURLKey   = 'l'
	kindPostings = 'f'
	kindACL      = 'w'
	kindGrant    = 'j'
	kindOwn      = 'q'
	kindCard     = 'C'
	kindCardOf   = 'D'
)

// SieveKinds are the kinds of rows that each delivery asks for and hardly ever finds: whether there is such a body, such a
// Message-ID, such a delivery id. An engine may know of most of them without looking (log.Options.SieveKinds).
const SieveKinds = string(kindBody) + string(kindMsgID) + string(kindDelivery)

// kindsOfAccount are those whose keys begin with kind A, so that one range delete each removes an account.
var kindsOfAccount = [...]byte{kindBox, kindName, kindSub, kindKeywords, kindChunk, kindSmall, kindSummary, kindHeader, kindSort,
	kindLog, kindEmail, kindThread, kindMsgID, kindDoomed, kindIndex, kindPostings,
	kindMetadata, kindURLKey, kindACL, kindGrant, kindOwn, kindCard, kindCardOf, kindAccount}

type (
	accountID uint64
	boxID     uint32
	emailID   uint64
	modSeq    = uint64
	uid       = uint32
	bodyHash  [32]byte
	msgIDHash [8]byte
)

// arena gives out slices of larger pieces, so that the keys and values of a batch cost few allocations.
type arena struct {
	buf []byte
	tmp []byte
}

// scratch returns an empty slice that is good until the next call.
func (a *arena) scratch() []byte {
	if a.tmp == nil {
		a.tmp = make([]byte, 0, chunkRoom)
	}
	return a.tmp[:0]
}

const (
	arenaOctets = 8 << 10
	smallArena  = 128 // the first piece: many need one key only
)

// take returns an empty slice with room for n octets.
func (a *arena) take(n int) []byte {
	if cap(a.buf)-len(a.buf) < n {
		a.buf = make([]byte, 0, max(min(arenaOctets, 4*cap(a.buf)), n, smallArena))
	}
	at := len(a.buf)
	a.buf = a.buf[: at+n : cap(a.buf)]
	return a.buf[at : at : at+n]
}

// copyOf returns a copy of b.
func (a *arena) copyOf(b []byte) []byte { return append(a.take(len(b)), b...) }

func appendAccountKey(dst []byte, kind byte, a accountID) []byte {
	return binary.BigEndian.AppendUint64(append(dst, kind), uint64(a))
}

func appendBoxKey(dst []byte, kind byte, a accountID, m boxID) []byte {
	return binary.BigEndian.AppendUint32(appendAccountKey(dst, kind, a), uint32(m))
}

func (ar *arena) accountKey(kind byte, a accountID) []byte {
	return appendAccountKey(ar.take(9), kind, a)
}

// boxKey is kind A M.
func (ar *arena) boxKey(kind byte, a accountID, m boxID) []byte {
	return appendBoxKey(ar.take(13), kind, a, m)
}

// msgKey is kind A M U, and that of a chunk.
func (ar *arena) msgKey(kind byte, a accountID, m boxID, u uint32) []byte {
	return binary.BigEndian.AppendUint32(appendBoxKey(ar.take(17), kind, a, m), u)
}

// longKey is kind A X with a 64-bit X: emails.
func (ar *arena) longKey(kind byte, a accountID, x uint64) []byte {
	return binary.BigEndian.AppendUint64(appendAccountKey(ar.take(17), kind, a), x)
}

// logKey is c A M S.
func (ar *arena) logKey(a accountID, m boxID, s modSeq) []byte {
	return binary.BigEndian.AppendUint64(appendBoxKey(ar.take(21), kindLog, a, m), s)
}

// threadKey is t A T E.
func (ar *arena) threadKey(a accountID, t, e emailID) []byte {
	return binary.BigEndian.AppendUint64(ar.longKeyRoom(kindThread, a, uint64(t), 8), uint64(e))
}

func (ar *arena) longKeyRoom(kind byte, a accountID, x uint64, room int) []byte {
	return binary.BigEndian.AppendUint64(appendAccountKey(ar.take(17+room), kind, a), x)
}

func (ar *arena) msgIDKey(a accountID, i msgIDHash) []byte {
	return append(appendAccountKey(ar.take(17), kindMsgID, a), i[:]...)
}

func (ar *arena) nameKey(kind byte, a accountID, name string) []byte {
	return append(appendAccountKey(ar.take(9+len(name)), kind, a), name...)
}

func (ar *arena) bodyKey(h *bodyHash) []byte {
	return append(append(ar.take(33), kindBody), h[:]...)
}

// refKey is r H A E or g H A E.
func (ar *arena) refKey(kind byte, h *bodyHash, a accountID, e emailID) []byte {
	k := append(append(ar.take(49), kind), h[:]...)
	k = binary.BigEndian.AppendUint64(k, uint64(a))
	return binary.BigEndian.AppendUint64(k, uint64(e))
}

// deliveryKey is d bucket A id.
func (ar *arena) deliveryKey(bucket uint32, a accountID, id [16]byte) []byte {
	k := binary.BigEndian.AppendUint32(append(ar.take(29), kindDelivery), bucket)
	k = binary.BigEndian.AppendUint64(k, uint64(a))
	return append(k, id[:]...)
}

// after returns the first key that does not begin with prefix.
func after(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}

// lastUint32 and lastUint64 read the number that a key ends in.
func lastUint32(key []byte) uint32 {
	if len(key) < 4 {
		return 0
	}
	return binary.BigEndian.Uint32(key[len(key)-4:])
}

func lastUint64(key []byte) uint64 {
	if len(key) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64(key[len(key)-8:])
}
