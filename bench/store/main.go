// Command store measures package store's log engine against the disk's limit and against Pebble with inline bodies,
// in alternating runs, so that ratios hold where absolutes drift.
//
//	go run ./bench/store -dir /var/tmp/bench -rounds 5 -time 2s
//	go run ./bench/store -only grow -messages 10000000
package main

import (
	"cmp"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strings"
	"time"
)

type config struct {
	dir      string
	seconds  time.Duration
	rounds   int
	only     string
	messages int
}

func main() {
	var c config
	flag.StringVar(&c.dir, "dir", "", "directory on the disk to measure; default a temporary one")
	flag.DurationVar(&c.seconds, "time", 2*time.Second, "length of a run")
	flag.IntVar(&c.rounds, "rounds", 3, "rounds; medians are printed")
	flag.StringVar(&c.only, "only", "", "run only cells whose name contains this")
	flag.IntVar(&c.messages, "messages", 0, "how many messages the part \"grow\" delivers; 0 leaves it out")
	profile := flag.String("cpuprofile", "", "write a CPU profile of all runs to this file")
	child := flag.String("die", "", "write to this directory and be killed; used by the program itself")
	flag.Parse()
	if *child != "" {
		log.Fatal(die(*child))
	}
	if *profile != "" {
		f, err := os.Create(*profile)
		if err != nil {
			log.Fatal(err)
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			log.Fatal(err)
		}
		defer pprof.StopCPUProfile()
	}
	if err := run(c); err != nil {
		log.Fatal(err)
	}
}

// cell is one workload; candidates run in turn within each round.
type cell struct {
	name              string
	writers, accounts int
	size              func(*sizes) int
	hot               bool // one account: compared with the cell before
}

func run(c config) error {
	if c.dir == "" {
		dir, err := os.MkdirTemp(".", "bench-store-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		c.dir = dir
	}
	for _, part := range []struct {
		name string
		run  func(config) error
	}{{"", deliver}, {"flag", flags}, {"list", list}, {"collect", collecting}, {"idle", idle}, {"killed", killed}, {"grow", grow}} {
		if c.only == "" || part.name == "" || strings.Contains(part.name, c.only) {
			if err := part.run(c); err != nil {
				return err
			}
		}
	}
	return nil
}

func deliver(c config) error {
	cells := []cell{
		{name: "mix G=64 A=100", writers: 64, accounts: 100, size: (*sizes).mix},
		{name: "mix G=64 A=1", writers: 64, accounts: 1, size: (*sizes).mix},
		{name: "4k G=64 A=100", writers: 64, accounts: 100, size: (*sizes).four},
		{name: "mix G=1 A=100", writers: 1, accounts: 100, size: (*sizes).mix},
	}
	fmt.Println("| cell | candidate | msg/s | of limit | of inline | p50 ms | p99 ms | written/body | CPU us/msg | peak RSS MiB |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|---|")
	for _, cl := range cells {
		if c.only != "" && !strings.Contains(cl.name, c.only) {
			continue
		}
		results := map[string][]result{}
		for round := range c.rounds {
			for _, cand := range candidates {
				dir := filepath.Join(c.dir, fmt.Sprint(cand.name, round))
				r, err := cand.run(dir, cl, c.seconds)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", cl.name, cand.name, err)
				}
				results[cand.name] = append(results[cand.name], r)
				if err := os.RemoveAll(dir); err != nil {
					return err
				}
			}
		}
		printCell(cl, results)
	}
	return nil
}

func printCell(cl cell, results map[string][]result) {
	rate := func(r result) float64 { return r.rate }
	for _, cand := range candidates {
		rs := results[cand.name]
		ofLimit, ofInline := make([]float64, len(rs)), make([]float64, len(rs))
		for i := range rs {
			ofLimit[i] = rs[i].rate / results["limit"][i].rate
			ofInline[i] = rs[i].rate / results["inline"][i].rate
		}
		fmt.Printf("| %s | %s | %.0f | %.2f | %.2f | %.2f | %.2f | %.2f | %.0f | %d |\n", cl.name, cand.name, medianOf(rs, rate),
			median(ofLimit), median(ofInline), medianOf(rs, func(r result) float64 { return r.p50 }),
			medianOf(rs, func(r result) float64 { return r.p99 }), medianOf(rs, func(r result) float64 { return r.written }),
			medianOf(rs, func(r result) float64 { return r.cpu }), int(medianOf(rs, func(r result) float64 { return r.rss })))
	}
}

func median(v []float64) float64 {
	v = slices.Clone(v)
	slices.Sort(v)
	return v[len(v)/2]
}

func medianOf[T any](v []T, f func(T) float64) float64 {
	out := make([]float64, len(v))
	for i := range v {
		out[i] = f(v[i])
	}
	return median(out)
}

func percentile[T cmp.Ordered](v []T, p float64) T {
	slices.Sort(v)
	return v[min(len(v)-1, int(float64(len(v))*p))]
}
