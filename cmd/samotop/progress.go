package main

import (
	"fmt"
	"os"
	"time"
)

// progress shows on a terminal how far something is. Elsewhere it is silent.
type progress struct {
	out  *os.File // nil: silent
	last time.Time
	long bool // something is shown
}

// progressTime is between two changes of what is shown.
const progressTime = 200 * time.Millisecond

func (e *env) progress() *progress {
	f, ok := e.stderr.(*os.File)
	if !ok {
		return &progress{}
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return &progress{}
	}
	return &progress{out: f}
}

// show says what is done, and how much of what; a total of 0 is not known.
func (p *progress) show(what string, done, total int64) {
	if p.out == nil || time.Since(p.last) < progressTime {
		return
	}
	p.last, p.long = time.Now(), true
	switch {
	case total > 0:
		fmt.Fprintf(p.out, "\r\x1b[K%s: %d%% of %s", what, min(100, done*100/total), octets(total))
	case done > 0:
		fmt.Fprintf(p.out, "\r\x1b[K%s: %d", what, done)
	default:
		fmt.Fprintf(p.out, "\r\x1b[K%s", what)
	}
}

// clear takes away what is shown, before something else is printed.
func (p *progress) clear() {
	if p.long {
		fmt.Fprint(p.out, "\r\x1b[K")
		p.long, p.last = false, time.Time{}
	}
}
