package house

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"

	"github.com/samotop/samotop/guard"
)

// openAbuse begins to count what peers do, in each process that hears them. The bans are the guard's.
func (h *House) openAbuse(ctx context.Context) error {
	if !h.has(Guard | MTA | MSA | Mails | Accounts) {
		return nil
	}
	if h.has(Guard) {
		if err := guard.OpenEvidence(ctx, h.engines[evidenceDB]); err != nil {
			return engineError(filepath.Join(h.conf.Dir, evidenceDB), err)
		}
	}
	c := h.conf.Guard
	a := guard.AbuseConfig{Engine: h.engines[evidenceDB], Own: h.ownNetworks(), Connections: c.Connections, Messages: c.Messages,
		UnknownRecipients: c.UnknownRecipients, WrongPasswords: c.WrongPasswords, Ban: c.Ban, Networks: c.Networks, Journal: h.events, Log: h.log.With("room", "guard")}
	if !h.has(Guard) && h.o.Linked {
		h.evidence = h.openRemoteEvidence()
		a.Forward = h.evidence.did
	}
	var err error
	if h.abuse, err = guard.OpenAbuse(ctx, a); err != nil {
		return fmt.Errorf("open guard: %w", err)
	}
	h.gate = newGate(h.abuse)
	return nil
}

// openGuard opens the room on its database.
func (h *House) openGuard(ctx context.Context) error {
	c := h.conf.Guard
	readers, err := h.contentReaders(ctx)
	if err != nil {
		return err
	}
	if err := h.openHistory(ctx); err != nil {
		return err
	}
	judges, err := h.judges()
	if err != nil {
		return err
	}
	grey := h.history.Grey
	if c.Greylist == "off" {
		grey = nil
	}
	h.guardDoor = guard.New(guard.Config{Rules: guardRules{h.rules, machineOf(h.conf)}, Contacts: guardContacts{h.rules}, MaxRecipients: h.conf.MTA.MaxRecipients,
		Thresholds: guard.Thresholds{Junk: c.Junk, Defer: c.Defer, Refuse: c.Refuse}, Own: h.ownNetworks(), Abuse: h.abuse, Lists: guardLists{h.rules}, Readers: readers, Judges: judges, Reputation: h.history.Reputation, Grey: grey,
		Journal: h.events, Log: h.log.With("room", "guard"), LogAccepted: !h.has(MTA | MSA)})
	return nil
}

// ownNetworks are never banned, limited nor greylisted, beside loopback.
func (h *House) ownNetworks() []netip.Prefix {
	return append(slices.Clip(h.conf.MTA.Trusted), h.conf.Guard.Own...)
}
