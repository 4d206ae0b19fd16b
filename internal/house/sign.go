package house

import (
	"context"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mailauth"
	"github.com/samotop/samotop/qm"
)

// signer signs what leaves the house.
func (h *House) signer() *mailauth.Signer {
	return &mailauth.Signer{Keys: h.keys.Signers, Host: h.conf.Hostname, DKIM: h.conf.MSA.DKIM, Seal: h.conf.MSA.DKIM,
		Log: h.log.With("part", "signer")}
}

// signedQueue is the way into the queue: what changes the content stands in front of the signature, nothing behind it.
func (h *House) signedQueue() mail.Door {
	return h.signer().Middleware()(h.queue.Door())
}

// signReport lets the queue sign its reports.
func (h *House) signReport() func(context.Context) qm.Signing {
	s := h.signer()
	return func(context.Context) qm.Signing { return s.Message() }
}
