package mailbox

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/samotop/samotop/store/log"
)

// BenchmarkPush is the time from the answer to a delivery to EXISTS at a client in IDLE, over TCP.
func BenchmarkPush(b *testing.B) {
	e, err := log.Open(context.Background(), log.Options{Dir: b.TempDir() + "/db", SieveKinds: []byte(SieveKinds)})
	if err != nil {
		b.Fatal(err)
	}
	m := open(b, e, Config{Limits: noIndexer})
	b.Cleanup(func() { m.Close(); e.Close() })
	nc, err := net.Dial("tcp", serve(b, m))
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	told := make(chan time.Time, 1)
	ready := make(chan struct{})
	go func() {
		r := bufio.NewReader(nc)
		for {
			line, err := r.ReadString('\n')
			now := time.Now()
			switch {
			case err != nil:
				return
			case strings.HasPrefix(line, "+ "):
				close(ready)
			case strings.HasSuffix(line, " EXISTS\r\n") && !strings.HasPrefix(line, "* 0 "):
				told <- now
			}
		}
	}()
	fmt.Fprintf(nc, "a LOGIN %s secret\r\nb SELECT INBOX\r\nc IDLE\r\n", user(1))
	<-ready
	var list []time.Duration
	for i := range b.N {
		if err := tryDeliver(context.Background(), m, string(benchLetter(i)), 1); err != nil {
			b.Fatal(err)
		}
		answered := time.Now()
		list = append(list, (<-told).Sub(answered))
	}
	slices.Sort(list)
	b.ReportMetric(float64(list[len(list)/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(list[len(list)*99/100].Microseconds()), "p99-us")
}
