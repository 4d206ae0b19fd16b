package smtp_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	gomessage "github.com/emersion/go-message"

	"github.com/samotop/samotop/message"
	"github.com/samotop/samotop/smtp"
)

// The figures of RESULTS.md: what is compared takes turns, many times, each turn some milliseconds long, so that other
// work on the machine meets both alike. Reported are the medians of the turns and of their ratios.
//
//	go test -run '^$' -bench Ratio -benchtime 1x ./bench/smtp

// contender does one piece of work n times.
type contender struct {
	name string
	run  func(n int) error
}

// compare lets them take so many turns of n each and reports how much faster the first is than each of the others, and the octets
// that each allocates for one. The client, who shares the process, allocates nothing.
func compare(b *testing.B, turns, n int, cs ...contender) {
	b.Helper()
	times := make([][]float64, len(cs))
	cpu := make([][]float64, len(cs)) // of the whole process, the client included: what other work on the machine moves least
	octets := make([][]float64, len(cs))
	for range turns {
		for i, c := range cs {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start, used := time.Now(), cpuTime()
			if err := c.run(n); err != nil {
				b.Fatal(c.name, err)
			}
			times[i] = append(times[i], float64(time.Since(start).Nanoseconds())/float64(n))
			cpu[i] = append(cpu[i], float64(cpuTime()-used)/float64(n))
			runtime.ReadMemStats(&after)
			octets[i] = append(octets[i], float64(after.TotalAlloc-before.TotalAlloc)/float64(n))
		}
	}
	b.ReportMetric(0, "ns/op")
	for i, c := range cs {
		b.ReportMetric(median(times[i])/1000, c.name+"-µs")
		b.ReportMetric(median(octets[i]), c.name+"-B")
		if i > 0 {
			b.ReportMetric(ratio(times[i], times[0]), "x-"+c.name)
			b.ReportMetric(ratio(cpu[i], cpu[0]), "cpu-x-"+c.name)
		}
	}
}

// ratio is the median of the turns' ratios.
func ratio(of, to []float64) float64 {
	r := make([]float64, len(of))
	for i := range r {
		r[i] = of[i] / to[i]
	}
	return median(r)
}

func cpuTime() int64 {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return r.Utime.Nano() + r.Stime.Nano()
}

func median(v []float64) float64 {
	v = slices.Clone(v)
	slices.Sort(v)
	return v[len(v)/2]
}

// talkers has so many connections share n pieces of work.
func talkers(b *testing.B, address string, conns int, once func(*talker) error) func(n int) error {
	b.Helper()
	ts := make([]*talker, conns)
	for i := range ts {
		var err error
		if ts[i], err = dial(address); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { ts[i].conn.Close() })
	}
	errs := make(chan error, conns)
	starts := make([]chan int, conns)
	for i, t := range ts {
		starts[i] = make(chan int)
		b.Cleanup(func() { close(starts[i]) })
		go func() {
			for n := range starts[i] {
				var err error
				for range n {
					if err = once(t); err != nil {
						break
					}
				}
				errs <- err
			}
		}()
	}
	return func(n int) error {
		for i := range starts {
			starts[i] <- n / conns
		}
		var first error
		for range starts {
			if err := <-errs; err != nil && first == nil {
				first = err
			}
		}
		return first
	}
}

func both(b *testing.B, conns int, once func(*talker) error) (ours, theirs contender) {
	at := servers(b)
	return contender{"samotop", talkers(b, at["samotop"], conns, once)}, contender{"emersion", talkers(b, at["emersion"], conns, once)}
}

// BenchmarkRatioTransaction is a whole pipelined transaction of 4 KiB into a null Receiver.
func BenchmarkRatioTransaction(b *testing.B) {
	body := []byte(content(4<<10) + ".\r\n")
	for _, conns := range []int{1, 10, 100} {
		b.Run(fmt.Sprint(conns), func(b *testing.B) {
			ours, theirs := both(b, conns, func(t *talker) error { return t.message(body) })
			compare(b, 101, 100, ours, theirs)
		})
	}
}

// BenchmarkRatioCommands is 100 rounds of NOOP, MAIL, RSET, pipelined: parsing and answering, and hardly anything else.
func BenchmarkRatioCommands(b *testing.B) {
	const rounds = 100
	batch := []byte(strings.Repeat("NOOP\r\nMAIL FROM:<sender@example.org> SIZE=1000 BODY=8BITMIME\r\nRSET\r\n", rounds))
	for _, conns := range []int{1, 10} {
		b.Run(fmt.Sprint(conns), func(b *testing.B) {
			ours, theirs := both(b, conns, func(t *talker) error { return t.talk(batch, 3*rounds) })
			compare(b, 101, 10, ours, theirs)
		})
	}
}

