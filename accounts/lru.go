package accounts

// lru keeps what was used last, within a bound of cost. It is not safe for concurrent use.
type lru[K comparable, V any] struct {
	max, cost int64
	m         map[K]*lruItem[K, V]
	root      lruItem[K, V] // next: used last; prev: used longest ago
}

type lruItem[K comparable, V any] struct {
	prev, next *lruItem[K, V]
	key        K
	value      V
	cost       int64
}

func newLRU[K comparable, V any](maxCost int64) *lru[K, V] {
	l := &lru[K, V]{max: maxCost}
	l.clear()
	return l
}

func (l *lru[K, V]) clear() {
	l.m, l.cost = make(map[K]*lruItem[K, V]), 0
	l.root.prev, l.root.next = &l.root, &l.root
}

func (l *lru[K, V]) get(k K) (v V, ok bool) {
	i := l.m[k]
	if i == nil {
		return v, false
	}
	if l.root.next != i {
		i.unlink()
		l.front(i)
	}
	return i.value, true
}

func (l *lru[K, V]) put(k K, v V, cost int64) {
	l.remove(k)
	if cost > l.max {
		return
	}
	i := &lruItem[K, V]{key: k, value: v, cost: cost}
	l.m[k] = i
	l.front(i)
	for l.cost += cost; l.cost > l.max; {
		l.remove(l.root.prev.key)
	}
}

func (l *lru[K, V]) remove(k K) {
	if i := l.m[k]; i != nil {
		i.unlink()
		delete(l.m, k)
		l.cost -= i.cost
	}
}

func (l *lru[K, V]) front(i *lruItem[K, V]) {
	i.prev, i.next = &l.root, l.root.next
	i.prev.next, i.next.prev = i, i
}

func (i *lruItem[K, V]) unlink() { i.prev.next, i.next.prev = i.next, i.prev }
