package core

import "sync"

// MaxKeys is how many keys are remembered.
const MaxKeys = 2000

// Keys remembers keys by the text of their records: reading one costs a sixth of what verifying with it does. It never
// asks DNS, so what it says cannot be out of date. The zero value is ready for use; nil remembers nothing. It is safe
// for concurrent use.
type Keys struct {
	mu   sync.Mutex
	seen map[string]*Key
}

// Parse is ParseKey. The key must not be changed.
func (k *Keys) Parse(record string) (*Key, error) {
	if k == nil {
		return ParseKey(record)
	}
	k.mu.Lock()
	key := k.seen[record]
	k.mu.Unlock()
	if key != nil {
		return key, nil
	}
	key, err := ParseKey(record)
	if err != nil {
		return key, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.seen == nil {
		k.seen = make(map[string]*Key)
	}
	for old := range k.seen { // any one: those in use come back at once
		if len(k.seen) < MaxKeys {
			break
		}
		delete(k.seen, old)
	}
	k.seen[record] = key
	return key, nil
}
