// Package log is the embedded engine of package store: one append-only log that holds batches and bodies, and an
// index (Pebble, its own write-ahead log off) that the log feeds.
//
//	e, err := log.Open(ctx, log.Options{Dir: dir})
//	defer e.Close()
//	err = store.Commit(ctx, e, &store.Batch{Ops: []store.Op{store.Put(k, v)}})
//
// What is submitted while one group is being written gathers into the next. A group is one write and one fdatasync;
// then its batches enter the index, then those who wait are woken: nothing is visible before it is durable. A body of
// at most Options.InlineOctets travels in the record of its batch; a larger one is written to the log in chunks while
// it arrives, unsynced, and the sync of its batch covers it.
//
// # Files
//
//	DIR/LOCK             flock; the number of the process that has the database open
//	DIR/FORMAT           format version and identity
//	DIR/log/00000001.log segments: groups, each beginning at a multiple of 4096
//	DIR/index/           Pebble
//
// A group begins with a header (see format.go) that says up to where the log was known to be synced when the group
// was written. After a crash the log is read from the position that the index holds. A group that does not check is
// the torn tail, and is cut off, unless a later group says that it was synced: then it is damage, and Open gives
// ErrCorrupt with file and offset rather than lose what was acknowledged. The last synced group has nothing after it
// that says so; damage there looks like a torn tail until the index has passed it.
//
// # Rescue
//
// After ErrCorrupt: copy the directory, then call Rescue, which skips what does not check, applies every whole group after
// it, and moves what can be read out of the damaged segments. Then run Verify.
//
// # Space
//
// A body lives as long as a row ends in its Ref. The index holds, under its own prefix, which rows have bodies in
// which segment. A batch that asserts the old value of a row which it deletes or overwrites frees that body at once;
// what other batches free is found by Collect, which reads a segment's rows, moves live bodies by ordinary asserted
// batches, and removes the segment. Below Options.ReserveOctets of free space only batches with Deletes are taken.
package log
