// Package resolvertest gives tests a domain name system of their own.
//
//	r := resolvertest.New(t, `
//		example.test     MX 10 mx.example.test
//		mx.example.test  A  192.0.2.1
//	`)                                            // a resolver.Resolver, without sockets
//	addr := resolvertest.Serve(t, zone)           // a name server on 127.0.0.1, UDP and TCP
//
// Nothing is cached unless the test asks for it, so that a zone may change under a test.
package resolvertest

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/samotop/samotop/resolver"
)

// Zone parses zone text, failing the test if it cannot be read. Leading white space of its lines is dropped.
func Zone(t testing.TB, text string) *resolver.Zone {
	t.Helper()
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		lines[i] = strings.TrimSpace(l)
	}
	z, err := resolver.ParseZone(strings.Join(lines, "\n") + "\n")
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// New returns a resolver for the zone text that works in process, trusts AD and caches nothing.
func New(t testing.TB, text string) *resolver.Client {
	t.Helper()
	return Zone(t, text).Resolver(resolver.Config{TrustAD: true, MaxCacheEntries: -1})
}

// Serve runs a name server for the zone on a loopback port until the test ends, and returns its address.
func Serve(t testing.TB, z *resolver.Zone) string {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	udp, err := net.ListenPacket("udp", tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- z.Serve(ctx, udp, tcp) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(10 * time.Second):
			t.Error("the name server does not stop")
		}
	})
	return tcp.Addr().String()
}
