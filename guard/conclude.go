package guard

import (
	"context"
	"slices"

	"github.com/samotop/samotop/mail"
)

// conclude says the last word on the recipient that is being accepted, into his targets, if the content cannot change it: no
// owner has to see it, no signature has to prove anything, and nobody wants to read it.
func (t *transaction) conclude(ctx context.Context, r *mail.Recipient) {
	if len(t.proofs) > 0 && t.proofs[len(t.proofs)-1].recipient == t.accepted {
		return
	}
	mine := t.suspects
	for len(mine) > 0 && mine[0].recipient != t.accepted {
		mine = mine[1:]
	}
	for i := range mine {
		if s := &mine[i]; s.promised || s.opinion.Defer || t.wanted(ctx, s.to) {
			return
		}
	}
	own := false // the rules own their slice
	for i := range mine {
		s := &mine[i]
		s.done = true
		said := t.target(s)
		if said.Folder == "" && said.Note == "" {
			continue
		}
		if !own {
			r.Targets, own = slices.Clone(r.Targets), true
		}
		for j := range r.Targets {
			if x := &r.Targets[j]; x.Address == s.to && !x.Remote {
				x.Note = said.Note
				if said.Folder != "" {
					x.Folder = said.Folder
				}
			}
		}
	}
}

// wanted reports whether somebody wants to read the content of a message to an account.
func (t *transaction) wanted(ctx context.Context, to mail.Address) bool {
	return slices.ContainsFunc(t.c.Readers, func(r Reader) bool {
		c, ok := r.(Chooser)
		return !ok || c.Wants(ctx, &t.m, to)
	})
}

// target is what the score makes of a target: where it goes, and what we think.
func (t *transaction) target(s *suspect) mail.Target {
	x := mail.Target{Address: s.to}
	if s.folder == "" && !(s.promised && t.signed()) && over(s.opinion.Score, t.c.Thresholds.Junk) {
		x.Folder = JunkFolder
	}
	if len(s.opinion.Reasons)+len(s.opinion.Fields) > 0 {
		x.Note = s.opinion.note(x.Folder != "")
	}
	return x
}

// Settled is of mail.Settler: the last word on everybody was said at RCPT.
func (t *transaction) Settled() bool {
	return t.accepted > 0 && len(t.proofs) == 0 && !t.doubts()
}

// doubts reports whether there is a suspect whose content is still to be judged.
func (t *transaction) doubts() bool {
	return slices.ContainsFunc(t.suspects, func(s suspect) bool { return !s.done })
}
