package house

import (
	"context"
	"errors"
	"iter"

	"github.com/samotop/samotop/accounts"
	"github.com/samotop/samotop/internal/transfer"
	"github.com/samotop/samotop/mailauth/keyring"
	"github.com/samotop/samotop/mailbox"
	"github.com/samotop/samotop/management"
)

// managementConfig tells management about the rooms that are open.
func (h *House) managementConfig() management.Config {
	c := management.Config{House: about{h}, Copies: copies{h}, Log: h.log.With("room", "management")}
	c.Elsewhere = h.elsewhere()
	if h.has(Queue) || !h.o.Linked {
		c.Keys = keys{h}
	}
	if h.mailbox != nil {
		c.Mail = mailOf{h.mailbox}
	}
	if h.journal != nil {
		c.Why, c.Record = why{h.journal}, h.journal
		c.Reports, c.Counts = h.reports, h.counts
	}
	if h.accounts != nil {
		p := h.people()
		c.Domains, c.People, c.Aliases, c.MakePassword = p, p, p, h.accounts.GeneratePassword
		c.Lists, c.Rules = rulesOf{h.accounts}, rulesOf{h.accounts}
		c.Contacts = contacts{h.accounts}
		c.Senders = senders{h.accounts}
	}
	if h.mailbox != nil {
		c.Transfer = &transfer.Handler{Mailbox: h.mailbox, Log: h.log.With("part", "transfer")}
		c.Mailboxes = mailboxes{h.mailbox, directory{h.rules}}
	}
	if h.has(Guard) && h.abuse != nil {
		c.Bans = bans{h.abuse}
	}
	if h.history != nil {
		c.Reputation = reputation{h}
	}
	if h.filter != nil {
		c.Junk = junkVerbs{h}
	}
	if t := h.teacher(); t != nil && h.mailbox != nil {
		c.Relearner = relearner{mailboxes{h.mailbox, directory{h.rules}}, t}
	}
	if h.queue != nil {
		c.Queue = queue{h.queue}
		c.Destinations = destinations{h.queue}
	}
	return c
}

// people shows the accounts room to management.
type people struct {
	a *accounts.Accounts
	m mailKeeper     // nil: usage is not told
	e evidencePurger // nil: the guard is not there, and keeps nothing
	k keyMaker
}

// mailKeeper is what the verbs about people ask of the mailbox.
type mailKeeper interface {
	Usage(ctx context.Context, owner uint64) (mailbox.Usage, error)
	Purge(ctx context.Context, owner uint64) error
}

// evidencePurger is what they ask of the guard.
type evidencePurger interface {
	PurgeEvidence(ctx context.Context, owner uint64, address string) error
}

// keyMaker makes the keys of a new domain, if it has none.
type keyMaker interface {
	Make(domain string) ([]keyring.Key, error)
}

func (h *House) people() people {
	p := people{a: h.accounts, k: h.keys}
	switch {
	case h.mailbox != nil:
		p.m = h.mailbox
	case h.o.Linked:
		p.m = h.far("mailbox")
	}
	switch {
	case h.history != nil:
		p.e = reputation{h}
	case h.o.Linked:
		p.e = h.far("guard")
	}
	if h.o.Linked && !h.has(Queue) { // which alone may read them
		p.k = h.far("qm")
	}
	return p
}

var (
	_ management.Domains = people{}
	_ management.People  = people{}
	_ management.Aliases = people{}
)

// told turns the refusals of accounts into those of management; their text names thing, cause and remedy already.
func told(err error) error {
	var e *accounts.Error
	if !errors.As(err, &e) {
		return err
	}
	kind := management.Invalid
	switch e.Kind {
	case accounts.ErrUnknown:
		kind = management.NotFound
	case accounts.ErrExists:
		kind = management.Exists
	case accounts.ErrInUse:
		kind = management.InUse
	}
	return &management.Error{Kind: kind, Cause: e.Text}
}

func domain(d accounts.Domain) management.Domain {
	m := management.Domain{Name: d.Name, Created: d.Created, Separators: d.Separators, AliasOf: d.AliasOf}
	for _, r := range d.Rules {
		m.Rules = append(m.Rules, management.MapRule{Pattern: r.Pattern, Replace: r.Replace})
	}
	if d.Unicode != d.Name {
		m.Unicode = d.Unicode
	}
	return m
}

func account(a accounts.Account) management.Account {
	return management.Account{ID: a.ID, Address: a.Address.String(), Admin: a.Admin, Enabled: a.Enabled, Quota: a.Quota, Created: a.Created,
		QuotaMessages: a.QuotaMessages, PlusFolders: a.PlusFolders}
}

