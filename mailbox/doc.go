// Package mailbox is the room that keeps mail: the owner of the Mails database. It takes mail as a mail.Door (what
// LMTP serves) and shows it as an imap.Backend.
//
//	box, err := mailbox.Open(ctx, mailbox.Config{Engine: engine, Directory: accounts})
//	lmtp := box.Door()       // mail.Door: delivery
//	view := box.Backend()    // imap.Backend: reading
//	defer box.Close()
//
// Promises. A 2xx Reply of the Door and a nil error of the Backend mean that the change would survive the power cut
// that follows. Only what is durable is ever shown, so nothing that a session saw is taken back. Sessions of one
// account see its changes in one order: numbers (UID, modseq, email id) are given under the account's latch, batches
// are submitted in latch order and waited for outside it. One message for many recipients is one body and one batch.
// Nothing on the paths of delivery, selection and status is proportional to the size of the mailbox or the account.
//
// A Mailbox, its Door and its Backend are safe for concurrent use; a transaction, an account session and a selected
// mailbox belong to one session each. The rows of the database are laid out in keys.go and rows.go.
package mailbox
