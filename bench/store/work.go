package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// result is one run.
type result struct {
	rate, p50, p99, written, cpu, rss float64
}

type sizes struct{ rng *rand.Rand }

// mix is 88% lognormal around 8 KiB, 10.5% 75 KiB, 1.5% 1 MiB: mean 33 KB.
func (s *sizes) mix() int {
	switch p := s.rng.Float64(); {
	case p < 0.88:
		return min(200<<10, max(600, int(8192*math.Exp(s.rng.NormFloat64()*0.8))))
	case p < 0.985:
		return 75 << 10
	}
	return 1 << 20
}

func (s *sizes) four() int { return 4096 }

// account is the numbers that its owner keeps in memory.
type account struct {
	mu    sync.Mutex
	id    uint32
	uid   uint32
	state []byte
}

func appendKey(kind byte, account, uid uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32([]byte{kind}, account), uid)
}

// next makes the rows of a delivery. The latch is held.
func (a *account) next(rng *rand.Rand, size int) ([][2][]byte, []byte) {
	a.uid++
	k := func(kind byte) []byte { return appendKey(kind, a.id, a.uid) }
	meta := make([]byte, 400)
	copy(meta, template)
	binary.BigEndian.PutUint64(meta[20:], rng.Uint64())
	id := binary.BigEndian.AppendUint64([]byte{'e'}, rng.Uint64())
	state := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(make([]byte, 48, 64), a.uid), uint64(size))
	rows := [][2][]byte{{k('m'), meta}, {id, k('r')}, {k('c'), id}, {binary.BigEndian.AppendUint32([]byte{'x'}, a.id), state}}
	old := a.state
	a.state = state
	return rows, old
}

var template = []byte(strings.Repeat("From: somebody@example.org; Subject: an ordinary subject line; ", 7))

var noise = func() []byte {
	b := make([]byte, 4<<20)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := 0; i < len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], rng.Uint64())
	}
	return b
}()

// deliverer puts one message on the disk.
type deliverer interface {
	deliver(ctx context.Context, a *account, rng *rand.Rand, body []byte) error
}

// load runs the closed loop of a cell.
func load(d deliverer, cl cell, length time.Duration) (result, error) {
	accounts := make([]*account, cl.accounts)
	for i := range accounts {
		accounts[i] = &account{id: uint32(i + 1)}
	}
	debug.FreeOSMemory()
	var count, octets atomic.Int64
	var failed atomic.Pointer[error]
	lat := make([][]float64, cl.writers)
	var wg sync.WaitGroup
	begin := usage()
	start := time.Now()
	end := start.Add(length)
	for g := range cl.writers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 42))
			sz := &sizes{rng}
			for time.Now().Before(end) {
				n := cl.size(sz)
				at := rng.IntN(len(noise) - n)
				t := time.Now()
				if err := d.deliver(context.Background(), accounts[rng.IntN(len(accounts))], rng, noise[at:at+n]); err != nil {
					failed.Store(&err)
					return
				}
				lat[g] = append(lat[g], float64(time.Since(t).Microseconds())/1000)
				count.Add(1)
				octets.Add(int64(n))
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return result{}, *err
	}
	took := time.Since(start).Seconds()
	used := usage()
	var all []float64
	for _, l := range lat {
		all = append(all, l...)
	}
	n := float64(count.Load())
	return result{rate: n / took, p50: percentile(all, 0.5), p99: percentile(all, 0.99), cpu: (used.cpu - begin.cpu) * 1e6 / n,
		written: float64(used.written-begin.written) / float64(octets.Load()), rss: float64(used.rss)}, nil
}

type spent struct {
	cpu     float64
	written int64
	rss     int64 // MiB
}

func usage() spent {
	var ru syscall.Rusage
	var s spent
	if syscall.Getrusage(syscall.RUSAGE_SELF, &ru) == nil {
		s.cpu = time.Duration(ru.Utime.Nano() + ru.Stime.Nano()).Seconds()
	}
	s.written = procNumber("/proc/self/io", "wchar:")
	s.rss = procNumber("/proc/self/status", "VmRSS:") >> 10
	return s
}

func procNumber(file, field string) int64 {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, field); ok {
			n, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err == nil {
				return n
			}
		}
	}
	return 0
}

func settle() {
	runtime.GC()
	syscall.Sync()
}

func must(err error) {
	if err != nil {
		panic(fmt.Sprint("bench: ", err))
	}
}
