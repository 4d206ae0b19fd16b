package house

import (
	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/smtp/middleware"
)

// readable gives binary content, in front of the Mailbox, a form that every mail program reads: in IMAP it has none but by
// BINARY (RFC 9051 section 7.5.2).
func (h *House) readable(mailbox mail.Door) mail.Door {
	return middleware.Recode{BinaryOnly: true, SpoolDir: h.conf.RunPath("")}.Wrap(mailbox)
}

// outgoing is the queue for what our own people send, with the signer in front of it. Binary content and lines over 998
// octets are re-encoded before: most hosts take neither, and a signature would not survive it later.
func (h *House) outgoing() (mail.Door, error) {
	return mail.Chain(h.queueDoor, middleware.Recode{SpoolDir: h.conf.RunPath("")}.Wrap)
}
