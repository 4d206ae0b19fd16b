// Package testports hands out TCP ports of this machine to tests, so that no two tests get the same ones: neither two
// houses of one test, nor tests of packages that run at the same time.
package testports

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// A base is the first of span ports. All bases are below the range that the system gives to clients (32768 and up).
const (
	first = 11000
	span  = 100
	bases = 208
)

// Base returns a port base that is the caller's alone until it calls release, which it may do more than once: the ports
// of a house are base+24, base+25, base+993 and so on. On base+1 something listens all the time, so a second caller, in
// this process or another, is not given a base that is in use, also while its house does not listen yet.
//
// A house's highest port is base+995, nine bases further. That is nobody else's as long as the ports that tests use
// differ in their last two digits: 01 (taken here), 24 to 26, 30, 50 to 56, 65, 80, 87, 10, 43, 93, 95.
func Base() (base int, release func(), err error) {
	start := rand.IntN(bases)
	for i := range bases {
		base = first + (start+i)%bases*span
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", base+1))
		if err != nil {
			continue
		}
		if unused(base) {
			return base, sync.OnceFunc(func() { l.Close() }), nil
		}
		l.Close()
	}
	return 0, nil, errors.New("all ports for tests are in use")
}

// unused reports whether no other program listens where a house would.
func unused(base int) bool {
	for _, p := range []int{24, 25, 80, 110, 143, 465, 587, 993, 995} {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", base+p))
		if err != nil {
			return false
		}
		l.Close()
	}
	return true
}

// One returns a single port, as Base does.
func One() (port int, release func(), err error) {
	base, release, err := Base()
	return base + 30, release, err
}
