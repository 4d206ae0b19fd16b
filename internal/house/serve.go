package house

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/samotop/samotop/internal/certs"
	"github.com/samotop/samotop/internal/config"
	"github.com/samotop/samotop/store"
)

// Limits of the control socket.
const (
	controlHeaderTime   = 10 * time.Second
	controlIdleTime     = time.Minute
	controlHeaderOctets = 64 << 10
)

// ErrFenced is wrapped by the error of Serve when a database has stopped.
var ErrFenced = errors.New("the house stops: nothing could be kept any more")

// runState is what is known of a house that serves.
type runState struct {
	mu        sync.Mutex
	since     time.Time
	listeners []string
	stopping  bool
}

// service is something that listens.
type service struct {
	name     string
	listener net.Listener
	serve    func(ctx context.Context, l net.Listener) error
	shutdown func(ctx context.Context) error
}

// Serve listens, calls ready once everything does, and serves until ctx ends or a database stops. Then it drains: no
// new sessions, those that run finish within DrainTime or are told to come back, what is queued is on disk. It
// returns nil after a drain, ErrFenced with the cause if a database stopped. Close comes next.
func (h *House) Serve(ctx context.Context, ready func()) error {
	if h.o.Rooms != All && !h.o.Linked {
		return errors.New("serve: not all rooms are open")
	}
	if h.has(MTA | MSA | Mails) { // who ends TLS
		var err error
		if h.keeper, err = certs.Open(certs.Config{CertFile: h.conf.TLS.Cert, KeyFile: h.conf.TLS.Key, Log: h.log.With("part", "tls")}); err != nil {
			return err
		}
	}
	services, err := h.services()
	if err != nil {
		return err
	}
	bound, err := h.bind(ctx, services)
	if err != nil {
		return err
	}
	if err := h.o.Sockets.Close(); err != nil {
		h.log.Warn("sockets of the service manager are not used", "err", err)
	}
	if err := h.confine(); err != nil {
		for _, s := range bound {
			s.listener.Close()
		}
		return err
	}
	return h.run(ctx, bound, ready)
}

// bind opens the listeners: all or none.
func (h *House) bind(ctx context.Context, services []planned) ([]service, error) {
	var out []service
	for _, p := range services {
		l, err := h.listen(ctx, p)
		if err == nil && p.proxy {
			l = newProxied(l, trusted(h.conf.MTA.Trusted), h.log.With("part", "proxy"))
		}
		if err != nil {
			for _, s := range out {
				s.listener.Close()
			}
			return nil, listenError(p, err)
		}
		if p.far {
			if l, err = h.farListener(ctx, l); err != nil {
				return nil, err
			}
		}
		if p.peers {
			l = &peerListener{Listener: l, log: h.log.With("part", "local")}
		}
		if p.network == "tcp" && h.gate != nil {
			l = h.gate.listener(p.name, l)
		}
		out = append(out, service{name: p.name, listener: h.metrics.Listener(p.name, l), serve: p.serve, shutdown: p.shutdown})
		h.state.listeners = append(h.state.listeners, p.name+" "+p.address)
	}
	return out, nil
}

func (h *House) listen(ctx context.Context, p planned) (net.Listener, error) {
	if l := h.o.Sockets.Listener(p.network, p.address); l != nil {
		return l, nil
	}
	if p.network == "unix" {
		return listenUnix(p.address, p.mode)
	}
	if h.o.Listen != nil {
		return h.o.Listen(ctx, p.network, p.address)
	}
	return new(net.ListenConfig).Listen(ctx, p.network, p.address)
}

func listenError(p planned, err error) error {
	remedy := ""
	switch {
	case errors.Is(err, errInUse):
		remedy = "; another program has that port: stop it, or change listen in " + config.FileName
	case errors.Is(err, errAccess) && p.network != "unix":
		remedy = "; ports below 1024 need root, or: setcap cap_net_bind_service=+ep on the program; or make the house with --port-base 10000"
	case errors.Is(err, errNoAddress):
		remedy = "; this machine does not have that address: change listen in " + config.FileName
	}
	return fmt.Errorf("listen for %s on %s: %w%s", p.name, p.address, err, remedy)
}

