package accounts

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/sasl"
	"github.com/samotop/samotop/store"
)

// MaxFaults is how many faults Verify names before it stops.
const MaxFaults = 1000

// verifier follows every reference of the database in both directions. Changes wait while it runs.
type verifier struct {
	listing uint64 // account whose list is looked at
	a       *Accounts
	nextID  uint64
	faults  []string
}

var errEnough = errors.New("enough faults")

func (v *verifier) fault(format string, args ...any) error {
	v.faults = append(v.faults, fmt.Sprintf(format, args...))
	if len(v.faults) >= MaxFaults {
		return errEnough
	}
	return nil
}

// Verify reads everything, follows each reference both ways, and returns each fault found, up to MaxFaults. Changes
// wait meanwhile; reading and logging in go on.
func (a *Accounts) Verify(ctx context.Context) ([]string, error) {
	a.change.Lock()
	defer a.change.Unlock()
	v := &verifier{a: a}
	next, err := a.get(ctx, keyNextID)
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	if len(next) == 8 {
		v.nextID = binary.BigEndian.Uint64(next)
	} else if err = v.fault("the row of the next account number is missing or damaged"); err != nil {
		return v.faults, nil
	}
	for _, part := range []struct {
		tag   string
		check func(context.Context, store.KV) error
	}{
		{tagDomain, v.domain}, {tagName, v.name}, {tagAccount, v.account}, {tagPassword, v.password},
		{tagAdmin, v.admin}, {tagReverse, v.reverse}, {tagGrant, v.grant}, {tagGranted, v.granted}, {tagListed, v.listed},
	} {
		err := a.scan(ctx, []byte(part.tag), func(kv store.KV) error { return part.check(ctx, kv) })
		if errors.Is(err, errEnough) {
			break
		}
		if err != nil {
			return v.faults, fmt.Errorf("verify: %w", err)
		}
	}
	return v.faults, nil
}

func (v *verifier) domain(_ context.Context, kv store.KV) error {
	name := string(kv.Key[len(tagDomain):])
	if _, err := decodeDomain(name, kv.Value); err != nil {
		return v.fault("%v", err)
	}
	if c, ok := CanonicalDomain(name); !ok || c != name {
		return v.fault("domain %q is not in canonical form", name)
	}
	if d, _ := v.a.held.domain(name); d.AliasOf != "" {
		if real, ok := v.a.held.domain(d.AliasOf); !ok || real.AliasOf != "" {
			return v.fault("domain %s is another name of %s, which has no addresses of its own", name, d.AliasOf)
		}
	}
	return nil
}

func (v *verifier) name(ctx context.Context, kv store.KV) error {
	addr, ok := parseName(kv.Key[len(tagName):])
	if c, cok := canonical(addr); !ok || !cok || c != addr {
		return v.fault("name %q is not in canonical form", kv.Key)
	}
	if _, ok := v.a.held.domain(addr.Domain); !ok {
		if err := v.fault("name %s is in a domain that is not known", addr); err != nil {
			return err
		}
	}
	id, n, err := decodeName(addr, kv.Value)
	if err != nil {
		return v.fault("%v", err)
	}
	if id == 0 {
		return v.leads(ctx, addr, n)
	}
	acc, err := v.a.AccountByID(ctx, id)
	switch {
	case errors.Is(err, ErrUnknown) || errors.Is(err, store.ErrCorrupt):
		return v.fault("name %s leads to account %d: %v", addr, id, err)
	case err != nil:
		return err
	case acc.Address != addr:
		return v.fault("name %s leads to account %d, whose address is %s", addr, id, acc.Address)
	}
	return nil
}

