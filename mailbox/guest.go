package mailbox

import (
	"context"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/store"
)

// guestChange is a change of flags by somebody who is not the owner: what his rights are for, and the rest not at all.
type guestChange struct {
	*imap.StoreChange
	ids  []uint32
	have rights
}

// permitted leaves of a change what the rights are for. It fails only if that is nothing (RFC 4314 section 4).
func (s *selected) permitted(change *imap.StoreChange, have rights) (*imap.StoreChange, error) {
	f := change.Flags
	may := have&(rightSeen|rightWrite|rightDelete) != 0
	if change.Mode != imap.StoreReplace && (f.System != 0 || len(f.Keywords) > 0) {
		may = f.System&have.flags() != 0 || f.System&imap.FlagSeen != 0 && have&rightSeen != 0 || len(f.Keywords) > 0 && have&rightWrite != 0
	}
	if !may {
		return nil, no("NOPERM", "You may not change these flags here")
	}
	less := *change
	if have&rightWrite == 0 {
		less.Flags.Keywords = nil
	}
	return &less, nil
}

// storeGuest is storeOne for somebody who is not the owner. His \Seen is his own.
func (s *selected) storeGuest(ctx context.Context, p *part, r store.Reader, b *box, u uid, v []byte, ch *guestChange, names *flagNames, out *imap.StoreResult) error {
	m, err := decodeSmall(v)
	if err != nil {
		return err
	}
	own, err := p.own(ctx, r, s.view, b, u)
	if err != nil {
		return err
	}
	set := ownSet{ownChunkOf(u): own}
	shown := m
	set.overlay(u, &shown)
	if ch.UnchangedSince != nil && shown.S > modSeq(*ch.UnchangedSince) { // RFC 7162 section 3.1.3
		out.Modified.Add(imap.UID(u))
		return nil
	}
	next, err := changed(&shown, ch.StoreChange, ch.ids)
	if err != nil {
		return err
	}
	seen := next.System&imap.FlagSeen != 0
	mask := ch.have.flags()
	next.System = m.System&^mask | next.System&mask
	if ch.have&rightWrite == 0 {
		next.Keywords = m.Keywords
	}
	if countIDs(next.Keywords) > p.m.limits.MessageKeywords {
		return no("LIMIT", "A message can have %d keywords", p.m.limits.MessageKeywords)
	}
	next.S = m.S
	if next.System != m.System || string(next.Keywords) != string(m.Keywords) {
		if err := p.setFlags(ctx, r, b, u, &m, &next); err != nil {
			return err
		}
		if err := p.observeFlags(b, u, names.names, &m, &next); err != nil {
			return err
		}
	}
	if ch.have&rightSeen != 0 && seen != own.has(u) {
		if err := p.markSeen(ctx, r, s.view, b, u, seen); err != nil {
			return err
		}
	}
	set.overlay(u, &next)
	f, err := names.of(&next)
	if err == nil {
		out.Stored = append(out.Stored, imap.FlagChange{UID: imap.UID(u), ModSeq: imap.ModSeq(next.S), Flags: f})
	}
	return err
}

// land makes of the flags that a message comes with those that it can have where it goes. Seen says that the session
// has seen it, for itself.
func (v *view) land(f imap.SystemFlags, have rights) (system imap.SystemFlags, seen bool) {
	if v.guest == 0 {
		return f, false
	}
	return f & have.flags(), f&imap.FlagSeen != 0 && have&rightSeen != 0
}
