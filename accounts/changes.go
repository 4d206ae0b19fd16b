package accounts

import (
	"context"
	"iter"
	"strings"

	"github.com/samotop/samotop/store"
)

// Changes yields after each durable change to who exists, whose an address is and where its mail goes, for those who
// keep answers of this room elsewhere. It ends with ctx.
func (a *Accounts) Changes(ctx context.Context) iter.Seq2[struct{}, error] {
	return func(yield func(struct{}, error) bool) {
		var pos store.Pos
		err := a.c.Engine.View(ctx, func(r store.Reader) error {
			pos = r.Pos()
			return nil
		})
		if err != nil {
			yield(struct{}{}, err)
			return
		}
		for e, err := range a.c.Engine.Watch(ctx, nil, pos) {
			switch {
			case ctx.Err() != nil:
				return
			case err != nil:
				yield(struct{}{}, err)
				return
			case !e.Overflow && !changesRules(e):
				continue
			}
			if !yield(struct{}{}, nil) {
				return
			}
		}
	}
}

// changesRules tells rows that answers depend on from passwords and the like.
func changesRules(e store.Event) bool {
	if len(e.Ranges) > 0 {
		return true
	}
	for _, k := range e.Keys {
		switch tag, _, _ := strings.Cut(string(k), "/"); tag + "/" {
		case tagPassword, tagContact, tagPending, tagSent, tagSubmitted, tagSuffix:
		default:
			return true
		}
	}
	return false
}
