package transfer

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// Known remembers, in a file of one line a message, what was imported: for ever, while the store remembers ids for days.
// What is lost of it in a crash is found by the store. It is safe for concurrent use.
type Known struct {
	mu  sync.Mutex
	ids map[[16]byte]struct{}
	f   *os.File
}

// OpenKnown reads the file, or makes it.
func OpenKnown(name string) (*Known, error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	k := &Known{ids: map[[16]byte]struct{}{}, f: f}
	for s := bufio.NewScanner(f); s.Scan(); {
		var id [16]byte
		if n, err := hex.Decode(id[:], []byte(strings.TrimSpace(s.Text()))[:min(32, len(strings.TrimSpace(s.Text())))]); err == nil && n == len(id) {
			k.ids[id] = struct{}{}
		}
	}
	return k, nil
}

func short(id string) [16]byte {
	sum := sha256.Sum256([]byte(id))
	return [16]byte(sum[:16])
}

// Has tells whether a message was imported.
func (k *Known) Has(id string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, ok := k.ids[short(id)]
	return ok
}

// add notes messages that are stored.
func (k *Known) add(items []Item) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	var b []byte
	for _, it := range items {
		id := short(it.ID)
		k.ids[id] = struct{}{}
		b = append(hex.AppendEncode(b, id[:]), '\n')
	}
	_, err := k.f.Write(b)
	return err
}

// Close syncs the file.
func (k *Known) Close() error { return errors.Join(k.f.Sync(), k.f.Close()) }
