package guard

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/samotop/samotop/store"
)

// evidenceFormat is what this room writes. It grows when older programs could not read it.
const evidenceFormat = 1

// The first octet of a key says whose row it is. Each user of the evidence owns all keys that begin with his octet, says
// in a comment of his own what stands after it, and keeps his rows bounded.
const (
	keyFormat     = 'v' // -> evidenceFormat, 4 octets
	KeyBan        = 'b' // bans
	KeyGrey       = 'g' // who has passed greylisting
	KeyJunk       = 'j' // the learning filter
	KeyHistory    = 'h' // what accounts use to send
	KeyOutgoing   = 'o' // what accounts sent lately
	KeyReputation = 'r' // what is known of senders
)

// OpenEvidence prepares the database of the guard if it is empty, and refuses by store.ErrFormat one that a newer program
// wrote. Who knows what about senders is in it: nothing that mail or its delivery depends on.
func OpenEvidence(ctx context.Context, e store.Engine) error {
	key := []byte{keyFormat}
	err := e.View(ctx, func(r store.Reader) error {
		v, err := r.Get(ctx, key)
		switch {
		case err != nil:
			return err
		case len(v) != 4:
			return fmt.Errorf("row of the format version: %w", store.ErrCorrupt)
		}
		if f := binary.BigEndian.Uint32(v); f > evidenceFormat {
			return fmt.Errorf("the database has format %d, this program knows %d: use a newer samotop: %w", f, evidenceFormat, store.ErrFormat)
		}
		return nil
	})
	if errors.Is(err, store.ErrNotFound) {
		err = store.Commit(ctx, e, &store.Batch{Asserts: []store.Assert{{Key: key, Absent: true}},
			Ops: []store.Op{store.Put(key, binary.BigEndian.AppendUint32(nil, evidenceFormat))}})
	}
	if err != nil {
		return fmt.Errorf("guard: open evidence: %w", err)
	}
	return nil
}
