package main

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
)

// slowWriter is a terminal that somebody holds up.
type slowWriter struct {
	hold   chan struct{}
	writes int
	buf    bytes.Buffer
}

func (s *slowWriter) Write(p []byte) (int, error) {
	<-s.hold
	s.writes++
	return s.buf.Write(p)
}

// Every line goes out once and whole, those of one goroutine in order, many in one write.
func TestLogWriter(t *testing.T) {
	s := &slowWriter{hold: make(chan struct{})}
	l := newLogWriter(s)
	const writers, lines = 10, 300
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range lines {
				fmt.Fprintf(l, "%d %d\n", w, i)
			}
		})
	}
	wg.Wait()
	close(s.hold)
	l.Close()
	fmt.Fprintln(l, "10 0")
	next := make([]int, writers+1)
	for line := range strings.Lines(s.buf.String()) {
		var w, i int
		if _, err := fmt.Sscanf(line, "%d %d\n", &w, &i); err != nil || next[w] != i {
			t.Fatalf("line %q, want number %d: %v", line, next[w], err)
		}
		next[w]++
	}
	for w, n := range next[:writers] {
		if n != lines {
			t.Errorf("%d lines of %d, want %d", n, w, lines)
		}
	}
	if s.writes > 10 {
		t.Errorf("%d writes for lines that waited together", s.writes)
	}
}
