package accounts

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mailauth/srs"
)

// rewriter has a key that is made of the secret of the house.
func (a *Accounts) rewriter() *srs.Rewriter {
	m := hmac.New(sha256.New, a.secret)
	m.Write([]byte("sender rewriting scheme"))
	return &srs.Rewriter{Keys: [][]byte{m.Sum(nil)}, Clock: a.c.Clock}
}

// ReversePath returns the reverse-path under which a message is sent on to another host. What comes from a domain of ours,
// and <>, stays; any other gets a path in a domain of ours, by which reports come back (see package srs): in that of via,
// the address that sent it on, if it is one of ours, else in that of the first admin.
func (a *Accounts) ReversePath(_ context.Context, sender, via mail.Address) (mail.Address, error) {
	if sender.IsNull() || sender.Domain == "" || a.ours(sender.Domain) {
		return sender, nil
	}
	domain := a.homeDomain()
	if a.ours(via.Domain) {
		domain, _ = CanonicalDomain(via.Domain)
	}
	if domain == "" {
		return sender, nil
	}
	path, err := a.rewriter().Forward(sender, domain)
	switch {
	case errors.Is(err, srs.ErrAddress):
		return sender, nil
	case err != nil:
		return mail.Address{}, fmt.Errorf("rewrite %s: %w", sender.Path(), err)
	}
	return path, nil
}

// ours reports whether a domain is one of the house.
func (a *Accounts) ours(domain string) bool {
	d, ok := CanonicalDomain(domain)
	if ok {
		_, ok = a.held.domain(d)
	}
	return ok
}

// resolveRewritten leads what comes to a path of ReversePath, a report nearly always, back to the sender. A path that was
// not made here, or too long ago, leads nowhere: nobody can have mail sent on as he likes.
func (a *Accounts) resolveRewritten(addr mail.Address) (Resolution, error) {
	if !a.ours(addr.Domain) {
		return Resolution{}, nil
	}
	back, err := a.rewriter().Reverse(addr)
	if err != nil || a.ours(back.Domain) { // what is ours is never rewritten; a domain may have become ours since
		return Resolution{OurDomain: true}, nil
	}
	return Resolution{OurDomain: true, Alias: true, Targets: []mail.Target{{Address: back, Remote: true}}, Accounts: []uint64{0}}, nil
}
