package mail

import (
	"errors"
	"fmt"
)

// Middleware wraps a Door in another.
type Middleware func(Door) Door

// Checker is implemented by a Door that knows whether it could ever accept a message as it was built.
type Checker interface {
	// Check returns why the Door could never accept a message, or nil.
	Check() error
}

var errUnassigned = errors.New("mail: this door is not assigned to anything: it would refuse everybody")

// Chain puts the middlewares in front of the door: the first is the first to be asked. It refuses, with the
// reason, a composition that could never accept a message: one without a door, with a missing middleware, or with
// a part whose Check fails.
func Chain(door Door, in ...Middleware) (Door, error) {
	if err := check(door); err != nil {
		return nil, fmt.Errorf("mail: chain: the door at its end: %w", err)
	}
	for i := len(in) - 1; i >= 0; i-- {
		if in[i] == nil {
			return nil, fmt.Errorf("mail: chain: middleware %d of %d is nil", i+1, len(in))
		}
		door = in[i](door)
		if err := check(door); err != nil {
			return nil, fmt.Errorf("mail: chain: middleware %d of %d: %w", i+1, len(in), err)
		}
	}
	return door, nil
}

func check(d Door) error {
	if d == nil {
		return errors.New("there is none, so nothing could accept a message")
	}
	if c, ok := d.(Checker); ok {
		return c.Check()
	}
	return nil
}
