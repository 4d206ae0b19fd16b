package accounts

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/samotop/samotop/store"
)

// restoredIDs is how far Renumber raises the next account number.
const restoredIDs = 1 << 16

// Renumber prepares a database that was restored from a backup, and that nobody has open: a number that was given to an
// account after the backup was made is not given to another one.
func Renumber(ctx context.Context, eng store.Engine) error {
	var old []byte
	err := eng.View(ctx, func(r store.Reader) error {
		v, err := r.Get(ctx, keyNextID)
		old = append(old, v...)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil // nothing was ever written
	}
	if err == nil && len(old) != 8 {
		err = store.ErrCorrupt
	}
	if err == nil {
		next := binary.BigEndian.AppendUint64(nil, binary.BigEndian.Uint64(old)+restoredIDs)
		err = store.Commit(ctx, eng, &store.Batch{Asserts: []store.Assert{{Key: keyNextID, Value: old}}, Ops: []store.Op{store.Put(keyNextID, next)}})
	}
	if err != nil {
		return fmt.Errorf("accounts: renumber: %w", err)
	}
	return nil
}
