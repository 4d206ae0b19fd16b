// Package store is the contract between the rooms and the engines that keep their databases.
//
// A Batch is data: assertions, absolute values, bodies. An Engine commits it atomically and durably, and shows it
// to readers only when it is durable:
//
//	w, err := eng.Stage(ctx)             // the body goes to disk while it arrives
//	io.Copy(w, content)
//	staged, err := w.Close()
//	p, err := eng.Submit(ctx, &store.Batch{
//		Asserts: []store.Assert{{Key: k, Value: old}},
//		Ops:     []store.Op{store.Put(row, v), store.PutBlob(bodyKey, prefix, 0)},
//		Blobs:   []store.Staged{staged},
//	})                                   // fixes the order, now
//	err = p.Wait(ctx)                    // nil: it would survive a power cut, and is visible
//
// Promises. Engines are safe for concurrent use. Two Submits are applied, and become visible, in the order in which
// Submit returned. Values are absolute, so that replaying a batch is idempotent. A failed write or fsync fences the
// engine: every later call that changes anything gives ErrFenced, and nothing is retried on the same file.
package store

import (
	"context"
	"errors"
	"io"
	"iter"
)

// Limits of a batch and of a row, in octets and counts.
const (
	MaxKeyOctets   = 1 << 10
	MaxValueOctets = 4 << 20
	MaxBatchOps    = 1 << 20
	MaxBatchOctets = 64 << 20 // keys and values, without bodies
	MaxBlobOctets  = 1 << 40
	MaxRefOctets   = 60 << 10
)

// Errors. They are wrapped with what was being done; test with errors.Is.
var (
	ErrConflict = errors.New("store: an assertion does not hold") // nothing was applied: read again and retry
	ErrUnknown  = errors.New("store: outcome unknown")            // may or may not be applied: ask for an idempotency key
	ErrNotFound = errors.New("store: not found")
	ErrFenced   = errors.New("store: engine stopped after a failed write") // fail stop
	ErrFull     = errors.New("store: no space: the reserve is kept for deleting")
	ErrCorrupt  = errors.New("store: checksum does not match") // wrapped with file and offset
	ErrLocked   = errors.New("store: in use by another process")
	ErrFormat   = errors.New("store: written by a newer version")
	ErrClosed   = errors.New("store: engine closed")
	ErrTooLarge = errors.New("store: key, value or batch over the limit")
	ErrViewOver = errors.New("store: view open for too long")
	ErrInvalid  = errors.New("store: the batch makes no sense") // a fault of the caller, see Batch.Check
)

// Pos is a position in the engine's history of commits; it only grows. Zero is before everything.
type Pos uint64

// Ref says where a body is: opaque, at most MaxRefOctets long. The commit appends it to the value of an Op with Blob or Ref set;
// SplitRef takes it off again. A body lives as long as a row ends in its Ref; the engine may move it and then
// rewrites that row as any other batch would, asserting the old value. So the Ref of a row is good within one View.
type Ref []byte

// SplitRef parts the value of a row that was put with Blob or Ref into what the caller put and the Ref.
func SplitRef(value []byte) (own []byte, ref Ref, err error) {
	if len(value) < 2 {
		return nil, nil, ErrCorrupt
	}
	n := int(value[len(value)-2])<<8 | int(value[len(value)-1])
	at := len(value) - 2 - n
	if at < 0 {
		return nil, nil, ErrCorrupt
	}
	return value[:at:at], Ref(value[at : len(value)-2]), nil
}

// AppendRef is the inverse of SplitRef, for engines.
func AppendRef(own []byte, ref Ref) []byte {
	own = append(own, ref...)
	return append(own, byte(len(ref)>>8), byte(len(ref)))
}

// KV is a row.
type KV struct{ Key, Value []byte }

// Batch is one atomic change.
type Batch struct {
	Asserts []Assert
	Ops     []Op
	Blobs   []Staged
	// Deletes says that the batch only frees space, so that it may use the reserve of a full disk.
	Deletes bool
}

// Assert holds if the row's current value equals Value; with Absent, if there is no such row. "Current" includes
// what was submitted earlier and is not yet durable; should that fail, this batch fails too.
type Assert struct {
	Key, Value []byte
	Absent     bool
}

// OpKind is what an Op does.
type OpKind uint8

const (
	OpPut OpKind = iota
	OpDelete
	OpDeleteRange // [Key, Value)
)

// Op is one change of one row or range. Blob i+1 appends the Ref of Batch.Blobs[i] to Value when the batch is
// committed; Ref appends one that a row asserted by the same batch holds.
type Op struct {
	Kind       OpKind
	Key, Value []byte
	Blob       int
	Ref        Ref
}

// Put sets a row.
func Put(key, value []byte) Op { return Op{Kind: OpPut, Key: key, Value: value} }

// PutBlob sets a row to value followed by the Ref of Batch.Blobs[blob].
func PutBlob(key, value []byte, blob int) Op {
	return Op{Kind: OpPut, Key: key, Value: value, Blob: blob + 1}
}

