package log

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"sync"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// vital tells whether a file says which tables the index consists of: its MANIFEST, or what points to that. Pebble takes
// an error there for the end of the process, and is not sound after it. So it does not get one: the engine is fenced and
// what Pebble does goes nowhere. A fenced engine removes nothing, neither tables nor log, so that what the files said
// before is still true at the next start.
func (e *Engine) vital(name string) bool {
	base := path.Base(name)
	return e.ownIndex(name) && (strings.HasPrefix(base, "MANIFEST-") || strings.HasPrefix(base, "marker."))
}

func (g gateFS) createVital(name string, c vfs.DiskWriteCategory) vfs.File {
	var f vfs.File = nowhere{}
	if !g.e.pretends() {
		g.e.insist(func() error {
			made, err := g.FS.Create(name, c)
			if err == nil {
				f = made
			}
			return err
		})
	}
	if strings.HasPrefix(path.Base(name), "MANIFEST-") {
		g.e.manifest.begin(f)
		f = manifestFile{f, g.e}
	}
	return gateFile{f, g.e, true}
}

// insist does something, unless the engine is fenced, which it is if that fails.
func (e *Engine) insist(do func() error) {
	if e.isFenced() != nil {
		return
	}
	if err := do(); err != nil {
		e.fence(fmt.Errorf("index: %w", err))
	}
}

// manifest keeps room on the disk for what is written to the MANIFEST, because lack of it there would fence the engine,
// and elsewhere is only waited out. No table is begun without that room.
type manifest struct {
	mu       sync.Mutex
	f        vfs.File
	at, kept int64 // octets written, and kept
}

const (
	manifestAhead = 256 << 10 // octets that are kept at a time
	manifestLeast = 128 << 10 // without so many left no table is begun; one adds some hundred octets
)

// manifestFile counts what is written.
type manifestFile struct {
	vfs.File
	e *Engine
}

func (f manifestFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	f.e.manifest.wrote(n)
	return n, err
}

func (m *manifest) begin(f vfs.File) {
	m.mu.Lock()
	m.f, m.at, m.kept = f, 0, 0
	m.mu.Unlock()
	m.room() //nolint:errcheck // asked again before the next table
}

func (m *manifest) wrote(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.at += int64(n)
}

// room keeps more if there is little left; its error is that there is no space for that.
func (m *manifest) room() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.f == nil || m.kept-m.at >= manifestLeast {
		return nil
	}
	upTo := m.at + manifestAhead
	if err := m.f.Preallocate(0, upTo); errors.Is(err, syscall.ENOSPC) {
		return err
	}
	m.kept = upTo // where a file system cannot, there is nothing to wait for
	return nil
}
