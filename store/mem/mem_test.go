package mem

import (
	"bytes"
	"context"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestTreeAgainstMap(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	tr := tree{seed: maphash.MakeSeed()}
	model := map[string]string{}
	for range 20000 {
		k := fmt.Sprintf("%03d", rng.IntN(500))
		switch rng.IntN(10) {
		case 0:
			hi := fmt.Sprintf("%03d", rng.IntN(500))
			if hi < k {
				k, hi = hi, k
			}
			if rng.IntN(5) > 0 {
				continue
			}
			tr = tr.removeRange([]byte(k), []byte(hi))
			for m := range model {
				if m >= k && m < hi {
					delete(model, m)
				}
			}
		case 1, 2, 3:
			tr = tr.remove([]byte(k))
			delete(model, k)
		default:
			v := fmt.Sprint(rng.Uint32())
			tr = tr.put([]byte(k), []byte(v))
			model[k] = v
		}
	}
	var keys, back []string
	ascend(tr.root, nil, nil, func(n *node) bool {
		keys = append(keys, string(n.key))
		if model[string(n.key)] != string(n.value) {
			t.Errorf("key %s: %s, want %s", n.key, n.value, model[string(n.key)])
		}
		return true
	})
	descend(tr.root, nil, nil, func(n *node) bool {
		back = append(back, string(n.key))
		return true
	})
	slices.Reverse(back)
	if len(keys) != len(model) || !slices.IsSorted(keys) || !slices.Equal(keys, back) {
		t.Errorf("%d keys, want %d; or not in order", len(keys), len(model))
	}
}

func TestLoadCheckpoint(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	e := New(Options{})
	defer e.Close()
	put(t, e, "k", "own", []byte("body"))
	if err := e.Checkpoint(ctx, dir); err != nil {
		t.Fatal(err)
	}
	l, err := Load(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if got := read(t, l, "k"); !bytes.Equal(got, []byte("body")) {
		t.Errorf("body %q", got)
	}
}
