package mailbox

import (
	"cmp"
	"context"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/store"
)

// rights are what somebody may do with a mailbox (RFC 4314 section 2.1). The owner has all of them, always.
type rights uint16

const (
	rightLookup    rights = 1 << iota // l: it is listed
	rightRead                         // r: SELECT, STATUS
	rightSeen                         // s: keep \Seen, each for himself
	rightWrite                        // w: all flags but \Seen and \Deleted
	rightInsert                       // i: APPEND and COPY into it
	rightPost                         // p: kept and shown; mail goes to accounts here
	rightCreate                       // k: mailboxes below it
	rightDeleteBox                    // x: DELETE and RENAME it
	rightDelete                       // t: \Deleted
	rightExpunge                      // e: EXPUNGE
	rightAdmin                        // a: change who may what

	rightsAll = 1<<iota - 1
)

// rightLetters are the letters of the rights, in the order of their bits.
const rightLetters = "lrswipkxtea"

func (have rights) String() string {
	b := make([]byte, 0, len(rightLetters))
	for i := range rightLetters {
		if have&(1<<i) != 0 {
			b = append(b, rightLetters[i])
		}
	}
	return string(b)
}

func parseRights(s string) (rights, error) {
	var out rights
	for i := range len(s) {
		at := strings.IndexByte(rightLetters, s[i])
		if at < 0 {
			return 0, &imap.Error{Bad: true, Text: "There is no right " + string(rune(s[i]))}
		}
		out |= 1 << at
	}
	return out, nil
}

// flags are the system flags that these rights allow to change in the message itself: \Seen is each viewer's own.
func (have rights) flags() (f imap.SystemFlags) {
	if have&rightWrite != 0 {
		f |= imap.FlagAnswered | imap.FlagFlagged | imap.FlagDraft
	}
	if have&rightDelete != 0 {
		f |= imap.FlagDeleted
	}
	return f
}

// anyone is the grantee that stands for whoever has logged in. No account has that number.
const (
	anyone     accountID = 0
	anyoneName           = "anyone"
)

// aclEntry is what one identifier may do, or with Negative what it may not, whatever else says.
type aclEntry struct {
	Grantee  accountID
	Negative bool
	Name     string // address of the grantee when it was written, or "anyone"
	Rights   rights
}

func (e *aclEntry) identifier() string {
	if e.Negative {
		return "-" + e.Name
	}
	return e.Name
}

// aclRow is the access control list of a mailbox. One without a row is its owner's alone.
type aclRow struct {
	Owner   string // address of the owner, by which others name the mailbox
	Entries []aclEntry
}

func (r *aclRow) appendTo(b []byte) []byte {
	b = appendString(append(b, rowVersion), r.Owner)
	b = binary.AppendUvarint(b, uint64(len(r.Entries)))
	for i := range r.Entries {
		e := &r.Entries[i]
		flags := byte(0)
		if e.Negative {
			flags = 1
		}
		b = binary.AppendUvarint(append(b, flags), uint64(e.Grantee))
		b = binary.AppendUvarint(b, uint64(e.Rights))
		b = appendString(b, e.Name)
	}
	return b
}

func decodeACL(b []byte) (r aclRow, err error) {
	d := decoderOf(b)
	d.version()
	r.Owner = d.Text()
	r.Entries = make([]aclEntry, d.Count(4))
	for i := range r.Entries {
		e := &r.Entries[i]
		e.Negative = d.Byte()&1 != 0
		e.Grantee = accountID(d.Uint())
		e.Rights = rights(d.Uint()) & rightsAll
		e.Name = d.Text()
	}
	return r, d.err("an access control list")
}

// of is what an account may do: the rights given to it and to anyone, less those taken from either (RFC 4314 section 2).
func (r *aclRow) of(a accountID) (have rights) {
	var not rights
	for i := range r.Entries {
		switch e := &r.Entries[i]; {
		case e.Grantee != a && e.Grantee != anyone:
		case e.Negative:
			not |= e.Rights
		default:
			have |= e.Rights
		}
	}
	return have &^ not
}

// find returns the place of an entry, or where it belongs.
func (r *aclRow) find(who accountID, negative bool) (int, bool) {
	return slices.BinarySearchFunc(r.Entries, aclEntry{Grantee: who, Negative: negative}, func(a, b aclEntry) int {
		if d := cmp.Compare(a.Grantee, b.Grantee); d != 0 || a.Negative == b.Negative {
			return d
		}
		if b.Negative {
			return -1
		}
		return 1
	})
}

// grantees are those who are given something, each once, in order.
func (r *aclRow) grantees() (list []accountID) {
	for i := range r.Entries {
		if e := &r.Entries[i]; !e.Negative {
			list = append(list, e.Grantee)
		}
	}
	return list
}

// named are those who are in the list at all, each once, in order.
func (r *aclRow) named() (list []accountID) {
	for i := range r.Entries {
		if n := len(list); n == 0 || list[n-1] != r.Entries[i].Grantee {
			list = append(list, r.Entries[i].Grantee)
		}
	}
	return list
}

// rightsIn is what the session may do with a mailbox, by what is durable.
func (v *view) rightsIn(ctx context.Context, r store.Reader, id boxID) (rights, error) {
	if v.guest == 0 {
		return rightsAll, nil
	}
	row, err := v.account.aclOf(ctx, r, id)
	return row.of(v.guest), err
}

// aclOf reads the durable list of a mailbox; it is empty if there is none.
func (a *account) aclOf(ctx context.Context, r store.Reader, id boxID) (aclRow, error) {
	var ar arena
	b, err := r.Get(ctx, ar.boxKey(kindACL, a.id, id))
	if notFound(err) {
		return aclRow{}, nil
	}
	if err != nil {
		return aclRow{}, err
	}
	return decodeACL(b)
}

// acl is aclOf as the head has it.
func (p *part) acl(ctx context.Context, r store.Reader, id boxID) (aclRow, error) {
	b, err := p.get(ctx, r, p.c.ar.boxKey(kindACL, p.id, id))
	if err != nil || b == nil {
		return aclRow{}, err
	}
	return decodeACL(b)
}

// may is what a session may do with a mailbox, as the head has it.
func (p *part) may(ctx context.Context, r store.Reader, v *view, id boxID) (rights, error) {
	if v.guest == 0 {
		return rightsAll, nil
	}
	row, err := p.acl(ctx, r, id)
	return row.of(v.guest), err
}

// lacks is the answer to whoever has not all of the rights that are needed: a mailbox that he cannot list is not there
// for him (RFC 4314 section 6).
func (v *view) lacks(have, need rights, name string) error {
	switch {
	case need&^have == 0:
		return nil
	case have&rightLookup == 0:
		return v.absent(name)
	}
	return no("NOPERM", "You need the rights %q here", need.String())
}

// absent is the answer for a mailbox that is not there.
func (v *view) absent(name string) error {
	return no("NONEXISTENT", "Mailbox %q does not exist", v.prefix+name)
}

// usable is named for a mailbox that must be there and that the session may use so.
func (p *part) usable(ctx context.Context, r store.Reader, v *view, name string, need rights) (*box, rights, error) {
	b, err := p.named(ctx, r, name)
	if err == nil && b == nil {
		err = v.absent(name)
	}
	if err != nil {
		return nil, 0, err
	}
	have, err := p.may(ctx, r, v, b.id)
	if err == nil {
		err = v.lacks(have, need, name)
	}
	return b, have, err
}
