package qm

import (
	"bytes"
	"context"

	"github.com/samotop/samotop/store"
)

// eachDue shows what a destination has on disk that is due: the highest priority first (RFC 6710 section 4), within one in the order
// of time; until show says no.
func eachDue(ctx context.Context, r store.Reader, lane uint8, dest string, now uint64, show func(place) bool) error {
	prefix := destPrefix(lane, dest, 1)
	ranked := bytes.Clone(prefix)
	ranked[0] = 'e'
	normal := false // what has none was shown
	for class := byte(0); ; class++ {
		next, ok, err := nextClass(ctx, r, ranked, class)
		if err != nil {
			return err
		}
		if !normal && (!ok || next > priorityClass(0)) {
			normal = true
			if more, err := showDue(ctx, r, prefix, now, show); err != nil || !more {
				return err
			}
		}
		if !ok {
			return nil
		}
		if more, err := showDue(ctx, r, append(bytes.Clone(ranked), next), now, show); err != nil || !more {
			return err
		}
		if class = next; class == 255 {
			return nil
		}
	}
}

// nextClass finds the first class of priority from class on of which there is something.
func nextClass(ctx context.Context, r store.Reader, prefix []byte, class byte) (next byte, ok bool, err error) {
	for kv, err := range r.Scan(ctx, append(bytes.Clone(prefix), class), after(prefix), false) {
		if err != nil {
			return 0, false, err
		}
		return kv.Key[len(prefix)], true, nil
	}
	return 0, false, nil
}

// showDue shows what is due of the keys with a prefix, which the time follows. more: show wants to see the rest.
func showDue(ctx context.Context, r store.Reader, prefix []byte, now uint64, show func(place) bool) (more bool, err error) {
	for kv, err := range r.Scan(ctx, prefix, after(prefix), false) {
		if err != nil {
			return false, err
		}
		p, ok := parsePlace(kv.Key)
		switch {
		case !ok || !bytes.HasPrefix(kv.Key, prefix):
			continue
		case p.due > now:
			return true, nil
		case !show(p):
			return false, nil
		}
	}
	return true, nil
}
