package house

import (
	"context"
	"errors"
	"iter"

	"github.com/samotop/samotop/management"
	"github.com/samotop/samotop/qm"
)

// destinations shows management where mail goes, and where not.
type destinations struct{ q *qm.QM }

var _ management.Destinations = destinations{}

func toldDestination(thing string, err error) error {
	var routed *qm.RoutedError
	switch {
	case errors.As(err, &routed):
		return &management.Error{Kind: management.WrongUse, Thing: "destination " + thing, Cause: "its mail goes by the route to " + routed.Hop,
			Remedy: "name " + routed.Hop}
	case errors.Is(err, qm.ErrNoDestination):
		return &management.Error{Kind: management.WrongUse, Thing: "destination " + thing, Cause: "neither a domain nor a next hop of a route",
			Remedy: "name a domain, or one as \"samotop queue stats\" shows it"}
	case errors.Is(err, qm.ErrNotSuppressed):
		return &management.Error{Kind: management.NotFound, Thing: thing, Cause: "is not suppressed", Remedy: "see what is with \"samotop suppress list\""}
	case errors.Is(err, qm.ErrSuppressAddress):
		return &management.Error{Kind: management.WrongUse, Thing: thing, Cause: "is neither an address nor @ and a domain",
			Remedy: "write user@example.net, or @example.net for all of it"}
	case errors.Is(err, qm.ErrTooManySuppressed), errors.Is(err, qm.ErrTooManyPaused):
		return &management.Error{Kind: management.Invalid, Thing: thing, Cause: err.Error()}
	}
	return err
}

func (d destinations) Pause(ctx context.Context, dest string) error {
	return toldDestination(dest, d.q.Pause(ctx, dest))
}

func (d destinations) Resume(ctx context.Context, dest string) error {
	return toldDestination(dest, d.q.Resume(ctx, dest))
}

func (d destinations) Suppress(ctx context.Context, a management.SuppressArgs) (management.Suppressed, error) {
	s, err := d.q.Suppress(ctx, a.Address, a.Why)
	return suppressed(s), toldDestination(a.Address, err)
}

func (d destinations) Unsuppress(ctx context.Context, address string) error {
	return toldDestination(address, d.q.Unsuppress(ctx, address))
}

// Suppressions reads page by page: nothing is held while the caller works.
func (d destinations) Suppressions(ctx context.Context) iter.Seq2[management.Suppressed, error] {
	return func(yield func(management.Suppressed, error) bool) {
		for from := ""; ; {
			page, next, err := d.q.Suppressed(ctx, from)
			if err != nil {
				yield(management.Suppressed{}, err)
				return
			}
			for _, s := range page {
				if !yield(suppressed(s), nil) {
					return
				}
			}
			if next == "" {
				return
			}
			from = next
		}
	}
}

func suppressed(s qm.Suppressed) management.Suppressed {
	return management.Suppressed{Address: s.Address, Since: s.Since, Why: s.Why, Automatic: s.Automatic}
}
