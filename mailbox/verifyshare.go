package mailbox

import (
	"encoding/binary"
	"fmt"

	"github.com/samotop/samotop/store"
)

// shares checks the access control lists of an account: each is that of a mailbox, is in order, and whoever it lets in is
// in the index.
func (v *verifier) shares(r store.Reader, t *tally) error {
	return v.scan(r, t, kindACL, func(key, value []byte) error {
		id := boxID(lastUint32(key))
		where := fmt.Sprintf("access control list of mailbox %d", id)
		row, err := decodeACL(value)
		if err != nil {
			v.fault(t.id, where, "%v", err)
			return nil
		}
		t.acls[id] = row
		if _, ok := t.rows[id]; !ok {
			v.fault(t.id, where, "there is no such mailbox")
		}
		if len(row.Entries) == 0 {
			v.fault(t.id, where, "is empty")
		}
		for i := range row.Entries {
			e := &row.Entries[i]
			if at, ok := row.find(e.Grantee, e.Negative); !ok || at != i || e.Grantee == t.id || e.Rights == 0 {
				v.fault(t.id, where, "%s is not as it can be", e.identifier())
			}
		}
		for _, who := range row.named() {
			rows, err := r.GetMulti(v.ctx, [][]byte{v.ar.grantKey(who, t.id, id)})
			if err != nil {
				return err
			}
			if rows[0] == nil {
				v.fault(t.id, where, "account %d is not in the index", who)
			}
		}
		return nil
	})
}

// grants checks what the account, and with the first one anyone, is given: each has a list that says so.
func (v *verifier) grants(r store.Reader, t *tally) error {
	check := func(key, _ []byte) error {
		who, owner, id := accountID(binary.BigEndian.Uint64(key[1:])), accountID(binary.BigEndian.Uint64(key[9:])), boxID(lastUint32(key))
		row, err := (&account{id: owner}).aclOf(v.ctx, r, id)
		if err != nil || !hasGrantee(row.named(), who) {
			v.fault(owner, fmt.Sprintf("mailbox %d", id), "does not name account %d, against what the index says", who)
		}
		return nil
	}
	if v.accounts == 1 {
		if err := v.scan(r, &tally{id: anyone}, kindGrant, check); err != nil {
			return err
		}
	}
	return v.scan(r, t, kindGrant, check)
}

// ownSeen checks what others have seen of the account's mailboxes: only they who are let in have rows.
func (v *verifier) ownSeen(r store.Reader, t *tally) error {
	return v.scan(r, t, kindOwn, func(key, value []byte) error {
		if len(key) != 25 {
			v.fault(t.id, "what viewers have seen", "a key of %d octets", len(key))
			return nil
		}
		id, viewer, no := boxID(binary.BigEndian.Uint32(key[9:])), viewerOf(key), lastUint32(key)
		where := fmt.Sprintf("what account %d has seen of mailbox %d", viewer, id)
		box, ok := t.rows[id]
		acl := t.acls[id]
		list := acl.grantees()
		if !ok || viewer == t.id || !hasGrantee(list, viewer) && !hasGrantee(list, anyone) {
			v.fault(t.id, where, "may not be there")
			return nil
		}
		var c ownChunk
		if err := decodeOwn(value, &c); err != nil {
			v.fault(t.id, where, "%v", err)
			return nil
		}
		for i, at := range c.at {
			if at > box.S || at > 0 && no<<ownShift+uint32(i) >= box.UIDNext {
				v.fault(t.id, where, "message %d has numbers beyond the mailbox's", no<<ownShift+uint32(i))
			}
		}
		return nil
	})
}
