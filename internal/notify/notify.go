// Package notify tells the service manager how the house is: ready, stopping, alive (sd_notify(3)). Without one
// every call does nothing.
//
//	n := notify.FromEnv(os.Getenv)
//	n.Ready("serving mail")
//	go n.Watchdog(ctx, healthy)
//	n.Stopping("finishing sessions")
package notify

import (
	"context"
	"net"
	"strconv"
	"strings"
	"time"
)

// Notifier sends states to the socket of the service manager. The zero Notifier sends nothing.
type Notifier struct {
	Socket   string        // path, or @name in the abstract name space; "" for none
	Interval time.Duration // within which the manager wants to hear from us; 0: it does not
}

// FromEnv reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID.
func FromEnv(getenv func(string) string, pid int) Notifier {
	n := Notifier{Socket: getenv("NOTIFY_SOCKET")}
	if p := getenv("WATCHDOG_PID"); p != "" && p != strconv.Itoa(pid) {
		return n
	}
	if us, err := strconv.ParseInt(getenv("WATCHDOG_USEC"), 10, 64); err == nil && us > 0 {
		n.Interval = time.Duration(us) * time.Microsecond
	}
	return n
}

// Ready says that the house serves.
func (n Notifier) Ready(status string) error { return n.send("READY=1", "STATUS="+status) }

// Stopping says that the house is on its way down.
func (n Notifier) Stopping(status string) error { return n.send("STOPPING=1", "STATUS="+status) }

// Watchdog says twice in each interval that the house lives, as long as healthy returns nil, until ctx ends.
func (n Notifier) Watchdog(ctx context.Context, healthy func() error) {
	if n.Socket == "" || n.Interval <= 0 {
		return
	}
	t := time.NewTicker(max(n.Interval/2, time.Millisecond))
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if healthy() == nil {
				_ = n.send("WATCHDOG=1") // the manager notices silence: that is its purpose
			}
		}
	}
}

func (n Notifier) send(lines ...string) error {
	if n.Socket == "" {
		return nil
	}
	name := n.Socket
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Write([]byte(strings.Join(lines, "\n")))
	return err
}
