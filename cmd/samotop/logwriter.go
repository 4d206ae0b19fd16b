package main

import (
	"io"
	"sync"
	"time"
)

// logWriter hands lines on in a goroutine of its own: a line after a pause at once, whatever comes in the logPause after a
// write in one piece. Who logs waits only while maxLogOctets have not gone out. A process that is killed loses the lines of
// its last moment; what they tell of mail is in the journal too.
type logWriter struct {
	w    io.Writer
	mu   sync.Mutex
	cond *sync.Cond
	buf  []byte
	busy bool
	end  bool
	over chan struct{} // closed with end
	done chan struct{}
}

const (
	maxLogOctets = 1 << 20
	logPause     = 10 * time.Millisecond
)

func newLogWriter(w io.Writer) *logWriter {
	l := &logWriter{w: w, over: make(chan struct{}), done: make(chan struct{})}
	l.cond = sync.NewCond(&l.mu)
	go l.run()
	return l
}

// Write takes whole lines. It never fails: there is nobody to tell.
func (l *logWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.end {
		return l.w.Write(p)
	}
	for len(l.buf) > maxLogOctets && !l.end {
		l.cond.Wait()
	}
	l.buf = append(l.buf, p...)
	if !l.busy {
		l.cond.Broadcast()
	}
	return len(p), nil
}

func (l *logWriter) run() {
	defer close(l.done)
	var out []byte
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		for len(l.buf) == 0 && !l.end {
			l.cond.Wait()
		}
		if len(l.buf) == 0 {
			return
		}
		out, l.buf = l.buf, out[:0]
		l.busy = true
		l.mu.Unlock()
		_, _ = l.w.Write(out)
		select {
		case <-time.After(logPause):
		case <-l.over:
		}
		l.mu.Lock()
		l.busy = false
		l.cond.Broadcast()
	}
}

// Close returns when everything has gone out. Later lines go out at once.
func (l *logWriter) Close() error {
	l.mu.Lock()
	if !l.end {
		l.end = true
		close(l.over)
	}
	l.cond.Broadcast()
	l.mu.Unlock()
	<-l.done
	return nil
}
