package house

import (
	"context"
	"net/netip"
	"path/filepath"
	"slices"

	"github.com/samotop/samotop/guard"
)

// openGuard opens the room on its database.
func (h *House) openGuard(ctx context.Context) error {
	engine := h.engines[evidenceDB]
	if err := guard.OpenEvidence(ctx, engine); err != nil {
		return engineError(filepath.Join(h.conf.Dir, evidenceDB), err)
	}
	c := h.conf.Guard
	h.guardDoor = guard.New(guard.Config{Rules: guardRules{h.rules}, Contacts: guardContacts{h.rules}, MaxRecipients: h.conf.MTA.MaxRecipients,
		Thresholds: guard.Thresholds{Junk: c.Junk, Defer: c.Defer, Refuse: c.Refuse}, Own: h.ownNetworks(),
		Journal: h.events, Log: h.log.With("room", "guard")})
	return nil
}

// ownNetworks are never banned, limited nor greylisted, beside loopback.
func (h *House) ownNetworks() []netip.Prefix {
	return append(slices.Clip(h.conf.MTA.Trusted), h.conf.Guard.Own...)
}
