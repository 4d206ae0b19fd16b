package house

import (
	"context"
	"errors"

	"github.com/samotop/samotop/internal/config"
	"github.com/samotop/samotop/store"
)

// telemetry shows metrics and health: on a socket, of a house that is split on one for each room, and where [metrics] says.
func (h *House) telemetry() []planned {
	handler := h.metrics.Handler(h.failure, h.ready)
	sockets := []string{config.Telemetry}
	if h.o.Rooms != All {
		sockets = nil
		for _, n := range roomNames {
			if h.has(n.room) {
				sockets = append(sockets, config.RoomTelemetry(n.name))
			}
		}
	}
	var out []planned
	for _, s := range sockets {
		out = append(out, h.http("metrics", h.conf.RunPath(s), 0o660, handler))
	}
	if h.has(Management) || h.o.Rooms == All { // one process only can have a port
		for _, l := range h.conf.Metrics.Listen {
			p := h.http("metrics", l.HostPort(), 0, handler)
			p.network = "tcp"
			out = append(out, p)
		}
	}
	return out
}

// ready tells why the house does not serve, or nil.
func (h *House) ready() error {
	h.state.mu.Lock()
	defer h.state.mu.Unlock()
	switch {
	case h.state.since.IsZero():
		return errors.New("not all listeners are there yet")
	case h.state.stopping:
		return errors.New("stopping")
	}
	return nil
}

// countStores shows the space of the databases and how deep the queue is.
func (h *House) countStores() {
	for name, e := range h.engines {
		m, ok := e.(store.Maintainer)
		if !ok {
			continue
		}
		for _, g := range []struct {
			name, help string
			value      func(store.Status) float64
		}{
			{"samotop_store_live_bytes", "Bodies that something refers to.", func(s store.Status) float64 { return float64(s.LiveOctets) }},
			{"samotop_store_dead_bytes", "Bodies that nothing refers to.", func(s store.Status) float64 { return float64(s.DeadOctets) }},
			{"samotop_store_log_bytes", "The log.", func(s store.Status) float64 { return float64(s.LogOctets) }},
			{"samotop_store_index_bytes", "The index.", func(s store.Status) float64 { return float64(s.IndexOctets) }},
			{"samotop_store_free_bytes", "Free on the disk.", func(s store.Status) float64 { return float64(s.FreeOctets) }},
			{"samotop_store_full", "1: below the reserve, nothing new is taken.", func(s store.Status) float64 { return one(s.Full) }},
			{"samotop_store_fenced", "1: the disk failed, nothing more is kept.", func(s store.Status) float64 { return one(s.Fenced != nil) }},
		} {
			h.metrics.Gauge(g.name, g.help, map[string]string{"store": name}, func(ctx context.Context) (float64, error) {
				s, err := m.Status(ctx)
				return g.value(s), err
			})
		}
	}
}

func one(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