func alias(a accounts.Alias) management.Alias {
	m := management.Alias{Address: accounts.ShowAlias(a.Address), Created: a.Created}
	for _, t := range a.Targets {
		m.Targets = append(m.Targets, t.String())
	}
	return m
}

// AddDomain also makes its keys, which are no part of the change: where that fails the domain is there all the same, its
// mail is not signed, and the verbs about keys make them.
func (p people) AddDomain(ctx context.Context, name string) (management.Domain, error) {
	d, err := p.a.AddDomain(ctx, name)
	if err != nil {
		return domain(d), told(err)
	}
	if _, err := p.k.Make(d.Name); err != nil {
		return domain(d), &management.Error{Kind: management.Internal, Thing: "domain " + d.Name, Cause: "was added, but its DKIM keys could not be made: " + err.Error(),
			Remedy: "make them with \"samotop dkim rotate " + d.Name + "\""}
	}
	return domain(d), nil
}

func (p people) Domain(ctx context.Context, name string) (management.Domain, error) {
	d, err := p.a.Domain(ctx, name)
	return domain(d), told(err)
}

func (p people) Domains(ctx context.Context) iter.Seq2[management.Domain, error] {
	return func(yield func(management.Domain, error) bool) {
		ds, err := p.a.Domains(ctx)
		if err != nil {
			yield(management.Domain{}, told(err))
			return
		}
		for _, d := range ds {
			if !yield(domain(d), nil) {
				return
			}
		}
	}
}

func (p people) RemoveDomain(ctx context.Context, name string) error {
	return told(p.a.RemoveDomain(ctx, name))
}

func (p people) AddAccount(ctx context.Context, args management.AccountArgs) (management.Account, error) {
	a, err := p.a.AddAccount(ctx, args.Address, accounts.Options{Password: args.Password, Admin: args.Admin, Quota: args.Quota,
		QuotaMessages: args.QuotaMessages, PlusFolders: args.PlusFolders})
	return account(a), told(err)
}

func (p people) Account(ctx context.Context, address string) (management.Account, error) {
	a, err := p.a.Account(ctx, address)
	if err != nil {
		return management.Account{}, told(err)
	}
	m := account(a)
	as, err := p.a.Grants(ctx, address)
	if err != nil {
		return m, told(err)
	}
	m.SendAs = texts(as)
	if p.m != nil {
		u, err := p.m.Usage(ctx, a.ID)
		if err != nil {
			return m, err
		}
		m.Usage = &management.Usage{Octets: u.Octets, Messages: u.Messages, Mailboxes: u.Mailboxes}
	}
	return m, nil
}

func (p people) Accounts(ctx context.Context, domain string) iter.Seq2[management.Account, error] {
	return convert(p.a.Accounts(ctx, domain), account)
}

func (p people) SetAccount(ctx context.Context, args management.SetArgs) (management.Account, error) {
	if args.Password != nil {
		if err := p.a.SetPassword(ctx, args.Address, *args.Password); err != nil {
			return management.Account{}, told(err)
		}
	}
	if args.Admin == nil && args.Enabled == nil && args.Quota == nil && args.QuotaMessages == nil && args.PlusFolders == nil {
		a, err := p.a.Account(ctx, args.Address)
		return account(a), told(err)
	}
	a, err := p.a.SetAccount(ctx, args.Address, accounts.Change{Admin: args.Admin, Enabled: args.Enabled, Quota: args.Quota,
		QuotaMessages: args.QuotaMessages, PlusFolders: args.PlusFolders})
	return account(a), told(err)
}

// RemoveAccount removes the account first, so that nothing more is delivered, and then its mail and what the guard has learned
// for it. An id is never given again: what a crash in between leaves behind is nobody's.
func (p people) RemoveAccount(ctx context.Context, address string) (management.Account, error) {
	a, err := p.a.RemoveAccount(ctx, address)
	if err == nil && p.m != nil {
		err = p.m.Purge(ctx, a.ID)
	}
	if err == nil && p.e != nil {
		err = p.e.PurgeEvidence(ctx, a.ID, a.Address.String())
	}
	return account(a), told(err)
}

func (p people) AddAlias(ctx context.Context, address string, targets []string) (management.Alias, error) {
	a, err := p.a.AddAlias(ctx, address, targets...)
	return alias(a), told(err)
}

func (p people) RemoveAlias(ctx context.Context, address string, targets []string) error {
	return told(p.a.RemoveAlias(ctx, address, targets...))
}

func (p people) Aliases(ctx context.Context, domain string) iter.Seq2[management.Alias, error] {
	return convert(p.a.Aliases(ctx, domain), alias)
}

func convert[A, B any](seq iter.Seq2[A, error], f func(A) B) iter.Seq2[B, error] {
	return func(yield func(B, error) bool) {
		for v, err := range seq {
			if !yield(f(v), told(err)) {
				return
			}
		}
	}
}
