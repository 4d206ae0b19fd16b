package house

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"

	"github.com/samotop/samotop/accounts"
	"github.com/samotop/samotop/accounts/ruleproto"
	"github.com/samotop/samotop/mail"
)

// accountsRoom is what the other rooms ask of the accounts: the room itself, or the one of another process.
type accountsRoom interface {
	Resolve(ctx context.Context, a mail.Address) (accounts.Resolution, error)
	Lookup(ctx context.Context, a mail.Address) (accounts.Owner, error)
	AddressOf(ctx context.Context, id uint64) (mail.Address, error)
	MaySendAs(ctx context.Context, account string, from mail.Address) (bool, error)
	Decide(ctx context.Context, q accounts.Question) (accounts.Decision, error)
	Content(ctx context.Context, q accounts.Content) (accounts.Decision, error)
	Listed(ctx context.Context, q accounts.ListedQuestion) (accounts.Listed, error)
	AnyListed(ctx context.Context, to mail.Address) (bool, error)
	WroteTo(ctx context.Context, account string, to []mail.Address, messageID string) error
	ReversePath(ctx context.Context, sender, via mail.Address) (mail.Address, error)
	contactsRoom
	PostTo(ctx context.Context, list, author mail.Address, check bool) (accounts.Post, error)
}

var (
	_ accountsRoom = (*accounts.Accounts)(nil)
	_ accountsRoom = (*remoteAccounts)(nil)
)

// sendAs is a question of the msa.
type sendAs struct {
	Account string
	From    mail.Address
}

// wroteTo is what the msa tells.
type wroteTo struct {
	Account   string
	To        []mail.Address
	MessageID string
}

// Kinds of errors that cross the rules protocol.
const kindUnknown = "unknown"

// methods is the table of the rules protocol; docs/rules-protocol.md describes it.
func methods(a accountsRoom) map[string]ruleproto.Method {
	return contactMethods(a, map[string]ruleproto.Method{
		"resolve":    ruleproto.Handle(a.Resolve),
		"lookup":     ruleproto.Handle(a.Lookup),
		"address-of": ruleproto.Handle(a.AddressOf),
		"decide":     ruleproto.Handle(a.Decide),
		"content":    ruleproto.Handle(a.Content),
		"listed":     ruleproto.Handle(a.Listed),
		"any-listed": ruleproto.Handle(a.AnyListed),
		"wrote-to": ruleproto.Handle(func(ctx context.Context, q wroteTo) (struct{}, error) {
			return struct{}{}, a.WroteTo(ctx, q.Account, q.To, q.MessageID)
		}),
		"reverse-path": reversePathMethod(a),
		"post-to":      postMethod(a),
		"may-send-as": ruleproto.Handle(func(ctx context.Context, q sendAs) (bool, error) {
			return a.MaySendAs(ctx, q.Account, q.From)
		}),
	})
}

// rulesService answers rooms in other processes.
func (h *House) rulesService() planned {
	srv := &ruleproto.Server{Methods: methods(h.accounts), Changes: h.accounts.Changes, Log: h.log.With("room", "accounts"),
		Kind: func(err error) string {
			if errors.Is(err, accounts.ErrUnknown) {
				return kindUnknown
			}
			return ""
		}}
	p := h.http("rules", h.conf.RunPath(rulesSocket), 0o660, srv)
	serve := p.serve
	p.serve = func(ctx context.Context, l net.Listener) error {
		go func() {
			if err := srv.Run(ctx); err != nil && ctx.Err() == nil {
				h.log.Error("other rooms do not hear of changes, so they keep nothing", "err", err)
			}
		}()
		return serve(ctx, l)
	}
	return p
}

// http serves a handler on a socket.
func (h *House) http(name, path string, mode os.FileMode, handler http.Handler) planned {
	ctx, cancel := context.WithCancel(context.Background())
	srv := &http.Server{Handler: handler, ReadHeaderTimeout: controlHeaderTime, IdleTimeout: controlIdleTime,
		MaxHeaderBytes: controlHeaderOctets, BaseContext: func(net.Listener) context.Context { return ctx }}
	srv.RegisterOnShutdown(cancel) // streams end
	return planned{name: name, network: "unix", address: path, mode: mode,
		serve: func(_ context.Context, l net.Listener) error {
			if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		},
		shutdown: func(ctx context.Context) error {
			if err := srv.Shutdown(ctx); err != nil {
				srv.Close()
				return err
			}
			return nil
		}}
}

// remoteAccounts asks the accounts room of another process. That somebody is not known is never kept: he may be added.
type remoteAccounts struct{ c *ruleproto.Client }

func (r *remoteAccounts) Resolve(ctx context.Context, a mail.Address) (accounts.Resolution, error) {
	return ruleproto.Ask(ctx, r.c, "resolve", a, func(x accounts.Resolution) bool { return len(x.Targets) > 0 })
}

func (r *remoteAccounts) Lookup(ctx context.Context, a mail.Address) (accounts.Owner, error) {
	o, err := ruleproto.Ask(ctx, r.c, "lookup", a, func(accounts.Owner) bool { return true })
	var e *ruleproto.Error
	if errors.As(err, &e) && e.Kind == kindUnknown {
		return o, &accounts.Error{Kind: accounts.ErrUnknown, Text: e.Text}
	}
	return o, err
}

func (r *remoteAccounts) AddressOf(ctx context.Context, id uint64) (mail.Address, error) {
	return ruleproto.Ask[mail.Address](ctx, r.c, "address-of", id, nil)
}

func (r *remoteAccounts) MaySendAs(ctx context.Context, account string, from mail.Address) (bool, error) {
	return ruleproto.Ask(ctx, r.c, "may-send-as", sendAs{account, from}, func(ok bool) bool { return ok })
}

// What depends on contacts is never kept: they change without an event.
func (r *remoteAccounts) Decide(ctx context.Context, q accounts.Question) (accounts.Decision, error) {
	return ruleproto.Ask[accounts.Decision](ctx, r.c, "decide", q, nil)
}

func (r *remoteAccounts) Content(ctx context.Context, q accounts.Content) (accounts.Decision, error) {
	return ruleproto.Ask[accounts.Decision](ctx, r.c, "content", q, nil)
}

func (r *remoteAccounts) Listed(ctx context.Context, q accounts.ListedQuestion) (accounts.Listed, error) {
	if some, err := r.AnyListed(ctx, q.To); err != nil || !some {
		return accounts.Listed{}, err
	}
	return ruleproto.Ask[accounts.Listed](ctx, r.c, "listed", q, nil)
}

func (r *remoteAccounts) AnyListed(ctx context.Context, to mail.Address) (bool, error) {
	return ruleproto.Ask(ctx, r.c, "any-listed", to, func(bool) bool { return true })
}

func (r *remoteAccounts) WroteTo(ctx context.Context, account string, to []mail.Address, messageID string) error {
	_, err := ruleproto.Ask[struct{}](ctx, r.c, "wrote-to", wroteTo{account, to, messageID}, nil)
	return err
}