// run serves until it is told to stop.
func (h *House) run(ctx context.Context, services []service, ready func()) error {
	work, end := context.WithCancel(context.WithoutCancel(ctx)) // a drain lets sessions finish
	defer end()
	failed := make(chan error, len(services)+1)
	var wg sync.WaitGroup
	for _, s := range services {
		wg.Go(func() {
			if err := s.serve(work, s.listener); err != nil && !h.isStopping() {
				failed <- fmt.Errorf("serve %s: %w", s.name, err)
			}
		})
	}
	if h.queue != nil {
		wg.Go(func() {
			if err := h.queue.Run(work); err != nil && !h.isStopping() {
				failed <- fmt.Errorf("queue: %w", err)
			}
		})
	}
	if h.acme != nil {
		wg.Go(func() {
			if err := h.acme.Run(work); err != nil { // the certificate that is there stays
				h.log.Error("no certificate is got by ACME", "err", err)
			}
		})
	}
	if h.drops != nil {
		wg.Go(func() { h.drops.Run(work) })
	}
	if h.counts != nil && h.has(MTA|Management) {
		wg.Go(func() { h.reporting(work) })
	}
	if h.gate != nil {
		wg.Go(func() { h.gate.watch(work) })
	}
	if h.desk != nil {
		wg.Go(func() { h.desk.run(work) })
	}
	if h.evidence != nil {
		wg.Go(func() { h.evidence.run(work, h.abuse) })
	}
	if h.remote != nil {
		wg.Go(func() { h.remote.c.Follow(work) })
	}
	if h.filter != nil {
		wg.Go(func() { h.sweepFilter(work) })
	}
	if h.train != nil {
		wg.Go(func() { h.train.run(work) })
	}
	for name, e := range h.engines {
		if m, ok := e.(store.Maintainer); ok {
			wg.Go(func() { h.collect(work, name, m) })
		}
	}
	h.countStores()
	h.countQueue()
	h.state.mu.Lock()
	h.state.since = time.Now()
	h.state.mu.Unlock()
	h.log.Info("the house serves", "hostname", h.conf.Hostname, "dir", h.conf.Dir, "version", h.o.Version)
	ready()
	var cause error
	select {
	case <-ctx.Done():
	case <-h.fenced:
		cause = fmt.Errorf("%w: %w; look at the disk and the log, then start again", ErrFenced, h.failure())
	case cause = <-failed:
		if f := h.failure(); f != nil { // the room noticed first
			cause = fmt.Errorf("%w: %w; look at the disk and the log, then start again", ErrFenced, f)
		}
	}
	h.drain(services, cause)
	end()
	wg.Wait()
	return cause
}

func (h *House) isStopping() bool {
	h.state.mu.Lock()
	defer h.state.mu.Unlock()
	return h.state.stopping
}

// drain stops all services at the same time and then the queue. The control socket is the last: one may ask how it
// goes.
func (h *House) drain(services []service, cause error) {
	h.state.mu.Lock()
	h.state.stopping = true
	h.state.mu.Unlock()
	limit := h.o.DrainTime
	if cause != nil {
		limit = min(limit, time.Second) // nothing can be finished
	}
	h.log.Info("the house stops", "drain", limit)
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	var wg sync.WaitGroup
	for _, s := range services {
		if s.name == controlName {
			continue
		}
		wg.Go(func() {
			if err := s.shutdown(ctx); err != nil {
				h.log.Warn("sessions were cut off", "service", s.name, "err", err)
			}
			s.listener.Close() // closed already, unless its server never came to serve it
		})
	}
	if h.queue != nil {
		wg.Go(func() {
			if err := h.queue.Drain(ctx); err != nil {
				h.log.Warn("deliveries were cut off; they are tried again at the next start", "err", err)
			}
		})
	}
	wg.Wait()
	for _, s := range services {
		if s.name == controlName {
			if err := s.shutdown(ctx); err != nil {
				h.log.Warn("verbs were cut off", "err", err)
			}
			s.listener.Close()
		}
	}
}

const controlName = "control"

// control serves the verbs: on the control socket, and in a house that is split on a socket for each room, where the
// management room asks.
func (h *House) control() []planned {
	var out []planned
	if h.has(Management) {
		out = append(out, h.http(controlName, h.conf.RunPath(config.Control), 0o600, h.handler))
	}
	if h.o.Rooms != All {
		for _, n := range roomNames {
			if h.has(n.room) && n.room != Management {
				out = append(out, h.http(controlName, h.conf.RunPath(config.RoomControl(n.name)), 0o600, h.handler))
			}
		}
	}
	return out
}

// Healthy returns why the house could not keep mail, or nil.
func (h *House) Healthy() error { return h.failure() }
