package store

import (
	"bytes"
	"fmt"
)

// Check tells what is wrong with the form of a batch, without looking at any row: ErrTooLarge or ErrInvalid, wrapped.
// Engines call it in Submit.
func (b *Batch) Check() error {
	if len(b.Ops) > MaxBatchOps || len(b.Asserts) > MaxBatchOps {
		return fmt.Errorf("%d operations and %d assertions: %w", len(b.Ops), len(b.Asserts), ErrTooLarge)
	}
	total := 0
	for i := range b.Asserts {
		a := &b.Asserts[i]
		if err := checkKey(a.Key); err != nil {
			return fmt.Errorf("assertion %d: %w", i, err)
		}
		total += len(a.Key) + len(a.Value)
	}
	for i := range b.Ops {
		op := &b.Ops[i]
		if err := b.checkOp(op); err != nil {
			return fmt.Errorf("operation %d: %w", i, err)
		}
		total += len(op.Key) + len(op.Value) + len(op.Ref)
	}
	if total > MaxBatchOctets {
		return fmt.Errorf("batch of %d octets: %w", total, ErrTooLarge)
	}
	return nil
}

func (b *Batch) checkOp(op *Op) error {
	switch op.Kind {
	case OpPut:
		return b.checkPut(op)
	case OpDelete:
		if op.Blob != 0 || op.Ref != nil {
			return fmt.Errorf("a deletion with a body: %w", ErrInvalid)
		}
		return checkKey(op.Key)
	case OpDeleteRange:
		// Bounds may be longer than a key by the octet that makes them exclusive; an empty lower bound is the start.
		if len(op.Key) > MaxKeyOctets+1 || len(op.Value) > MaxKeyOctets+1 {
			return fmt.Errorf("range bound: %w", ErrTooLarge)
		}
		if op.Blob != 0 || op.Ref != nil || bytes.Compare(op.Key, op.Value) > 0 {
			return fmt.Errorf("range of deletion: %w", ErrInvalid)
		}
		return nil
	}
	return fmt.Errorf("unknown kind %d: %w", op.Kind, ErrInvalid)
}

func (b *Batch) checkPut(op *Op) error {
	if err := checkKey(op.Key); err != nil {
		return err
	}
	switch {
	case len(op.Value)+len(op.Ref) > MaxValueOctets, len(op.Ref) > MaxRefOctets:
		return fmt.Errorf("value of %d octets, reference of %d: %w", len(op.Value), len(op.Ref), ErrTooLarge)
	case op.Blob < 0 || op.Blob > len(b.Blobs), op.Blob != 0 && op.Ref != nil:
		return fmt.Errorf("body %d of %d: %w", op.Blob, len(b.Blobs), ErrInvalid)
	case op.Ref != nil && !b.asserts(op.Key, op.Ref):
		return fmt.Errorf("a reference that the batch does not assert: %w", ErrInvalid)
	}
	return nil
}

// asserts tells whether the batch asserts that the row of key ends in ref.
func (b *Batch) asserts(key []byte, ref Ref) bool {
	for i := range b.Asserts {
		if a := &b.Asserts[i]; !a.Absent && bytes.Equal(a.Key, key) {
			if _, r, err := SplitRef(a.Value); err == nil && bytes.Equal(r, ref) {
				return true
			}
		}
	}
	return false
}

func checkKey(key []byte) error {
	if len(key) == 0 {
		return fmt.Errorf("empty key: %w", ErrInvalid)
	}
	if len(key) > MaxKeyOctets {
		return fmt.Errorf("key of %d octets: %w", len(key), ErrTooLarge)
	}
	return nil
}