// BenchmarkRatioMiB is 1 MiB by BDAT and by DATA beside io.Copy with 64 KiB into io.Discard from the same kind of socket:
// 1/x is the part of io.Copy's speed.
func BenchmarkRatioMiB(b *testing.B) {
	body := content(1 << 20)
	data, plain := []byte(body+".\r\n"), []byte(body)
	chunk := fmt.Appendf(nil, "%sBDAT %d LAST\r\n%s", envelope, len(body), body)
	ours := sized{listen(b)}
	srv := &smtp.Server{Door: null{}, Hostname: "mx.test", MaxTransactions: 1 << 30}
	ctx, cancel := context.WithCancel(context.Background())
	go srv.Serve(ctx, ours)
	b.Cleanup(cancel)
	address := ours.Addr().String()
	l := sized{listen(b)}
	b.Cleanup(func() { l.Close() })
	go discard(l, len(body))
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	copier := &talker{conn, bufio.NewReader(conn)}
	// All three by one goroutine of the client, many messages a turn.
	inline := func(name string, t *talker, once func(*talker) error) contender {
		return contender{name, func(n int) error {
			for range n {
				if err := once(t); err != nil {
					return err
				}
			}
			return nil
		}}
	}
	peer := func() *talker {
		t, err := dial(address)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { t.conn.Close() })
		return t
	}
	compare(b, 201, 10,
		inline("copy", copier, func(t *talker) error { return t.talk(plain, 1) }),
		inline("data", peer(), func(t *talker) error { return t.message(data) }),
		inline("bdat", peer(), func(t *talker) error { return t.talk(chunk, 3) }),
	)
}

// sized gives all connections buffers of the same size: what the kernel makes of them by itself depends on the history of
// each, and moves the speed of a connection by a factor of three.
type sized struct{ net.Listener }

func (s sized) Accept() (net.Conn, error) {
	c, err := s.Listener.Accept()
	if t, ok := c.(*net.TCPConn); ok {
		err = t.SetReadBuffer(1 << 20)
	}
	return c, err
}

// twoParts is a mail of 1 MiB: a text, and an attachment in base64 or, for who would decode it, without saying so.
func twoParts(encoding string) []byte {
	var m bytes.Buffer
	m.WriteString("From: a@example.org\r\nTo: b@example.org\r\nSubject: two parts\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"=_0123456789abcdef\"\r\n\r\n" +
		"--=_0123456789abcdef\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n")
	for m.Len() < 64<<10 {
		m.WriteString("This is a line of text such as people write, with a few words in it.\r\n")
	}
	m.WriteString("\r\n--=_0123456789abcdef\r\nContent-Type: application/pdf; name=\"report.pdf\"\r\n" + encoding + "\r\n")
	line := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0x5a, 0x13, 0x9c}, 19)) + "\r\n"
	for m.Len() < 1<<20 {
		m.WriteString(line)
	}
	m.WriteString("--=_0123456789abcdef--\r\n")
	return m.Bytes()
}

type plainReader struct{ io.Reader }

// BenchmarkRatioStructure is the structure of a 1 MiB mail of two parts. go-message decodes what it passes; it is given
// nothing to decode.
func BenchmarkRatioStructure(b *testing.B) {
	raw := twoParts("")
	ours := func(n int) error {
		for range n {
			root, err := message.Parse(plainReader{bytes.NewReader(raw)}, message.Limits{})
			if err != nil || len(root.Children) != 2 {
				return fmt.Errorf("%d parts: %w", len(root.Children), err)
			}
		}
		return nil
	}
	compare(b, 201, 2, contender{"samotop", ours}, contender{"go-message", func(n int) error {
		for range n {
			e, err := gomessage.Read(plainReader{bytes.NewReader(raw)})
			if err != nil {
				return err
			}
			mr, parts := e.MultipartReader(), 0
			for {
				p, err := mr.NextPart()
				if err == io.EOF {
					break
				}
				if err != nil {
					return err
				}
				parts++
				if _, err := io.Copy(io.Discard, p.Body); err != nil {
					return err
				}
			}
			if parts != 2 {
				return fmt.Errorf("%d parts", parts)
			}
		}
		return nil
	}})
	b.ReportMetric(testing.AllocsPerRun(20, func() { _ = ours(1) }), "samotop-allocs")
}
