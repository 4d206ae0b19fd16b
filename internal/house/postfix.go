package house

import (
	"context"
	"errors"
	"net"
	"strings"

	"github.com/samotop/samotop/accounts"
	"github.com/samotop/samotop/guard/postfix"
	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mailauth"
)

// Sockets of what Postfix asks.
const (
	policySocket    = "policy.sock"
	socketmapSocket = "socketmap.sock"
)

// postfix lets Postfix in front of us ask the guard and the accounts.
func (h *House) postfix() ([]planned, error) {
	log := h.log.With("room", "guard")
	door, err := h.knowingSPF(h.guardDoor)
	if err != nil {
		return nil, err
	}
	policy := &postfix.Policy{Door: door, Ours: h.oursDomain, Log: log.With("part", "policy")}
	maps := &postfix.Maps{Lookup: h.postfixMap, Log: log.With("part", "socketmap")}
	var out []planned
	for _, x := range []struct {
		name, socket, tcp string
		serve             func(context.Context, net.Listener) error
	}{{"policy", policySocket, h.conf.Guard.PolicyListen, policy.Serve}, {"socketmap", socketmapSocket, h.conf.Guard.SocketmapListen, maps.Serve}} {
		p := planned{name: x.name, network: "unix", address: h.conf.RunPath(x.socket), mode: 0o660, serve: x.serve,
			shutdown: func(context.Context) error { return nil }} // it ends with the context of Serve
		out = append(out, p)
		if x.tcp != "" {
			p.network, p.address, p.mode = "tcp", x.tcp, 0
			out = append(out, p)
		}
	}
	return out, nil
}

// knowingSPF tells the guard what SPF and the reverse name say of a client whose mail another server takes. Nothing is refused
// over it: that server may have checks of its own.
func (h *House) knowingSPF(next mail.Door) (mail.Door, error) {
	if h.conf.MTA.Checks.Off {
		return next, nil
	}
	dns, err := h.resolver()
	if err != nil {
		return nil, err
	}
	c := &mailauth.Checker{Resolver: dns, ID: h.conf.Hostname, Rules: []mailauth.Rule{}}
	return c.Middleware()(next), nil
}

// oursDomain tells whether an address is in a domain of ours.
func (h *House) oursDomain(ctx context.Context, to mail.Address) (bool, error) {
	r, err := h.rules.Resolve(ctx, to)
	var reply *mail.Reply
	if errors.As(err, &reply) { // a verdict: the guard says it again
		return true, nil
	}
	return r.OurDomain, err
}

// postfixMap answers virtual_mailbox_domains, virtual_mailbox_maps and virtual_alias_maps. What is no address (Postfix asks for
// "@domain" and bare names too) is in no map.
func (h *House) postfixMap(ctx context.Context, name, key string) (string, bool, error) {
	if name == "virtual_mailbox_domains" {
		key = "postmaster@" + key
	}
	a, err := mail.ParseAddress(key)
	if err != nil || a.Domain == "" || a.Local == "" {
		return "", false, nil
	}
	switch name {
	case "virtual_mailbox_domains":
		ours, err := h.oursDomain(ctx, a)
		return a.Domain, ours, err
	case "virtual_mailbox_maps":
		o, err := h.rules.Lookup(ctx, a)
		if errors.Is(err, accounts.ErrUnknown) {
			return "", false, nil
		}
		return o.Address.String(), err == nil, err
	case "virtual_alias_maps":
		return h.postfixAlias(ctx, a)
	}
	return "", false, nil
}

// postfixAlias lists where the mail to an address goes, if not to itself. Postfix looks up each of these again.
func (h *House) postfixAlias(ctx context.Context, a mail.Address) (string, bool, error) {
	r, err := h.rules.Resolve(ctx, a)
	var reply *mail.Reply
	if errors.As(err, &reply) {
		return "", false, nil // our LMTP or the policy gives the answer
	}
	if err != nil || !r.OurDomain {
		return "", false, err
	}
	var out []string
	for _, t := range r.Targets {
		out = append(out, t.Address.String())
	}
	if len(out) == 0 || len(out) == 1 && strings.EqualFold(out[0], a.String()) {
		return "", false, nil
	}
	return strings.Join(out, ", "), true, nil
}
