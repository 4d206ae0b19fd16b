package house

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/samotop/samotop/internal/certs"
	"github.com/samotop/samotop/management"
	"github.com/samotop/samotop/store"
)

// about tells management about the whole.
type about struct{ h *House }

var _ management.House = about{}

func (a about) Status(ctx context.Context) (management.Status, error) {
	h := a.h
	var s management.Status
	if h.queue != nil {
		if n, err := (queue{h.queue}).QueueStats(ctx, management.Filter{}); err == nil { // without, the rest can still be told
			s.Queue = &n
		}
	}
	rooms := h.roomStates(ctx, &s)
	h.state.mu.Lock()
	defer h.state.mu.Unlock()
	s.Version, s.Hostname, s.Dir, s.Stopping = h.o.Version, h.conf.Hostname, h.conf.Dir, h.state.stopping
	if !h.state.since.IsZero() {
		s.Running, s.PID, s.Since, s.Listeners, s.Rooms = true, os.Getpid(), h.state.since, slices.Clone(h.state.listeners), rooms
	}
	if h.keeper != nil {
		leaf := h.keeper.Certificate().Leaf
		s.Certificate = strings.Join(leaf.DNSNames, ", ") + ", until " + leaf.NotAfter.UTC().Format("2006-01-02")
		if certs.SelfSigned(h.keeper.Certificate()) {
			s.Certificate += ", self-signed"
		}
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(h.conf.Dir, &fs); err == nil {
		s.FreeOctets = int64(uint64(fs.Bavail) * uint64(fs.Bsize))
	}
	if err := h.failure(); err != nil {
		s.Fenced = err.Error()
	}
	return s, nil
}

// names lists the open databases in a fixed order.
func (h *House) names() []string {
	var out []string
	for _, n := range []string{accountsDB, mailsDB, queueDB, journalDB, evidenceDB} {
		if h.engines[n] != nil {
			out = append(out, n)
		}
	}
	return out
}

func (a about) Stores(ctx context.Context) ([]management.Store, error) {
	var out []management.Store
	for _, name := range a.h.names() {
		m, ok := a.h.engines[name].(store.Maintainer)
		if !ok {
			continue
		}
		s, err := m.Status(ctx)
		if err != nil {
			return nil, fmt.Errorf("status of database %s: %w", name, err)
		}
		x := management.Store{Name: name, Dir: filepath.Join(a.h.conf.Dir, name), Format: s.Format, Position: uint64(s.Pos),
			LiveOctets: s.LiveOctets, DeadOctets: s.DeadOctets, IndexOctets: s.IndexOctets, LogOctets: s.LogOctets,
			FreeOctets: s.FreeOctets, Segments: s.Segments, Full: s.Full}
		if s.Fenced != nil {
			x.Fenced = s.Fenced.Error()
		}
		out = append(out, x)
	}
	err := a.h.askOwners(func(_ string, c management.Client) error {
		_, err := c.Each(ctx, "store/status", nil, func(raw json.RawMessage) error {
			var x management.Store
			err := json.Unmarshal(raw, &x)
			out = append(out, x)
			return err
		})
		return err
	})
	return out, err
}
