package main

import (
	"io"
	"sync"
)

// logWriter hands lines on in a goroutine of its own: whatever came while the last write went on goes out in one. Who
// logs waits only while maxLogOctets have not gone out. A process that is killed loses the lines of its last moment;
// what they tell of mail is in the journal too.
type logWriter struct {
	w    io.Writer
	mu   sync.Mutex
	cond *sync.Cond
	buf  []byte
	busy bool
	end  bool
	done chan struct{}
}

const maxLogOctets = 1 << 20

func newLogWriter(w io.Writer) *logWriter {
	l := &logWriter{w: w, done: make(chan struct{})}
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
		l.mu.Lock()
		l.busy = false
		l.cond.Broadcast()
	}
}

// Close returns when everything has gone out. Later lines go out at once.
func (l *logWriter) Close() error {
	l.mu.Lock()
	l.end = true
	l.cond.Broadcast()
	l.mu.Unlock()
	<-l.done
	return nil
}
