package testports_test

import (
	"fmt"
	"net"
	"testing"

	"github.com/samotop/samotop/internal/testports"
)

// TestBase: a base is given to one caller only, until it is released.
func TestBase(t *testing.T) {
	seen := map[int]bool{}
	for range 50 {
		b, release, err := testports.Base()
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		if seen[b] || b < 11000 || b+995 > 32767 {
			t.Errorf("base %d", b)
		}
		seen[b] = true
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", b+25)); err != nil {
			t.Error(err)
		} else {
			l.Close()
		}
		release()
		again, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", b+1))
		if err != nil {
			t.Fatalf("not released: %v", err)
		}
		defer again.Close() // as a second caller would
	}
}
