package management

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"iter"
)

// on makes a verb of a function with typed arguments. Unknown arguments are refused.
func on[A any](fn func(ctx context.Context, a A, out *sender) (any, error)) verb {
	return func(ctx context.Context, raw json.RawMessage, out *sender) (any, error) {
		var a A
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&a); err != nil {
			return nil, &Error{WrongUse, "arguments", err.Error(), "client and server should be of the same version"}
		}
		return fn(ctx, a, out)
	}
}

// table lists the verbs that the rooms allow.
func (h *Handler) table() map[string]verb {
	t := map[string]verb{}
	h.contactVerbs(t)
	h.destinationVerbs(t)
	h.ruleVerbs(t)
	h.banVerbs(t)
	h.senderVerbs(t)
	h.junkVerbs(t)
	h.reputationVerbs(t)
	h.keyVerbs(t)
	h.copyVerbs(t)
	h.mailVerbs(t)
	h.journalVerbs(t)
	h.reportVerbs(t)
	h.mailboxVerbs(t)
	if d := h.cfg.Domains; d != nil {
		t["domain/add"] = on(func(ctx context.Context, a NameArgs, _ *sender) (any, error) { return d.AddDomain(ctx, a.Name) })
		t["domain/show"] = on(h.domainShow)
		t["domain/list"] = on(func(ctx context.Context, _ struct{}, out *sender) (any, error) { return list(d.Domains(ctx), out) })
		t["domain/remove"] = on(func(ctx context.Context, a NameArgs, _ *sender) (any, error) { return nil, d.RemoveDomain(ctx, a.Name) })
	}
	if p := h.cfg.People; p != nil {
		t["account/add"] = on(h.accountAdd)
		t["account/password"] = on(h.accountPassword)
		t["account/show"] = on(func(ctx context.Context, a NameArgs, _ *sender) (any, error) { return p.Account(ctx, a.Name) })
		t["account/list"] = on(func(ctx context.Context, a NameArgs, out *sender) (any, error) {
			return list(p.Accounts(ctx, a.Name), out)
		})
		t["account/set"] = on(func(ctx context.Context, a SetArgs, _ *sender) (any, error) { return p.SetAccount(ctx, a) })
		t["account/remove"] = on(func(ctx context.Context, a NameArgs, _ *sender) (any, error) { return p.RemoveAccount(ctx, a.Name) })
	}
	if x := h.cfg.Aliases; x != nil {
		t["alias/add"] = on(func(ctx context.Context, a AliasArgs, _ *sender) (any, error) {
			return x.AddAlias(ctx, a.Address, a.Targets)
		})
		t["alias/remove"] = on(func(ctx context.Context, a AliasArgs, _ *sender) (any, error) {
			return nil, x.RemoveAlias(ctx, a.Address, a.Targets)
		})
		t["alias/list"] = on(func(ctx context.Context, a NameArgs, out *sender) (any, error) {
			return list(x.Aliases(ctx, a.Name), out)
		})
	}
	if q := h.cfg.Queue; q != nil {
		t["queue/list"] = on(func(ctx context.Context, f Filter, out *sender) (any, error) { return list(q.Entries(ctx, f), out) })
		t["queue/show"] = on(func(ctx context.Context, a NameArgs, _ *sender) (any, error) { return q.Entry(ctx, a.Name) })
		t["queue/stats"] = on(func(ctx context.Context, f Filter, _ *sender) (any, error) { return q.QueueStats(ctx, f) })
		for name, act := range map[string]Action{"retry": Retry, "hold": Hold, "release": Release, "remove": Remove} {
			t["queue/"+name] = on(func(ctx context.Context, a ActArgs, out *sender) (any, error) { return h.act(ctx, act, a, out) })
		}
	}
	if x := h.cfg.House; x != nil {
		t["house/status"] = on(func(ctx context.Context, _ struct{}, _ *sender) (any, error) { return x.Status(ctx) })
		t["store/status"] = on(func(ctx context.Context, _ struct{}, out *sender) (any, error) {
			stores, err := x.Stores(ctx)
			return sendAll(stores, err, out)
		})
		t["store/verify"] = on(h.verify)
		t["dns/check"] = on(func(ctx context.Context, a CheckArgs, out *sender) (any, error) {
			records, err := x.CheckRecords(ctx, a)
			return sendAll(records, err, out)
		})
		t["dns/show"] = on(func(ctx context.Context, a NameArgs, out *sender) (any, error) {
			records, err := x.Records(ctx, a.Name)
			return sendAll(records, err, out)
		})
	}
	return t
}