// PutRef sets a row to value followed by ref, which must come from the row of the same key, asserted in the same batch.
func PutRef(key, value []byte, ref Ref) Op { return Op{Kind: OpPut, Key: key, Value: value, Ref: ref} }

// Delete removes a row, if it is there.
func Delete(key []byte) Op { return Op{Kind: OpDelete, Key: key} }

// DeleteRange removes the rows of [lo, hi).
func DeleteRange(lo, hi []byte) Op { return Op{Kind: OpDeleteRange, Key: lo, Value: hi} }

// Staged is a body that was written whole and is not committed yet. It can be used in one batch, or dropped with
// Discard; a crash drops it too.
type Staged interface {
	Size() int64
	Discard()
}

// BlobWriter takes a body in pieces. Nothing holds the whole body in memory.
type BlobWriter interface {
	io.Writer
	// Close ends the body.
	Close() (Staged, error)
	// Discard gives it up. After Close it does nothing, so that it can be deferred: the Staged has its own.
	Discard()
}

// Reader reads one snapshot of durable commits. Slices it returns are valid until the View ends and must not be
// changed.
type Reader interface {
	// Pos is the position of the snapshot.
	Pos() Pos
	// Get returns ErrNotFound if there is no such row.
	Get(ctx context.Context, key []byte) ([]byte, error)
	// GetMulti returns a nil element for a row that is not there.
	GetMulti(ctx context.Context, keys [][]byte) ([][]byte, error)
	// Scan yields the rows of [lo, hi) in key order, or backwards; hi nil is the end. The yielded slices are valid until the next step.
	Scan(ctx context.Context, lo, hi []byte, reverse bool) iter.Seq2[KV, error]
	// Blob reads n octets of a body from offset off, appending them to dst; fewer if the body ends. The blocks that
	// the range touches are verified: ErrCorrupt names file and offset.
	Blob(ctx context.Context, dst []byte, ref Ref, off, n int64) ([]byte, error)
}

// Pending is a batch on its way to the disk.
type Pending interface {
	// Pos is the position the batch has if it succeeds.
	Pos() Pos
	// Wait returns nil when the batch is durable and visible. Cancelling ctx cancels only the waiting, and gives the
	// context's error: the outcome is then unknown to this caller. ErrUnknown: the batch may come to be visible later.
	Wait(ctx context.Context) error
}

// Event is one durable commit, or a piece of one: the keys with the watched prefix that it changed (a range delete
// gives its bounds in Ranges). Overflow: events were dropped before this one; read again from a View.
type Event struct {
	Pos      Pos
	Keys     [][]byte
	Ranges   [][2][]byte
	Overflow bool
}

// Engine keeps one database.
type Engine interface {
	Stage(ctx context.Context) (BlobWriter, error)
	// View calls fn with a snapshot. It must be short, bounded in time (the engine's limit: ErrViewOver) and rows,
	// and never write to a socket: what is read pins space.
	View(ctx context.Context, fn func(Reader) error) error
	// Submit checks the asserts and fixes the order. After an error nothing of the batch will be applied. The engine
	// keeps no slice of the batch after Submit returned.
	Submit(ctx context.Context, b *Batch) (Pending, error)
	// Watch yields the durable commits after the position that touch the prefix, as they become durable, until ctx
	// ends or the loop is left. A slow loop gets Overflow.
	Watch(ctx context.Context, prefix []byte, after Pos) iter.Seq2[Event, error]
	Close() error
}

// Maintainer is the care of an engine.
type Maintainer interface {
	// Checkpoint writes a consistent copy to dir, which must be empty or hold an earlier checkpoint of this engine.
	Checkpoint(ctx context.Context, dir string) error
	// Verify reads everything and reports each fault found; progress is called from time to time and may be nil.
	Verify(ctx context.Context, progress func(done, total int64)) ([]Fault, error)
	Status(ctx context.Context) (Status, error)
	// Collect frees the space of bodies that no row refers to any more, moving at most budget octets of live ones.
	Collect(ctx context.Context, budget int64) (Collected, error)
}

// Fault is damage that Verify found.
type Fault struct {
	File   string
	Offset int64
	What   string
}

// Status describes an engine.
type Status struct {
	Pos         Pos
	Format      int
	LiveOctets  int64 // of bodies that a row refers to
	DeadOctets  int64 // of bodies that nothing refers to
	IndexOctets int64
	LogOctets   int64
	FreeOctets  int64 // on the disk
	Segments    int
	Full        bool // below the reserve: only batches with Deletes are taken
	Fenced      error
}

// Collected is what Collect did.
type Collected struct {
	Segments    int   // removed
	MovedOctets int64 // copied because still alive
	FreedOctets int64
	MoreToDo    bool
}

// Commit submits and waits.
func Commit(ctx context.Context, e Engine, b *Batch) error {
	p, err := e.Submit(ctx, b)
	if err != nil {
		return err
	}
	return p.Wait(ctx)
}
