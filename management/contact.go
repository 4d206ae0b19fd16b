package management

import (
	"context"
	"iter"
	"time"
)

// Contacts is what is asked about who may write to an account.
type Contacts interface {
	Policy(ctx context.Context, address string) (string, error)
	SetPolicy(ctx context.Context, address, policy string) error
	Contacts(ctx context.Context, address string) iter.Seq2[Contact, error]
	// SetContact approves or rejects; expires is from now, 0 for never.
	SetContact(ctx context.Context, address, sender string, approve bool, expires time.Duration) (Contact, error)
	RemoveContact(ctx context.Context, address, sender string) error
	// AddSuffix makes an address at which one sender may write for a time; 0 is the default.
	AddSuffix(ctx context.Context, address string, d time.Duration) (Suffix, error)
}

// Contact is somebody who wrote to an account, or to whom its owner wrote.
type Contact struct {
	Sender    string    `json:"sender"` // an address, @domain, or list:ID
	State     string    `json:"state"`  // pending, approved, rejected
	FirstSeen time.Time `json:"first_seen"`
	LastSeen  time.Time `json:"last_seen,omitzero"`
	Expires   time.Time `json:"expires,omitzero"`
	Proven    bool      `json:"proven"`            // his domain was authenticated
	Network   string    `json:"network,omitempty"` // if not: whence he wrote
	Tries     uint32    `json:"tries,omitempty"`   // while he waited, those within an hour as one
	Subject   string    `json:"subject,omitempty"`
	Signed    string    `json:"signed,omitempty"` // DKIM domain
	List      string    `json:"list,omitempty"`   // whose mail he sends
}

// PolicyArgs is contact/policy; "" asks.
type PolicyArgs struct {
	Address string `json:"address"`
	Policy  string `json:"policy,omitempty"`
}

// Policy is the answer.
type Policy struct {
	Address string `json:"address"`
	Policy  string `json:"policy"`
}

// ContactArgs is contact/approve, reject and remove.
type ContactArgs struct {
	Address string        `json:"address"`
	Sender  string        `json:"sender"`
	Expires time.Duration `json:"expires_ns,omitempty"`
}

// contactVerbs adds the verbs about contacts.
func (h *Handler) contactVerbs(t map[string]verb) {
	c := h.cfg.Contacts
	if c == nil {
		return
	}
	t["contact/policy"] = on(func(ctx context.Context, a PolicyArgs, _ *sender) (any, error) {
		if a.Policy != "" {
			if err := c.SetPolicy(ctx, a.Address, a.Policy); err != nil {
				return nil, err
			}
			h.cfg.Log.Info("policy of contacts changed", "account", a.Address, "policy", a.Policy)
		}
		p, err := c.Policy(ctx, a.Address)
		return Policy{a.Address, p}, err
	})
	t["contact/list"] = on(func(ctx context.Context, a NameArgs, out *sender) (any, error) {
		return list(c.Contacts(ctx, a.Name), out)
	})
	for name, approve := range map[string]bool{"approve": true, "reject": false} {
		t["contact/"+name] = on(func(ctx context.Context, a ContactArgs, _ *sender) (any, error) {
			return c.SetContact(ctx, a.Address, a.Sender, approve, a.Expires)
		})
	}
	t["contact/suffix"] = on(func(ctx context.Context, a SuffixArgs, _ *sender) (any, error) {
		return c.AddSuffix(ctx, a.Address, a.For)
	})
	t["contact/remove"] = on(func(ctx context.Context, a ContactArgs, _ *sender) (any, error) {
		return nil, c.RemoveContact(ctx, a.Address, a.Sender)
	})
}

// SuffixArgs is contact/suffix: For is how long, 0 for the default.
type SuffixArgs struct {
	Address string        `json:"address"`
	For     time.Duration `json:"for_ns,omitempty"`
}

// Suffix is an address at which one sender may write for a time.
type Suffix struct {
	Address string    `json:"address"`
	Until   time.Time `json:"until"`
}
