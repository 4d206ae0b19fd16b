package resolver_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samotop/samotop/resolver"
)

// TestSilence: where no name server answers, only the first questions wait for one.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dialed atomic.Int64
		r, err := resolver.New(resolver.Config{Servers: []string{"192.0.2.53"}, Timeout: time.Second, Attempts: 2,
			Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
				dialed.Add(1)
				<-ctx.Done()
				return nil, ctx.Err()
			}})
		if err != nil {
			t.Fatal(err)
		}
		took := func(i int) time.Duration {
			begin := time.Now()
			if _, _, err := r.MX(t.Context(), fmt.Sprintf("n%d.test", i)); !errors.Is(err, resolver.ErrTemporary) {
				t.Errorf("%v", err)
			}
			return time.Since(begin)
		}
		for i, want := range []time.Duration{2 * time.Second, 2 * time.Second, 2 * time.Second, 0, 0, 0} {
			if d := took(i); d != want {
				t.Errorf("question %d took %v, want %v", i, d, want)
			}
		}
		if n := dialed.Load(); n != 6 {
			t.Errorf("%d packets", n)
		}
		time.Sleep(6 * time.Second)
		if d := took(10); d != 2*time.Second {
			t.Errorf("after a pause one is tried; it took %v", d)
		}
		if d := took(11); d != 0 {
			t.Errorf("and the next waits again: %v", d)
		}
	})
}
