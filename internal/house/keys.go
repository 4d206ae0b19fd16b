package house

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/samotop/samotop/mailauth/keyring"
	"github.com/samotop/samotop/management"
	"github.com/samotop/samotop/resolver"
)

// keys shows the DKIM keys to management.
type keys struct{ h *House }

var _ management.Keys = keys{}

func keyOf(k keyring.Key) management.Key {
	return management.Key{Domain: k.Domain, Selector: k.Selector, Algorithm: k.Algorithm, State: string(k.State), Since: k.Since, Name: k.Name, Record: k.Record}
}

func keysOf(in []keyring.Key) []management.Key {
	var out []management.Key
	for _, k := range in {
		out = append(out, keyOf(k))
	}
	return out
}

// ours gives the name of a domain as the accounts have it.
func (k keys) ours(ctx context.Context, domain string) (string, error) {
	if k.h.accounts == nil {
		return domain, nil
	}
	d, err := k.h.accounts.Domain(ctx, domain)
	return d.Name, told(err)
}

func (k keys) Keys(ctx context.Context, domain string) (out []management.Key, err error) {
	if domain != "" {
		if domain, err = k.ours(ctx, domain); err != nil {
			return nil, err
		}
	}
	list, err := k.h.keys.List(domain)
	return keysOf(list), err
}

func (k keys) Rotate(ctx context.Context, domain string, force bool) (management.Rotated, error) {
	var out management.Rotated
	domain, err := k.ours(ctx, domain)
	if err != nil {
		return out, err
	}
	dns, err := k.h.resolver()
	if err != nil {
		return out, err
	}
	done, err := k.h.keys.Rotate(ctx, domain, keyring.RotateOptions{Force: force,
		Live: func(ctx context.Context, key keyring.Key) error { return published(ctx, dns, key) }})
	var not *keyring.NotLiveError
	if errors.As(err, &not) {
		return out, &management.Error{Kind: management.Unavailable, Thing: "the next keys of " + domain, Cause: not.Cause.Error(),
			Remedy: "publish what \"samotop dkim list " + domain + "\" shows as next and try again, or add --force"}
	}
	return management.Rotated{Made: keysOf(done.Made), Active: keysOf(done.Active), Old: keysOf(done.Old), Removed: keysOf(done.Removed)}, err
}

// published reports why a key's record cannot be seen in DNS.
func published(ctx context.Context, dns resolver.Resolver, k keyring.Key) error {
	texts, _, err := dns.TXT(ctx, k.Name)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(texts, func(s string) bool { return keyPart(s) != "" && keyPart(s) == keyPart(k.Record) }) {
		return fmt.Errorf("what is published is another key: %.80q", texts)
	}
	return nil
}

// keyPart is the value of p= in a key record, which tells keys apart.
func keyPart(record string) string {
	for _, tag := range strings.Split(record, ";") {
		if v, ok := strings.CutPrefix(strings.TrimSpace(tag), "p="); ok {
			return strings.Join(strings.Fields(v), "")
		}
	}
	return ""
}
