package house

import (
	"crypto/tls"

	"github.com/samotop/samotop/internal/config"
	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/pop3"
)

// pop3 shows people their INBOX the old way.
func (h *House) pop3(conf *tls.Config, auth mail.Authenticator) ([]planned, error) {
	make := func(implicit bool) *pop3.Server {
		return &pop3.Server{Backend: h.mailbox.POP3(), Auth: auth, TLSConfig: conf, ImplicitTLS: implicit,
			Hostname: h.conf.Hostname, Service: "mailbox", Log: h.log.With("room", "pop3")}
	}
	plain, implicit := make(false), make(true)
	var ls []config.Listen
	for _, l := range h.conf.Mailbox.Listen {
		if l.Scheme == "pop3" || l.Scheme == "pop3s" {
			ls = append(ls, l)
		}
	}
	return each(ls, h.conf.Mailbox.Proxy, func(l config.Listen) (string, server) {
		return l.Scheme, map[bool]server{false: plain, true: implicit}[l.TLS()]
	}), nil
}
