package accounts

import (
	"context"
	"time"

	"github.com/samotop/samotop/store"
)

// contactCount is how many contacts an account has, or a few more: removed ones count until it is taken anew.
type contactCount struct {
	n  int
	at time.Time // when it was taken
}

// countAgain is how long a count that says that there is no room is believed.
const countAgain = time.Minute

func (a *Accounts) maxContacts() int {
	if a.c.MaxContacts > 0 {
		return a.c.MaxContacts
	}
	return MaxContacts
}

// hasRoom reports whether an account may have one contact more, and counts it. The latch is held.
func (a *Accounts) hasRoom(ctx context.Context, id uint64) (bool, error) {
	now, most := a.c.Clock(), a.maxContacts()
	c, known := a.contacts.counts[id]
	if !known || c.n >= most && now.Sub(c.at) >= countAgain {
		c = contactCount{at: now}
		lo, hi := contactKey(id, ""), contactKey(id+1, "")
		err := a.c.Engine.View(ctx, func(r store.Reader) error {
			for _, err := range r.Scan(ctx, lo, hi, false) {
				if err != nil {
					return err
				}
				if c.n++; c.n == most {
					return nil
				}
			}
			return nil
		})
		if err != nil {
			return false, err
		}
	}
	room := c.n < most
	if room {
		c.n++
	}
	a.contacts.counts[id] = c
	return room, nil
}
