package house

import (
	"context"
	"iter"
	"time"

	"github.com/samotop/samotop/accounts"
	"github.com/samotop/samotop/management"
)

// contacts shows the contacts of the accounts room to management.
type contacts struct{ a *accounts.Accounts }

var _ management.Contacts = contacts{}

func contact(c accounts.Contact) management.Contact {
	m := management.Contact{Sender: c.Sender, State: c.State.String(), FirstSeen: c.FirstSeen, LastSeen: c.LastSeen, Expires: c.Expires, Proven: c.Proven,
		Tries: c.Tries, Subject: c.Subject, Signed: c.Signed, List: c.List}
	if c.Network.IsValid() {
		m.Network = c.Network.String()
	}
	return m
}

func (c contacts) Policy(ctx context.Context, address string) (string, error) {
	p, err := c.a.Policy(ctx, address)
	return p.String(), told(err)
}

func (c contacts) SetPolicy(ctx context.Context, address, policy string) error {
	p, err := accounts.ParsePolicy(policy)
	if err == nil {
		err = c.a.SetPolicy(ctx, address, p)
	}
	return told(err)
}

func (c contacts) Contacts(ctx context.Context, address string) iter.Seq2[management.Contact, error] {
	return convert(c.a.Contacts(ctx, address), contact)
}

func (c contacts) SetContact(ctx context.Context, address, sender string, approve bool, expires time.Duration) (management.Contact, error) {
	d := accounts.Decided{State: accounts.Rejected, Expires: expires}
	if approve {
		d.State = accounts.Approved
	}
	m, err := c.a.SetContact(ctx, address, sender, d)
	return contact(m), told(err)
}

func (c contacts) RemoveContact(ctx context.Context, address, sender string) error {
	return told(c.a.RemoveContact(ctx, address, sender))
}

func (c contacts) AddSuffix(ctx context.Context, address string, d time.Duration) (management.Suffix, error) {
	s, err := c.a.AddSuffix(ctx, address, d)
	return management.Suffix{Address: s.Address.String(), Until: s.Until}, told(err)
}
