package qm

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/mem"
)

// TestVerifyFinds damages each kind of row.
func TestVerifyFinds(t *testing.T) {
	ctx := context.Background()
	id := makeID(1e12, 0, 1)
	msg := &messageRow{arrival: time.UnixMilli(1e12), total: 2, size: 4}
	row := &recipientRow{rcpt: mail.Recipient{Address: mail.Address{Local: "a", Domain: "b.test"}}, dest: "b.test", due: 5}
	other := *row
	other.held = true
	for want, damage := range map[string][]store.Op{
		"":                         nil,
		"stands in no line":        {store.Delete(destKey(0, "b.test", 0, 5, id, 0))},
		"is never due":             {store.Delete(dueKey(0, 5, id, 0))},
		"has no recipient 7":       {store.Put(dueKey(0, 5, id, 7), []byte("b.test"))},
		"it counts 3":              {store.Put(counterKey(id), encodeCount(3))},
		"it has no recipients":     {store.Delete(recipientKey(id, 0)), store.Delete(recipientKey(id, 1))},
		"it is not":                {store.Delete(messageKey(id))},
		"or priority":              {store.Put(destKey(0, "b.test", 3, 5, id, 0), nil)},
		"another time":             {store.Put(dueKey(0, 6, id, 0), []byte("b.test"))},
		"recipient 0: ":            {store.Put(recipientKey(id, 0), []byte("x"))},
		"a row of an unknown kind": {store.Put(append(messageKey(id), 'z'), nil)},
	} {
		e := mem.New(mem.Options{})
		w, err := e.Stage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte("body")); err != nil {
			t.Fatal(err)
		}
		s, err := w.Close()
		if err != nil {
			t.Fatal(err)
		}
		q := &QM{}
		ops := []store.Op{store.PutBlob(messageKey(id), msg.encode(), 0), store.Put(counterKey(id), encodeCount(2))}
		ops = q.putRecipient(q.putRecipient(ops, id, 0, row), id, 1, &other)
		if err := store.Commit(ctx, e, &store.Batch{Ops: ops, Blobs: []store.Staged{s}}); err != nil {
			t.Fatal(err)
		}
		if err := store.Commit(ctx, e, &store.Batch{Ops: damage}); err != nil {
			t.Fatal(err)
		}
		faults, err := Verify(ctx, e, nil)
		if text := strings.Join(faults, "\n"); err != nil || (text == "") != (want == "") || !strings.Contains(text, want) {
			t.Errorf("%s: %q, %v", want, text, err)
		}
	}
}
