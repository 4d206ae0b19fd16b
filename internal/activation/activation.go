// Package activation takes over the sockets that the service manager has opened for us (sd_listen_fds(3)), so that no room
// needs a right to open low ports, and no connection is refused while a room restarts.
//
//	held, err := activation.Take(os.Getenv, os.Getpid())
//	l := held.Listener("tcp", "0.0.0.0:25") // nil: it is ours to open
//	held.Close()                            // what nobody wanted
package activation

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// MaxSockets is the most that are taken over.
const MaxSockets = 1000

const firstFD = 3 // SD_LISTEN_FDS_START

// Held are the sockets that nobody has asked for yet. The zero Held has none.
type Held struct{ listeners []net.Listener }

// Take takes over what LISTEN_FDS says, if LISTEN_PID is us.
func Take(getenv func(string) string, pid int) (*Held, error) {
	h := &Held{}
	if getenv("LISTEN_PID") != strconv.Itoa(pid) {
		return h, nil
	}
	n, err := strconv.Atoi(getenv("LISTEN_FDS"))
	if err != nil || n < 0 || n > MaxSockets {
		return nil, fmt.Errorf("LISTEN_FDS=%s is not a number of sockets", getenv("LISTEN_FDS"))
	}
	for i := range n {
		f := os.NewFile(uintptr(firstFD+i), "listen-"+strconv.Itoa(i))
		l, err := net.FileListener(f) // has a descriptor of its own
		f.Close()
		if err != nil {
			return nil, errors.Join(fmt.Errorf("socket %d of the service manager: %w", i, err), h.Close())
		}
		h.listeners = append(h.listeners, l)
	}
	return h, nil
}

// Listener returns the socket of an address and forgets it; nil if there is none. A socket file of the service manager stays when
// the listener is closed.
func (h *Held) Listener(network, address string) net.Listener {
	if h == nil {
		return nil
	}
	for i, l := range h.listeners {
		if l == nil || !same(l.Addr(), network, address) {
			continue
		}
		h.listeners[i] = nil
		if u, ok := l.(*net.UnixListener); ok {
			u.SetUnlinkOnClose(false)
		}
		return l
	}
	return nil
}

// same tells whether a socket listens where we would.
func same(a net.Addr, network, address string) bool {
	if network == "unix" {
		return a.Network() == "unix" && filepath.Clean(a.String()) == filepath.Clean(address)
	}
	have, err := netip.ParseAddrPort(a.String())
	if err != nil || a.Network() != network {
		return false
	}
	if port, ok := strings.CutPrefix(address, ":"); ok { // all addresses
		return have.Addr().IsUnspecified() && strconv.Itoa(int(have.Port())) == port
	}
	want, err := netip.ParseAddrPort(address)
	return err == nil && have.Port() == want.Port() && have.Addr().Unmap() == want.Addr().Unmap()
}

// Close closes what nobody asked for, and says what that was.
func (h *Held) Close() error {
	if h == nil {
		return nil
	}
	var errs []error
	for _, l := range h.listeners {
		if l != nil {
			errs = append(errs, fmt.Errorf("the service manager opened %s %s, which no room of this process serves", l.Addr().Network(), l.Addr()))
			l.Close()
		}
	}
	h.listeners = nil
	return errors.Join(errs...)
}
