package mem

import (
	"context"
	"testing"

	"github.com/samotop/samotop/store"
)

func put(t *testing.T, e *Engine, key, own string, body []byte) {
	t.Helper()
	ctx := context.Background()
	w, err := e.Stage(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(body); err != nil {
		t.Fatal(err)
	}
	st, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	err = store.Commit(ctx, e, &store.Batch{Ops: []store.Op{store.PutBlob([]byte(key), []byte(own), 0)}, Blobs: []store.Staged{st}})
	if err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, e *Engine, key string) (body []byte) {
	t.Helper()
	ctx := context.Background()
	err := e.View(ctx, func(r store.Reader) error {
		v, err := r.Get(ctx, []byte(key))
		if err != nil {
			return err
		}
		_, ref, err := store.SplitRef(v)
		if err != nil {
			return err
		}
		body, err = r.Blob(ctx, nil, ref, 0, 1<<20)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return body
}
