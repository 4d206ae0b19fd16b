package mem

import (
	"bytes"
	"hash/maphash"
)

// node is an immutable treap: a change copies the path to the root, so that whoever holds an old root has a snapshot.
type node struct {
	key, value  []byte
	prio        uint64
	left, right *node
}

// tree is a root together with the seed of its priorities.
type tree struct {
	root *node
	seed maphash.Seed
}

func (t tree) get(key []byte) ([]byte, bool) {
	for n := t.root; n != nil; {
		switch c := bytes.Compare(key, n.key); {
		case c == 0:
			return n.value, true
		case c < 0:
			n = n.left
		default:
			n = n.right
		}
	}
	return nil, false
}

// put and remove keep the slices they are given.
func (t tree) put(key, value []byte) tree {
	t.root = insert(t.root, &node{key: key, value: value, prio: maphash.Bytes(t.seed, key)})
	return t
}

func (t tree) remove(key []byte) tree {
	if _, ok := t.get(key); ok {
		t.root = drop(t.root, key)
	}
	return t
}

func (t tree) removeRange(lo, hi []byte) tree {
	low, rest := split(t.root, lo)
	_, high := split(rest, hi)
	t.root = merge(low, high)
	return t
}

func insert(n, x *node) *node {
	if n == nil {
		return x
	}
	if c := bytes.Compare(x.key, n.key); c == 0 {
		x.left, x.right = n.left, n.right
		return x
	} else if x.prio <= n.prio {
		m := *n
		if c < 0 {
			m.left = insert(n.left, x)
		} else {
			m.right = insert(n.right, x)
		}
		return &m
	}
	// x stands above n, and above its own key if that is in n: equal keys have equal priority, so it is not.
	x.left, x.right = split(n, x.key)
	return x
}

func drop(n *node, key []byte) *node {
	switch c := bytes.Compare(key, n.key); {
	case c == 0:
		return merge(n.left, n.right)
	case c < 0:
		m := *n
		m.left = drop(n.left, key)
		return &m
	default:
		m := *n
		m.right = drop(n.right, key)
		return &m
	}
}

// split parts n into the keys below key and the others.
func split(n *node, key []byte) (low, high *node) {
	if n == nil {
		return nil, nil
	}
	m := *n
	if bytes.Compare(n.key, key) < 0 {
		m.right, high = split(n.right, key)
		return &m, high
	}
	low, m.left = split(n.left, key)
	return low, &m
}

// merge joins two treaps, every key of a below every key of b.
func merge(a, b *node) *node {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case a.prio >= b.prio:
		m := *a
		m.right = merge(a.right, b)
		return &m
	default:
		m := *b
		m.left = merge(a, b.left)
		return &m
	}
}

// ascend calls fn for the rows of [lo, hi), hi nil being the end, until fn returns false.
func ascend(n *node, lo, hi []byte, fn func(*node) bool) bool {
	if n == nil {
		return true
	}
	above := bytes.Compare(n.key, lo) >= 0
	below := hi == nil || bytes.Compare(n.key, hi) < 0
	if above && !ascend(n.left, lo, hi, fn) {
		return false
	}
	if above && below && !fn(n) {
		return false
	}
	return !below || ascend(n.right, lo, hi, fn)
}

func descend(n *node, lo, hi []byte, fn func(*node) bool) bool {
	if n == nil {
		return true
	}
	above := bytes.Compare(n.key, lo) >= 0
	below := hi == nil || bytes.Compare(n.key, hi) < 0
	if below && !descend(n.right, lo, hi, fn) {
		return false
	}
	if above && below && !fn(n) {
		return false
	}
	return !above || descend(n.left, lo, hi, fn)
}
