package house

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/samotop/samotop/accounts"
	"github.com/samotop/samotop/guard/filter"
	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mailbox"
	"github.com/samotop/samotop/management"
)

// junkVerbs shows the learning filter to management.
type junkVerbs struct{ h *House }

var (
	_ management.Junk      = junkVerbs{}
	_ management.Relearner = relearner{}
)

// owner finds whose table is meant.
func (j junkVerbs) owner(ctx context.Context, address string) (uint64, error) {
	if address == management.SharedJunk {
		return filter.Shared, nil
	}
	a, err := mail.ParseAddress(address)
	if err != nil {
		return 0, &management.Error{Kind: management.Invalid, Thing: address, Cause: "is not an address"}
	}
	id, err := j.h.ownerOf(ctx, a)
	if errors.Is(err, accounts.ErrUnknown) {
		return 0, &management.Error{Kind: management.NotFound, Thing: address, Cause: "is not the address of an account",
			Remedy: "see \"samotop account list\", or write \"shared\" for what all accounts begin with"}
	}
	return id, err
}

func (j junkVerbs) JunkStats(ctx context.Context, address string) ([]management.JunkStats, error) {
	shared, err := j.stats(ctx, filter.Shared, management.SharedJunk, nil)
	if err != nil {
		return nil, err
	}
	if address != "" {
		id, err := j.owner(ctx, address)
		if err != nil {
			return nil, err
		}
		s, err := j.stats(ctx, id, address, &shared)
		return []management.JunkStats{s}, err
	}
	out := []management.JunkStats{shared}
	owners, err := j.h.filter.Owners(ctx)
	if err != nil {
		return nil, err
	}
	for _, id := range owners {
		if id == filter.Shared {
			continue
		}
		s, err := j.stats(ctx, id, j.h.nameOf(ctx, id), &shared)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

func (j junkVerbs) stats(ctx context.Context, id uint64, name string, shared *management.JunkStats) (management.JunkStats, error) {
	s, err := j.h.filter.Stats(ctx, id)
	m := management.JunkStats{Address: name, Ham: s.Ham, Spam: s.Spam, Words: s.Words, GivenHam: s.GivenHam, GivenSpam: s.GivenSpam}
	if s.LastDay > 0 {
		m.LastDay = time.Unix(int64(s.LastDay)*24*3600, 0).UTC().Format(time.DateOnly)
	}
	m.Asked = !j.h.conf.Guard.LearnOff && (j.h.filter.Enough(s) || shared != nil && shared.Asked)
	return m, err
}

func (j junkVerbs) LearnJunk(ctx context.Context, a management.LearnArgs) (bool, error) {
	id, err := j.owner(ctx, a.Address)
	if err != nil {
		return false, err
	}
	kind, err := filter.ParseKind(a.Kind)
	if err != nil || a.ID == "" {
		return false, &management.Error{Kind: management.WrongUse, Thing: "junk/learn", Cause: "kind and id are needed"}
	}
	return j.h.filter.Learn(ctx, id, a.ID, kind, bytes.NewReader(a.Content))
}

func (j junkVerbs) ForgetJunk(ctx context.Context, address string) error {
	id, err := j.owner(ctx, address)
	if err != nil {
		return err
	}
	return j.h.filter.Forget(ctx, id)
}

// nameOf is the address of an account, or its number where it is not known any more.
func (h *House) nameOf(ctx context.Context, id uint64) string {
	if a, err := h.rules.AddressOf(ctx, id); err == nil {
		return a.String()
	}
	return "account " + strconv.FormatUint(id, 10)
}

// relearner teaches the guard what is in the folders of an account.
type relearner struct {
	m mailboxes
	t teacher
}

// maxRelearn is how many messages of one folder are read, the newest.
const maxRelearn = 2000

func (r relearner) Relearn(ctx context.Context, address string, progress func(done, total int64) error) (out management.Relearned, err error) {
	o, err := r.m.owner(ctx, address)
	if err != nil {
		return out, err
	}
	out.Address = o.Address
	acct, err := r.m.m.QuietBackend().Open(ctx, &mail.Session{Service: "mailbox", Login: mail.Identity{Account: o.Address}})
	if err != nil {
		return out, err
	}
	defer acct.Close() //nolint:errcheck // nothing was changed
	folders, err := acct.List(ctx)
	if err != nil {
		return out, err
	}
	for _, f := range folders {
		if f.NonExistent || f.NoSelect {
			continue
		}
		kind := filter.Ham
		switch folderOf(&mailbox.EventFolder{Name: f.Name, Use: f.Use}) {
		case inJunk:
			kind = filter.Spam
		case inNone, inInbox: // of what is in the INBOX nobody has decided yet
			continue
		}
		if err := r.folder(ctx, acct, o.ID, f.Name, kind, &out, progress); err != nil {
			return out, err
		}
	}
	return out, nil
}

func (r relearner) folder(ctx context.Context, acct imap.Account, owner uint64, name string, kind filter.Kind, out *management.Relearned, progress func(done, total int64) error) error {
	box, err := acct.Select(ctx, name, true)
	if err != nil {
		return err
	}
	defer box.Close() //nolint:errcheck // it was only read
	snap, err := box.Snapshot(ctx)
	if err != nil {
		return err
	}
	uids := snap.UIDs
	if n := uids.Len(); n > maxRelearn {
		uids = uids.Intersect(imap.UIDSet{{Start: uids.At(n - maxRelearn + 1), Stop: uids.Max()}})
	}
	done, total := int64(0), int64(uids.Len())
	for m, err := range box.Fetch(ctx, uids, imap.NeedContent|imap.NeedIDs) {
		if err != nil {
			return err
		}
		changed, err := r.t.Learn(ctx, owner, m.EmailID, kind, contentReader(ctx, m.Content))
		if err != nil {
			return err
		}
		if changed {
			out.Changed++
		}
		if kind == filter.Spam {
			out.Spam++
		} else {
			out.Ham++
		}
		if done++; done%50 == 0 {
			if err := progress(done, total); err != nil {
				return err
			}
		}
	}
	return nil
}
