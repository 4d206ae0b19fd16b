package notify_test

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/samotop/samotop/internal/notify"
)

func TestNotify(t *testing.T) {
	sock := filepath.Join(t.TempDir(), "n.sock")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: sock, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	l.SetReadDeadline(time.Now().Add(time.Minute))
	read := func() string {
		b := make([]byte, 1000)
		n, err := l.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	env := map[string]string{"NOTIFY_SOCKET": sock, "WATCHDOG_USEC": "2000", "WATCHDOG_PID": "42"}
	n := notify.FromEnv(func(k string) string { return env[k] }, 42)
	if n.Interval != 2*time.Millisecond {
		t.Error(n.Interval)
	}
	n.Ready("up")
	if s := read(); s != "READY=1\nSTATUS=up" {
		t.Errorf("%q", s)
	}
	n.Stopping("down")
	if s := read(); s != "STOPPING=1\nSTATUS=down" {
		t.Errorf("%q", s)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	var calls atomic.Int32
	go func() {
		defer close(done)
		n.Watchdog(ctx, func() error {
			if calls.Add(1) == 1 {
				return errors.New("ill")
			}
			return nil
		})
	}()
	if s := read(); s != "WATCHDOG=1" || calls.Load() < 2 {
		t.Errorf("%q after %d", s, calls.Load())
	}
	cancel()
	<-done
}

func TestNoManager(t *testing.T) {
	n := notify.FromEnv(func(k string) string { return map[string]string{"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "7"}[k] }, 42)
	if n.Interval != 0 {
		t.Error("another process's watchdog")
	}
	if err := n.Ready("x"); err != nil {
		t.Error(err)
	}
	n.Watchdog(context.Background(), func() error { return nil })
}
