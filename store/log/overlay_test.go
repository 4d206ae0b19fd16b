package log

import (
	"bytes"
	"fmt"
	"maps"
	"testing"

	"github.com/samotop/samotop/store"
	"pgregory.net/rapid"
)

// overlaid is a batch on its way in a model of what the overlay must know.
type overlaid struct {
	b           *store.Batch
	enc         *encoded
	first, next uint64
}

func (o *overlaid) apply(m map[string]string) {
	for _, op := range o.b.Ops {
		switch op.Kind {
		case store.OpPut:
			m[string(op.Key)] = string(op.Value)
		case store.OpDelete:
			delete(m, string(op.Key))
		case store.OpDeleteRange:
			maps.DeleteFunc(m, func(k, _ string) bool { return k >= string(op.Key) && k < string(op.Value) })
		}
	}
}

// TestOverlayProperty: batches are submitted, are written, come into the index in order, or all that are
// not written fail. Whatever
// the overlay says of a row, or leaves to the index, is what the batches that did not fail make of it; it may decline to
// say while something is on its way.
func TestOverlayProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var o overlay
		index := map[string]string{}
		var way []overlaid
		key := rapid.Custom(func(t *rapid.T) []byte { return fmt.Appendf(nil, "k%d", rapid.IntRange(0, 5).Draw(t, "key")) })
		n, written := 0, 0
		t.Repeat(map[string]func(*rapid.T){
			"submit": func(t *rapid.T) {
				b := &store.Batch{}
				for range rapid.IntRange(1, 3).Draw(t, "ops") {
					k := key.Draw(t, "k")
					switch rapid.IntRange(0, 4).Draw(t, "kind") {
					case 0:
						b.Ops = append(b.Ops, store.Delete(k))
					case 1:
						if hi := key.Draw(t, "hi"); bytes.Compare(k, hi) <= 0 {
							b.Ops = append(b.Ops, store.DeleteRange(k, hi))
						}
					default:
						n++
						b.Ops = append(b.Ops, store.Put(k, fmt.Appendf(nil, "v%d", n)))
						b.Asserts = append(b.Asserts, store.Assert{Key: k, Value: []byte("x")})
					}
				}
				w := overlaid{b: b, enc: encode(b, nil)}
				w.first, w.next = o.add(b, w.enc)
				way = append(way, w)
			},
			"settle": func(t *rapid.T) {
				if written > 0 {
					written--
					way[0].apply(index)
					o.settle(way[0].enc.keys, way[0].first, way[0].next, false)
					way = way[1:]
				}
			},
			"write": func(t *rapid.T) { written = rapid.IntRange(written, len(way)).Draw(t, "written") },
			"fail": func(t *rapid.T) {
				for _, w := range way[written:] {
					o.settle(w.enc.keys, w.first, w.next, true)
				}
				way = way[:written]
			},
			"": func(t *rapid.T) {
				want := maps.Clone(index)
				for i := range way {
					way[i].apply(want)
				}
				for i := range 6 {
					k := fmt.Sprintf("k%d", i)
					v, there := want[k]
					c, ok := o.lookup([]byte(k))
					switch {
					case ok && c.doubt && len(way) > 0:
					case ok && (c.doubt || c.gone == there || there && string(c.value) != v):
						t.Fatalf("%s: the overlay says %+v, want %q %v", k, c, v, there)
					case !ok && (index[k] != v):
						t.Fatalf("%s: left to the index, which has %q, want %q", k, index[k], v)
					}
				}
				if len(way) == 0 && len(o.rows)+len(o.ranges)+len(o.doubts)+len(o.failed) > 0 {
					t.Fatalf("nothing is on its way, and the overlay keeps %+v", o)
				}
			},
		})
	})
}
