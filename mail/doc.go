// Package mail holds the words that every other package speaks: addresses, replies, sessions, envelopes,
// and the one contract of the house, the Door. It does no I/O and needs only the standard library.
//
// A Door is asked when a peer connects, says EHLO, has negotiated TLS and has authenticated. It opens to a
// Receiver, which takes messages one Transaction at a time:
//
//	r, err := door.Open(ctx, session)            // who are you
//	tx, err := r.Begin(ctx, session, sender)     // MAIL FROM
//	err = tx.Recipient(ctx, &mail.Recipient{...}) // RCPT TO, once for each
//	tx.Trace(mail.Field{Name: "Received", Value: "..."})
//	io.Copy(tx, content)                         // DATA or BDAT
//	replies, err := tx.Commit(ctx)               // one Reply for each accepted recipient; 2xx = on disk
//
// A mailbox, a queue, a filter, an SMTP client, a directory of files are all Receivers, and LMTP (RFC 2033) is
// the wire form of the contract. Middleware wraps one Door in another; Chain composes them and refuses a
// composition that could never accept a message.
//
// Promises. A Session belongs to one connection and is not safe for concurrent use. A Transaction is used by one
// goroutine at a time. A 2xx Reply from Commit means that the message would survive the power cut that follows.
// Errors that are not a *Reply are temporary local problems to the peer (451 4.3.0) and a cause to the log.
package mail
