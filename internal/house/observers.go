package house

import (
	"context"
	"sync"

	"github.com/samotop/samotop/mailbox"
)

// observers are told what happens in the mailbox. The mailbox wants to know them when it opens, and they need the mailbox:
// so they are added later.
type observers struct {
	mu sync.RWMutex
	of []mailbox.Observer
}

var _ mailbox.Observer = (*observers)(nil)

func (o *observers) add(x mailbox.Observer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.of = append(o.of, x)
}

// Observe is of mailbox.Observer.
func (o *observers) Observe(ctx context.Context, e mailbox.Event) {
	o.mu.RLock()
	of := o.of
	o.mu.RUnlock()
	for _, x := range of {
		x.Observe(ctx, e)
	}
}
