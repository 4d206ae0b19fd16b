package mailbox

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/store"
)

// Fault is something that Verify found.
type Fault struct {
	Account uint64 // 0: not of one account
	Where   string
	What    string
}

func (f Fault) String() string {
	if f.Account == 0 {
		return f.Where + ": " + f.What
	}
	return fmt.Sprintf("account %d, %s: %s", f.Account, f.Where, f.What)
}

// maxFaults is how many faults one Verify lists.
const maxFaults = 10_000

// verifyPage is how many bodies or references are checked in one View.
const verifyPage = 2000

// Verify checks the database while it is in use: counters are recounted, UID sets compared with the messages,
// references of emails, threads and bodies followed both ways. Each account is checked in one View. It changes
// nothing. Progress, which may be nil, is called after each account and page of bodies with what was done so far.
func (m *Mailbox) Verify(ctx context.Context, progress func(accounts, bodies int64)) ([]Fault, error) {
	v := &verifier{m: m, ctx: ctx}
	tell := func() {
		if progress != nil {
			progress(v.accounts, v.bodies)
		}
	}
	next := accountID(0)
	for more := true; more; {
		err := m.eng.View(ctx, func(r store.Reader) (err error) {
			next, more, err = v.account(r, next)
			return err
		})
		if err != nil {
			return v.faults, fmt.Errorf("mailbox: verify: %w", err)
		}
		tell()
	}
	for _, page := range [...]func(store.Reader, []byte) ([]byte, error){v.bodyPage, v.refPage} {
		for from := []byte{}; from != nil; {
			err := m.eng.View(ctx, func(r store.Reader) (err error) {
				from, err = page(r, from)
				return err
			})
			if err != nil {
				return v.faults, fmt.Errorf("mailbox: verify: %w", err)
			}
			tell()
		}
	}
	return v.faults, nil
}

type verifier struct {
	m        *Mailbox
	ctx      context.Context
	ar       arena
	faults   []Fault
	accounts int64
	bodies   int64
}

func (v *verifier) fault(a accountID, where, what string, args ...any) {
	if len(v.faults) < maxFaults {
		v.faults = append(v.faults, Fault{uint64(a), where, fmt.Sprintf(what, args...)})
	}
}

// tally is what the messages of an account say, to be compared with its other rows.
type tally struct {
	id       accountID
	row      accountRow
	octets   int64
	messages int64
	boxes    uint32
	names    map[string]boxID
	doomed   map[boxID]bool
	places   map[emailID]map[place]bool
	hashes   map[emailID]bodyHash
	threads  map[emailID]emailID
	ids      map[msgIDHash]msgIDRow
	rows     map[boxID]boxRow
	acls     map[boxID]aclRow
}

// account checks the first account from number id on.
func (v *verifier) account(r store.Reader, id accountID) (next accountID, more bool, err error) {
	v.ar = arena{}
	t := &tally{names: map[string]boxID{}, doomed: map[boxID]bool{}, places: map[emailID]map[place]bool{},
		hashes: map[emailID]bodyHash{}, threads: map[emailID]emailID{}, ids: map[msgIDHash]msgIDRow{}, rows: map[boxID]boxRow{}, acls: map[boxID]aclRow{}}
	found := false
	for kv, err := range r.Scan(v.ctx, v.ar.accountKey(kindAccount, id), []byte{kindAccount + 1}, false) {
		if err != nil {
			return 0, false, err
		}
		t.id, found = accountID(lastUint64(kv.Key)), true
		if t.row, err = decodeAccount(kv.Value); err != nil {
			v.fault(t.id, "account row", "%v", err)
		}
		break
	}
	if !found {
		return 0, false, nil
	}
	v.accounts++
	if t.row.Purging {
		return t.id + 1, true, nil
	}
	for _, check := range [...]func(store.Reader, *tally) error{v.doomedBoxes, v.boxes, v.names, v.emails, v.threads, v.msgIDs, v.shares, v.grants, v.ownSeen, v.cards} {
		if err := check(r, t); err != nil {
			return 0, false, err
		}
	}
	if t.octets != t.row.Octets || t.messages != t.row.Messages || t.boxes != t.row.Boxes {
		v.fault(t.id, "account row", "says %d octets, %d messages, %d mailboxes; there are %d, %d, %d", t.row.Octets, t.row.Messages,
			t.row.Boxes, t.octets, t.messages, t.boxes)
	}
	return t.id + 1, t.id+1 != 0, nil
}

