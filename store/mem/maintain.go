package mem

import (
	"bufio"
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"hash/maphash"
	"os"
	"path/filepath"

	"github.com/samotop/samotop/store"
)

const checkpointFile = "mem.checkpoint"

// image is what Checkpoint writes.
type image struct {
	Pos    store.Pos
	LastID uint64
	Rows   []store.KV
	Bodies map[uint64][]byte
}

// Checkpoint is of store.Maintainer. Load reads it.
func (e *Engine) Checkpoint(ctx context.Context, dir string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	e.mu.Lock()
	im := image{Pos: e.durPos, LastID: e.lastID, Bodies: map[uint64][]byte{}}
	ascend(e.durable.root, nil, nil, func(n *node) bool {
		im.Rows = append(im.Rows, store.KV{Key: n.key, Value: n.value})
		if _, id, ok := rowRef(n.value); ok && e.bodies[id] != nil {
			im.Bodies[id] = e.bodies[id].data
		}
		return true
	})
	e.mu.Unlock()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	var out bytes.Buffer
	if err := gob.NewEncoder(&out).Encode(&im); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	name := filepath.Join(dir, checkpointFile)
	if err := os.WriteFile(name+".new", out.Bytes(), 0o600); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return os.Rename(name+".new", name)
}

// Load starts an engine from a checkpoint of another.
func Load(dir string, o Options) (*Engine, error) {
	f, err := os.Open(filepath.Join(dir, checkpointFile))
	if err != nil {
		return nil, fmt.Errorf("load checkpoint: %w", err)
	}
	defer f.Close()
	var im image
	if err := gob.NewDecoder(bufio.NewReader(f)).Decode(&im); err != nil {
		return nil, fmt.Errorf("load checkpoint %s: %w", f.Name(), errors.Join(store.ErrCorrupt, err))
	}
	rows := tree{seed: maphash.MakeSeed()}
	for _, kv := range im.Rows {
		rows = rows.put(kv.Key, kv.Value)
	}
	bodies := map[uint64]*body{}
	for id, data := range im.Bodies {
		bodies[id] = &body{data: data}
	}
	return start(o, rows, bodies, im.LastID, im.Pos), nil
}

// Verify is of store.Maintainer: every row's body is there.
func (e *Engine) Verify(ctx context.Context, progress func(done, total int64)) ([]store.Fault, error) {
	e.mu.Lock()
	rows := e.durable
	e.mu.Unlock()
	var faults []store.Fault
	var done int64
	ascend(rows.root, nil, nil, func(n *node) bool {
		done++
		e.mu.Lock()
		defer e.mu.Unlock()
		if _, id, ok := rowRef(n.value); ok && e.bodies[id] == nil {
			faults = append(faults, store.Fault{What: fmt.Sprintf("row %q: body %d is gone", n.key, id)})
		}
		return ctx.Err() == nil
	})
	if progress != nil {
		progress(done, done)
	}
	return faults, ctx.Err()
}

// live is the set of bodies that rows of a tree refer to.
func live(t tree) map[uint64]bool {
	ids := map[uint64]bool{}
	ascend(t.root, nil, nil, func(n *node) bool {
		if _, id, ok := rowRef(n.value); ok {
			ids[id] = true
		}
		return true
	})
	return ids
}

func (e *Engine) octets(t tree) int64 {
	var sum int64
	ascend(t.root, nil, nil, func(n *node) bool {
		sum += int64(len(n.key) + len(n.value))
		return true
	})
	for _, b := range e.bodies {
		sum += int64(len(b.data))
	}
	return sum
}

// Status is of store.Maintainer.
func (e *Engine) Status(ctx context.Context) (store.Status, error) {
	if err := ctx.Err(); err != nil {
		return store.Status{}, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	st := store.Status{Pos: e.durPos, Format: 1}
	if errors.Is(e.stop, store.ErrFenced) {
		st.Fenced = e.stop
	}
	ids := live(e.durable)
	for id, b := range e.bodies {
		if ids[id] || b.staged > 0 {
			st.LiveOctets += int64(len(b.data))
		} else {
			st.DeadOctets += int64(len(b.data))
		}
	}
	st.IndexOctets = e.octets(e.durable) - st.LiveOctets - st.DeadOctets
	if e.o.QuotaOctets > 0 {
		st.FreeOctets = max(0, e.o.QuotaOctets-e.octets(e.next))
		st.Full = st.FreeOctets == 0
	}
	return st, nil
}

// Collect is of store.Maintainer. It frees nothing while a View is open.
func (e *Engine) Collect(ctx context.Context, budget int64) (store.Collected, error) {
	var c store.Collected
	if e.o.MoveBodies {
		if err := e.move(ctx, budget, &c); err != nil {
			return c, fmt.Errorf("collect: %w", err)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stop != nil {
		return c, fmt.Errorf("collect: %w", e.stop)
	}
	e.syncTo(e.pos)
	if e.views > 0 {
		c.MoreToDo = true
		return c, nil
	}
	ids := live(e.durable)
	for id, b := range e.bodies {
		if !ids[id] && b.staged == 0 {
			c.FreedOctets += int64(len(b.data))
			delete(e.bodies, id)
		}
	}
	return c, nil
}

// move gives bodies a new place and rewrites their rows, until the budget is spent.
func (e *Engine) move(ctx context.Context, budget int64, c *store.Collected) error {
	e.mu.Lock()
	var rows []store.KV
	ascend(e.durable.root, nil, nil, func(n *node) bool {
		if _, id, ok := rowRef(n.value); ok && e.bodies[id] != nil {
			budget -= int64(len(e.bodies[id].data))
			c.MovedOctets += int64(len(e.bodies[id].data))
			rows = append(rows, store.KV{Key: n.key, Value: n.value})
		}
		return budget > 0
	})
	e.mu.Unlock()
	for _, kv := range rows {
		own, id, _ := rowRef(kv.Value)
		e.mu.Lock()
		b := e.bodies[id]
		if b == nil {
			e.mu.Unlock()
			continue
		}
		e.lastID++
		st := &staged{e: e, id: e.lastID, size: int64(len(b.data))}
		e.bodies[st.id] = &body{data: b.data, staged: 1}
		e.mu.Unlock()
		err := store.Commit(ctx, e, &store.Batch{
			Asserts: []store.Assert{{Key: kv.Key, Value: kv.Value}},
			Ops:     []store.Op{store.PutBlob(kv.Key, own, 0)},
			Blobs:   []store.Staged{st},
			Deletes: true,
		})
		if err != nil {
			st.Discard()
		}
		if err != nil && !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
	return nil
}