// leads checks an alias or a list, and the index of what it leads to.
func (v *verifier) leads(ctx context.Context, addr mail.Address, n *name) error {
	what := n.what(addr)
	for _, t := range n.leads() {
		c, ok := canonical(t)
		if !ok {
			if err := v.fault("%s: target %s is not an address", what, t); err != nil {
				return err
			}
			continue
		}
		row, err := v.a.get(ctx, keyReverse(c, addr))
		if err != nil {
			return err
		}
		if row == nil {
			if err := v.fault("%s: target %s is not in the index of targets", what, t); err != nil {
				return err
			}
		}
	}
	x := expansion{a: v.a}
	var err error
	if n.list != nil {
		x.members, x.most = true, MaxListMembers
		err = x.all(ctx, n.list.Members)
	} else {
		err = x.alias(ctx, n.alias, "", 0)
	}
	var reply *mail.Reply
	switch {
	case x.circle:
		return v.fault("%s leads in a circle", what)
	case x.nested > 0:
		return v.fault("%s leads to another list", what)
	case errors.As(err, &reply):
		return v.fault("%s leads too far: %s", what, reply.Text)
	case errors.Is(err, store.ErrCorrupt):
		return v.fault("%s: %v", what, err)
	}
	return err
}

func (v *verifier) account(ctx context.Context, kv store.KV) error {
	acc, err := decodeAccountRow(kv)
	if err != nil {
		return v.fault("%v", err)
	}
	if acc.ID >= v.nextID {
		if err := v.fault("account %d is not below the next number %d", acc.ID, v.nextID); err != nil {
			return err
		}
	}
	row, err := v.a.get(ctx, keyName(acc.Address))
	if err != nil {
		return err
	}
	if id, _, derr := decodeName(acc.Address, row); row == nil || derr != nil || id != acc.ID {
		return v.fault("account %d: its address %s does not lead to it", acc.ID, acc.Address)
	}
	admin, err := v.a.get(ctx, keyID(tagAdmin, acc.ID))
	if err != nil {
		return err
	}
	if acc.Admin != (admin != nil) {
		return v.fault("account %d: the index of admins does not agree with it", acc.ID)
	}
	return nil
}

// exists reports whether the account of an index row is there.
func (v *verifier) exists(ctx context.Context, kv store.KV, tag, what string) (uint64, bool, error) {
	if len(kv.Key) != len(tag)+8 {
		return 0, false, v.fault("%s: key %q is malformed", what, kv.Key)
	}
	id := binary.BigEndian.Uint64(kv.Key[len(tag):])
	row, err := v.a.get(ctx, keyID(tagAccount, id))
	if err == nil && row == nil {
		err = v.fault("%s of account %d, which is not there", what, id)
	}
	return id, row != nil, err
}

func (v *verifier) password(ctx context.Context, kv store.KV) error {
	id, ok, err := v.exists(ctx, kv, tagPassword, "password")
	if !ok || err != nil {
		return err
	}
	s, err := decodeSecrets(id, kv.Value)
	if err != nil {
		return v.fault("%v", err)
	}
	if _, err := parsePHC(s.phc); err != nil {
		return v.fault("password of account %d: %v", id, err)
	}
	for _, h := range []sasl.Hash{sasl.SHA256, sasl.SHA1} {
		if k := s.scram[h]; len(k.StoredKey) != h.Size() || len(k.ServerKey) != h.Size() || k.Iterations < 1 || len(k.Salt) == 0 {
			return v.fault("password of account %d: keys of SCRAM-%s are damaged", id, h)
		}
	}
	return nil
}

func (v *verifier) admin(ctx context.Context, kv store.KV) error {
	_, _, err := v.exists(ctx, kv, tagAdmin, "admin right")
	return err
}

func (v *verifier) reverse(ctx context.Context, kv store.KV) error {
	target, alias, ok := parseReverse(kv.Key)
	if !ok {
		return v.fault("index of targets: key %q is malformed", kv.Key)
	}
	row, err := v.a.get(ctx, keyName(alias))
	if err != nil {
		return err
	}
	if row != nil {
		if id, n, err := decodeName(alias, row); err == nil && id == 0 {
			for _, t := range n.leads() {
				if c, ok := canonical(mail.Address{Local: t.Local, Domain: t.Domain}); ok && c == target {
					return nil
				}
			}
		}
	}
	return v.fault("index of targets: alias %s does not lead to %s", alias, target)
}
