package mailbox

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/store"
)

// flagNames turns keyword numbers into names, once for each combination of them.
type flagNames struct {
	names []string
	lists map[string][]string
	ids   []uint32
}

// maxFlagLists is how many combinations are remembered.
const maxFlagLists = 4096

// of returns the flags of a message by name. The list of keywords is shared and must not be changed.
func (w *flagNames) of(m *smallRow) (imap.Flags, error) {
	f := imap.Flags{System: m.System}
	if len(m.Keywords) == 0 {
		return f, nil
	}
	if list, ok := w.lists[string(m.Keywords)]; ok {
		f.Keywords = list
		return f, nil
	}
	ids, err := decodeIDs(w.ids[:0], m.Keywords)
	if err != nil {
		return f, err
	}
	w.ids = ids
	f.Keywords = w.list(ids)
	if w.lists == nil || len(w.lists) >= maxFlagLists {
		w.lists = map[string][]string{}
	}
	w.lists[string(m.Keywords)] = f.Keywords
	return f, nil
}

func (w *flagNames) list(ids []uint32) []string {
	list := make([]string, 0, len(ids))
	for _, id := range ids {
		if int(id) < len(w.names) {
			list = append(list, w.names[id])
		}
	}
	slices.SortFunc(list, strings.Compare)
	return list
}

// words is flagNames with what is durable of a selected mailbox's keywords.
type words struct {
	flagNames
	raw string
}

// load reads the keywords; it decodes them only when they have changed.
func (w *words) load(ctx context.Context, r store.Reader, s *selected) ([]string, error) {
	var ar arena
	v, err := r.Get(ctx, ar.boxKey(kindKeywords, s.account.id, s.id))
	if errors.Is(err, store.ErrNotFound) {
		return w.names, nil
	}
	if err != nil || string(v) == w.raw {
		return w.names, err
	}
	names, err := decodeKeywords(v)
	if err != nil {
		return nil, err
	}
	w.raw, w.flagNames = string(v), flagNames{names: names}
	return names, nil
}