// scan calls fn with the rows of a kind of the account.
func (v *verifier) scan(r store.Reader, t *tally, kind byte, fn func(key, value []byte) error) error {
	lo := v.ar.accountKey(kind, t.id)
	for kv, err := range r.Scan(v.ctx, lo, after(lo), false) {
		if err == nil {
			err = fn(kv.Key, kv.Value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (v *verifier) doomedBoxes(r store.Reader, t *tally) error {
	return v.scan(r, t, kindDoomed, func(key, _ []byte) error {
		t.doomed[boxID(lastUint32(key))] = true
		return nil
	})
}

func (v *verifier) boxes(r store.Reader, t *tally) error {
	var boxes []box
	err := v.scan(r, t, kindBox, func(key, value []byte) error {
		id := boxID(lastUint32(key))
		row, err := decodeBox(value)
		if err != nil {
			v.fault(t.id, fmt.Sprintf("mailbox %d", id), "%v", err)
			return nil
		}
		boxes = append(boxes, box{boxRow: row, id: id})
		t.names[row.Name], t.rows[id] = id, row
		return nil
	})
	if err != nil {
		return err
	}
	for i := range boxes {
		t.boxes++
		if err := v.box(r, t, &boxes[i]); err != nil {
			return err
		}
	}
	for id := range t.doomed { // what the sweeper has still to do belongs to the emails
		if err := v.messages(r, t, &box{id: id}, nil); err != nil {
			return err
		}
	}
	return nil
}

// box recounts a mailbox.
func (v *verifier) box(r store.Reader, t *tally, b *box) error {
	where := "mailbox " + b.Name
	chunks := map[uint32]*chunk{}
	lo := v.ar.boxKey(kindChunk, t.id, b.id)
	for kv, err := range r.Scan(v.ctx, lo, after(lo), false) {
		if err != nil {
			return err
		}
		c := new(chunk)
		if err := decodeChunk(kv.Value, c); err != nil {
			v.fault(t.id, where, "%v", err)
		}
		chunks[lastUint32(kv.Key)] = c
	}
	var n boxRow
	err := v.messages(r, t, b, func(u uid, s *smallRow) {
		n.Messages++
		n.Octets += s.Size
		n.Unseen += one(s.System&imap.FlagSeen == 0)
		if s.System&imap.FlagDeleted != 0 {
			n.Deleted++
			n.DeletedSize += s.Size
		}
		c := chunks[chunkOf(u)]
		if c == nil || !c.All.has(u) || c.Unseen.has(u) != (s.System&imap.FlagSeen == 0) || c.Deleted.has(u) != (s.System&imap.FlagDeleted != 0) {
			v.fault(t.id, where, "message %d is not as the set of UIDs has it", u)
		}
		if u >= b.UIDNext || s.S > b.S || s.Arrived > s.S {
			v.fault(t.id, where, "message %d has numbers beyond the mailbox's", u)
		}
	})
	if err != nil {
		return err
	}
	in := 0
	for _, c := range chunks {
		in += c.All.count()
	}
	if in != int(n.Messages) {
		v.fault(t.id, where, "the set of UIDs has %d, there are %d messages", in, n.Messages)
	}
	if n.Messages != b.Messages || n.Octets != b.Octets || n.Unseen != b.Unseen || n.Deleted != b.Deleted || n.DeletedSize != b.DeletedSize {
		v.fault(t.id, where, "counts %d messages, %d octets, %d unseen, %d deleted of %d octets; there are %d, %d, %d, %d of %d",
			b.Messages, b.Octets, b.Unseen, b.Deleted, b.DeletedSize, n.Messages, n.Octets, n.Unseen, n.Deleted, n.DeletedSize)
	}
	if b.S > t.row.S || b.id > t.row.Box || b.UIDValidity > t.row.UIDValidity {
		v.fault(t.id, where, "has numbers beyond the account's")
	}
	t.messages += int64(n.Messages)
	t.octets += n.Octets
	return nil
}

// messages reads the rows of a mailbox's messages; each must have its three. See is told of each, in UID order.
func (v *verifier) messages(r store.Reader, t *tally, b *box, see func(uid, *smallRow)) error {
	kinds := map[uid]int{}
	lo := v.ar.boxKey(kindSmall, t.id, b.id)
	arrived := modSeq(0)
	for kv, err := range r.Scan(v.ctx, lo, after(lo), false) {
		if err != nil {
			return err
		}
		u := lastUint32(kv.Key)
		s, err := decodeSmall(kv.Value)
		if err != nil {
			v.fault(t.id, "mailbox "+b.Name, "message %d: %v", u, err)
			continue
		}
		if s.Arrived < arrived {
			v.fault(t.id, "mailbox "+b.Name, "message %d arrived before the one before it", u)
		}
		arrived = s.Arrived
		kinds[u] |= 1
		if see != nil {
			see(u, &s)
		}
	}
	for i, kind := range [...]byte{kindSummary, kindHeader, kindSort} {
		lo := v.ar.boxKey(kind, t.id, b.id)
		for kv, err := range r.Scan(v.ctx, lo, after(lo), false) {
			if err != nil {
				return err
			}
			u := lastUint32(kv.Key)
			kinds[u] |= 2 << i
			if kind == kindSummary {
				v.summary(t, b, u, kv.Value)
			}
		}
	}
	for u, have := range kinds {
		if have != 15 {
			v.fault(t.id, "mailbox "+b.Name, "message %d has not all of its rows", u)
		}
	}
	return nil
}

func (v *verifier) summary(t *tally, b *box, u uid, value []byte) {
	where := fmt.Sprintf("mailbox %s, message %d", b.Name, u)
	s, err := decodeSummary(value)
	if err == nil {
		var sh shared
		if sh, err = decodeShared(s.Shared); err == nil {
			_, err = decodeParts(sh.parts, int64(len(s.Prefix)))
		}
	}
	if err != nil {
		v.fault(t.id, where, "%v", err)
		return
	}
	if t.places[s.Email] == nil {
		t.places[s.Email] = map[place]bool{}
	}
	t.places[s.Email][place{b.id, u}] = true
	if h, ok := t.hashes[s.Email]; ok && h != s.Hash {
		v.fault(t.id, where, "has another body than the same email elsewhere")
	}
	t.hashes[s.Email], t.threads[s.Email] = s.Hash, s.Thread
}

func (v *verifier) names(r store.Reader, t *tally) error {
	n := 0
	err := v.scan(r, t, kindName, func(key, value []byte) error {
		name := string(key[9:])
		n++
		if id, ok := t.names[name]; !ok || string(value) != string(binary.BigEndian.AppendUint32(nil, uint32(id))) {
			v.fault(t.id, "name "+name, "is not that of a mailbox")
		}
		return nil
	})
	if n != len(t.names) {
		v.fault(t.id, "names", "there are %d for %d mailboxes", n, len(t.names))
	}
	return err
}

// emails compares the emails with the messages, and looks for their references and bodies.
func (v *verifier) emails(r store.Reader, t *tally) error {
	n := 0
	err := v.scan(r, t, kindEmail, func(key, value []byte) error {
		e := emailID(lastUint64(key))
		where := "email " + emailName(t.id, e)
		row, err := decodeEmail(value)
		if err != nil {
			v.fault(t.id, where, "%v", err)
			return nil
		}
		n++
		if len(row.Places) != len(t.places[e]) || row.Hash != t.hashes[e] || row.Thread != t.threads[e] || e > t.row.Email {
			v.fault(t.id, where, "is not as its %d messages have it", len(t.places[e]))
		}
		for _, p := range row.Places {
			if !t.places[e][p] {
				v.fault(t.id, where, "has no message %d in mailbox %d", p.UID, p.Box)
			}
		}
		for _, id := range row.IDs {
			i := t.ids[id]
			i.Count++
			t.ids[id] = i
		}
		rows, err := r.GetMulti(v.ctx, [][]byte{v.ar.refKey(kindRef, &row.Hash, t.id, e), v.ar.bodyKey(&row.Hash), v.ar.threadKey(t.id, row.Thread, e)})
		if err != nil {
			return err
		}
		for i, what := range [...]string{"has no reference to its body", "has no body", "is missing in its thread"} {
			if rows[i] == nil {
				v.fault(t.id, where, "%s", what)
			}
		}
		return nil
	})
	if n != len(t.places) {
		v.fault(t.id, "emails", "there are %d, the messages have %d", n, len(t.places))
	}
	return err
}

func (v *verifier) threads(r store.Reader, t *tally) error {
	n := 0
	err := v.scan(r, t, kindThread, func(key, _ []byte) error {
		n++
		if _, ok := t.places[emailID(lastUint64(key))]; !ok {
			v.fault(t.id, "threads", "one has an email %d that is not there", lastUint64(key))
		}
		return nil
	})
	if n != len(t.places) {
		v.fault(t.id, "threads", "they have %d emails of %d", n, len(t.places))
	}
	return err
}

func (v *verifier) msgIDs(r store.Reader, t *tally) error {
	n := 0
	err := v.scan(r, t, kindMsgID, func(key, value []byte) error {
		n++
		row, err := decodeMsgID(value)
		if err != nil {
			v.fault(t.id, "ids", "%v", err)
		}
		if row.Count != t.ids[msgIDHash(key[9:])].Count {
			v.fault(t.id, "ids", "one counts %d emails, there are %d", row.Count, t.ids[msgIDHash(key[9:])].Count)
		}
		return nil
	})
	if n != len(t.ids) {
		v.fault(t.id, "ids", "there are %d, the emails name %d", n, len(t.ids))
	}
	return err
}

// bodyPage checks some bodies from a key on: each has a reference or is marked to go, and can be read to its end.
func (v *verifier) bodyPage(r store.Reader, from []byte) (next []byte, err error) {
	if len(from) == 0 {
		from = []byte{kindBody}
	}
	n := 0
	for kv, err := range r.Scan(v.ctx, from, []byte{kindBody + 1}, false) {
		if err != nil {
			return nil, err
		}
		if n++; n > verifyPage {
			return append([]byte(nil), kv.Key...), nil
		}
		v.bodies++
		where := fmt.Sprintf("body %x", kv.Key[1:])
		own, _, err := store.SplitRef(kv.Value)
		if err == nil {
			_, err = decodeBody(own)
		}
		if err != nil {
			v.fault(0, where, "%v", err)
		}
		if used, err := v.any(r, kindRef, kv.Key[1:]); err != nil || used {
			if err != nil {
				return nil, err
			}
			continue
		}
		marked, err := v.any(r, kindFree, kv.Key[1:])
		if err != nil {
			return nil, err
		}
		if !marked {
			v.fault(0, where, "nothing refers to it")
		}
	}
	return nil, nil
}

func (v *verifier) any(r store.Reader, kind byte, hash []byte) (bool, error) {
	lo := append([]byte{kind}, hash...)
	for _, err := range r.Scan(v.ctx, lo, after(lo), false) {
		return true, err
	}
	return false, nil
}

// refPage checks some references from a key on: each has its email and its body.
func (v *verifier) refPage(r store.Reader, from []byte) (next []byte, err error) {
	if len(from) == 0 {
		from = []byte{kindRef}
	}
	n := 0
	v.ar = arena{}
	for kv, err := range r.Scan(v.ctx, from, []byte{kindRef + 1}, false) {
		if err != nil {
			return nil, err
		}
		if n++; n > verifyPage {
			return append([]byte(nil), kv.Key...), nil
		}
		if len(kv.Key) != 49 {
			v.fault(0, "references", "a key of %d octets", len(kv.Key))
			continue
		}
		hash := bodyHash(kv.Key[1:33])
		a := accountID(binary.BigEndian.Uint64(kv.Key[33:]))
		rows, err := r.GetMulti(v.ctx, [][]byte{v.ar.longKey(kindEmail, a, lastUint64(kv.Key)), v.ar.bodyKey(&hash)})
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
		if rows[0] == nil || rows[1] == nil {
			v.fault(a, fmt.Sprintf("reference of email %d to body %x", lastUint64(kv.Key), hash), "email there %v, body there %v", rows[0] != nil, rows[1] != nil)
		}
	}
	return nil, nil
}