// list sends each element as an item.
func list[T any](seq iter.Seq2[T, error], out *sender) (any, error) {
	for v, err := range seq {
		if err != nil {
			return nil, err
		}
		if err := out.item(v); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func sendAll[T any](vs []T, err error, out *sender) (any, error) {
	if err != nil {
		return nil, err
	}
	for _, v := range vs {
		if err := out.item(v); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func (h *Handler) domainShow(ctx context.Context, a NameArgs, _ *sender) (any, error) {
	d, err := h.cfg.Domains.Domain(ctx, a.Name)
	if err != nil {
		return nil, err
	}
	if h.cfg.People != nil {
		if d.Accounts, err = count(h.cfg.People.Accounts(ctx, d.Name)); err != nil {
			return nil, err
		}
	}
	if h.cfg.Aliases != nil {
		if d.Aliases, err = count(h.cfg.Aliases.Aliases(ctx, d.Name)); err != nil {
			return nil, err
		}
	}
	if h.cfg.Lists != nil {
		if d.Lists, err = count(h.cfg.Lists.Lists(ctx, d.Name)); err != nil {
			return nil, err
		}
	}
	return d, nil
}

func count[T any](seq iter.Seq2[T, error]) (n int, err error) {
	for _, err := range seq {
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// accountAdd makes a password where none is given, and tells it this once.
func (h *Handler) accountAdd(ctx context.Context, a AccountArgs, _ *sender) (any, error) {
	made := ""
	if a.Password == "" && h.cfg.MakePassword != nil {
		var err error
		if made, err = h.cfg.MakePassword(); err != nil {
			return nil, err
		}
		a.Password = made
	}
	acc, err := h.cfg.People.AddAccount(ctx, a)
	if err != nil {
		return nil, err
	}
	h.cfg.Log.Info("account added", "account", acc.Address, "admin", acc.Admin)
	return NewPassword{Account: acc, Password: made}, nil
}

func (h *Handler) accountPassword(ctx context.Context, a SetArgs, _ *sender) (any, error) {
	made := ""
	if a.Password == nil || *a.Password == "" {
		if h.cfg.MakePassword == nil {
			return nil, &Error{WrongUse, "account " + a.Address, "no password was given", ""}
		}
		var err error
		if made, err = h.cfg.MakePassword(); err != nil {
			return nil, err
		}
		a.Password = &made
	}
	acc, err := h.cfg.People.SetAccount(ctx, SetArgs{Address: a.Address, Password: a.Password})
	if err != nil {
		return nil, err
	}
	h.cfg.Log.Info("password changed", "account", acc.Address)
	return NewPassword{Account: acc, Password: made}, nil
}

// act does the same to every message that was chosen. One that has left the queue meanwhile is counted, not an error,
// unless it was named.
func (h *Handler) act(ctx context.Context, act Action, a ActArgs, out *sender) (any, error) {
	if a.Filter.Empty() {
		return nil, &Error{WrongUse, "queue " + string(act), "no message was named", "name ids, a filter, or --all"}
	}
	if act == Remove && a.Bounce {
		act = Bounce
	}
	var done Acted
	one := func(id string, named bool) error {
		err := h.cfg.Queue.Do(ctx, act, id)
		var e *Error
		if !named && errors.As(err, &e) && e.Kind == NotFound {
			done.Gone++
			return nil
		}
		if err != nil {
			return err
		}
		done.Changed++
		return out.item(id)
	}
	if len(a.IDs) > 0 {
		for _, id := range a.IDs {
			if err := one(id, true); err != nil {
				return nil, err
			}
		}
		return done, nil
	}
	for e, err := range h.cfg.Queue.Entries(ctx, a.Filter) {
		if err != nil {
			return nil, err
		}
		if err := one(e.ID, false); err != nil {
			return nil, err
		}
	}
	h.cfg.Log.Info("queue changed", "action", act, "messages", done.Changed)
	return done, nil
}

func (h *Handler) verify(ctx context.Context, _ struct{}, out *sender) (any, error) {
	var done Verified
	err := h.cfg.House.Verify(ctx, func(f Fault) error {
		done.Faults++
		return out.item(f)
	}, func(store string, n, total int64) error {
		return out.send(line{Progress: &Progress{store, n, total}})
	})
	if err != nil {
		return nil, err
	}
	return done, nil
}
