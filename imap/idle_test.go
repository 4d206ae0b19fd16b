package imap_test

import (
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"
)

// BenchmarkIdle reports what an idle connection holds, its client's end in this process included: logged in with a mailbox
// selected and waiting for a command, or in IDLE.
func BenchmarkIdle(b *testing.B) {
	for _, last := range []string{"", "i IDLE\r\n", "n NOTIFY SET (selected (MessageNew MessageExpunge)) (personal (MessageNew MessageExpunge))\r\n"} {
		name, _, _ := strings.Cut(strings.TrimPrefix(last, "i "), " ")
		b.Run("after"+strings.TrimSpace(name), func(b *testing.B) {
			addr := newServer(b, nil)
			const conns = 500
			for b.Loop() {
				before := held()
				open := make([]net.Conn, conns)
				buf := make([]byte, 4096)
				for i := range open {
					c, err := net.Dial("tcp", addr)
					if err != nil {
						b.Fatal(err)
					}
					open[i] = c
					fmt.Fprintf(c, "l LOGIN alice@example.test secret\r\ns SELECT INBOX\r\n%s", last)
					for got := ""; !strings.Contains(got, "s OK") || last != "" && !strings.Contains(got, "+ idling") && !strings.Contains(got, "n OK"); {
						n, err := c.Read(buf)
						if err != nil {
							b.Fatal(err)
						}
						got += string(buf[:n])
					}
				}
				time.Sleep(1200 * time.Millisecond) // until the last ones rest
				b.ReportMetric(float64(held()-before)/conns, "B/conn")
				for _, c := range open {
					_ = c.Close()
				}
			}
		})
	}
}

// held is what heap and stacks hold after the collector has run.
func held() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}
