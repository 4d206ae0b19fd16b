package imap

import "context"

// syncAfter tells what happened in the mailbox, before the tagged answer to a command. Answers to FETCH, STORE and
// SEARCH must not hold EXPUNGE (RFC 9051 section 7.5.1): sequence numbers would shift under the client.
func (c *conn) syncAfter(ctx context.Context, verb string) error {
	switch verb {
	case "FETCH", "STORE", "SEARCH", "SORT", "THREAD":
		return c.sync(ctx, false)
	}
	return c.sync(ctx, true)
}

// sync tells the client what has changed since the last time: what left its contexts and, if it may be told now, EXPUNGE,
// then EXISTS, then flags, then what joined its contexts (RFC 5267 sections 4.3.3 and 4.3.4). After NOTIFY it tells
// what was asked for only (RFC 5465 section 3.1).
func (c *conn) sync(ctx context.Context, expunges bool) error {
	v, want := c.sel, c.selectedEvents()
	since := v.modseq
	if want.flags && v.flagsSince != 0 {
		since = v.flagsSince
	}
	ch, err := v.box.Changes(ctx, since)
	if err != nil {
		return err
	}
	if ch == nil {
		ch = &Changes{ModSeq: v.modseq, Rights: v.rights}
	}
	if ch.Gone {
		return bye("mailbox is gone")
	}
	if ch.Rights != v.rights {
		c.begin()
		c.tellNewRights(ch.Rights)
	}
	if ch.NewKeys && c.offersURLAuth() { // RFC 4467 section 7, RESETKEY
		c.begin()
		c.say("* OK [URLMECH ", mechInternal, "] the access keys were reset")
	}
	if !want.messages {
		v.known = v.known[:0]
		return nil
	}
	fresh := ch.New.Subtract(ch.Vanished).Subtract(v.uids)
	ch.New = fresh
	c.begin()
	if gone := ch.Vanished.Intersect(v.uids); len(gone) > 0 {
		v.gone = v.gone.Union(gone)
		c.contextsLose(gone)
	}
	if expunges && len(v.gone) > 0 {
		c.tellGone()
	}
	if len(fresh) > 0 {
		c.tellNew(ch)
	}
	if !want.flags && len(ch.Flags) > 0 && v.flagsSince == 0 {
		v.flagsSince = max(v.modseq, 1)
	}
	if want.flags {
		v.flagsSince = 0
		c.tellFlags(ch.Flags)
	}
	if len(fresh) > 0 || len(v.contexts) > 0 {
		if err := c.tellJoined(ctx, fresh, ch.Flags); err != nil {
			return err
		}
	}
	c.synced(ch)
	return c.spill()
}

// synced notes what the client knows now.
func (c *conn) synced(ch *Changes) {
	v := c.sel
	v.modseq, v.known, v.own = max(v.modseq, ch.ModSeq), v.known[:0], nil
	if cap(v.known) > keepKnown {
		v.known = nil
	}
	v.uidNext = max(v.uidNext, ch.UIDNext)
}

// keepKnown is how many entries of known a quiet session may keep room for.
const keepKnown = 64

// tellJoined fetches new messages as NOTIFY and the contexts ask, and says which messages joined or left a context.
// RFC 5465 sections 5.2 and 7 contradict each other about the order; this is that of section 7: EXISTS, FETCH, ESEARCH.
func (c *conn) tellJoined(ctx context.Context, fresh UIDSet, flags []FlagChange) error {
	v := c.sel
	changed := fresh.Clone()
	for i := range flags {
		changed.Add(flags[i].UID)
	}
	changed = changed.Intersect(v.uids).Subtract(v.gone)
	moves := make([]contextMove, len(v.contexts))
	if len(changed) > 0 {
		for i, x := range v.contexts {
			var err error
			if moves[i], err = c.contextMove(ctx, x, changed); err != nil {
				return err
			}
		}
	}
	if fetched := fresh.Intersect(v.uids).Subtract(v.gone).Subtract(v.own); len(fetched) > 0 {
		if err := c.fetchFresh(ctx, fetched, moves); err != nil {
			return err
		}
	}
	for i, x := range v.contexts {
		c.tellMove(x, &moves[i])
	}
	return nil
}

// fetchFresh tells of new messages what NOTIFY and the contexts they joined ask for, each message once.
func (c *conn) fetchFresh(ctx context.Context, fresh UIDSet, moves []contextMove) error {
	var plans []*fetchPlan
	var sets []UIDSet
	if want := c.selectedEvents(); want.plan != nil {
		plans, sets = append(plans, want.plan), append(sets, fresh)
	}
	for i := range moves {
		if x := c.sel.contexts[i]; x.plan != nil {
			plans, sets = append(plans, x.plan), append(sets, moves[i].added.Intersect(fresh))
		}
	}
	for len(fresh) > 0 && len(plans) > 0 {
		first, same, plan := fresh.Min(), fresh, &fetchPlan{}
		for i, set := range sets { // the messages that are in the same sets as the first one
			if set.Contains(first) {
				plan.merge(plans[i])
				same = same.Intersect(set)
			} else {
				same = same.Subtract(set)
			}
		}
		if len(plan.items) > 0 {
			if _, err := c.fetch(ctx, same, plan, nil); err != nil && !isAnswer(err) {
				return err
			}
		}
		fresh = fresh.Subtract(same)
	}
	return nil
}

// isAnswer reports whether err is meant for the client: what was not asked for by a command is left out then.
func isAnswer(err error) bool {
	e, ok := err.(*Error)
	return ok && e.Cause == nil
}

// merge adds the items of another plan that are not there yet.
func (f *fetchPlan) merge(o *fetchPlan) {
	for _, it := range o.items {
		have := false
		for i := range f.items {
			have = have || f.items[i].label == it.label
		}
		if !have {
			f.add(it)
		}
	}
}
