package delivery

import (
	"context"
	"io"
	"sync"

	"github.com/samotop/samotop/mail"
)

// maxGroup is how many messages share one sync.
const maxGroup = 128

// group lets messages that arrive while others are synced share the next sync. Its worker lives as long as there is work.
type group struct {
	mu      sync.Mutex
	waiting []*appending
	busy    bool
}

// appending is one message that is to be appended to a file.
type appending struct {
	id      string
	from    mail.Sender
	to      []mail.Recipient
	content io.Reader
	err     error // set by whoever appends
	done    chan struct{}
}

// do has the message appended by run, with what else there is, and waits for that. There is no giving up in between: what
// is half written is not ours to leave.
func (g *group) do(a *appending, run func([]*appending)) error {
	a.done = make(chan struct{})
	g.mu.Lock()
	g.waiting = append(g.waiting, a)
	if !g.busy {
		g.busy = true
		go g.work(run)
	}
	g.mu.Unlock()
	<-a.done
	return a.err
}

func (g *group) work(run func([]*appending)) {
	for {
		g.mu.Lock()
		n := min(len(g.waiting), maxGroup)
		some := g.waiting[:n:n]
		if g.waiting = g.waiting[n:]; n == 0 {
			g.waiting, g.busy = nil, false
		}
		g.mu.Unlock()
		if n == 0 {
			return
		}
		run(some)
		for _, a := range some {
			close(a.done)
		}
	}
}

// finisher makes the commit of a spooled message of it.
func (g *group) finisher(id, op string, run func([]*appending)) finisher {
	return func(_ context.Context, from mail.Sender, to []mail.Recipient, content io.Reader) ([]mail.Reply, error) {
		if err := g.do(&appending{id: id, from: from, to: to, content: content}, run); err != nil {
			return nil, failed(op, err)
		}
		return all(len(to), mail.OK()), nil
	}
}

// failAll gives err to those that have no error of their own.
func failAll(as []*appending, err error) {
	for _, a := range as {
		if a.err == nil {
			a.err = err
		}
	}
}
