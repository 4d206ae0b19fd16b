// Package delivery holds small mail.Doors that end a chain: Null takes and forgets, Maildir and Mbox keep mail as
// mail programs know it, Journal keeps it in append-only files with an index, Sendmail gives it to a program.
//
//	srv := &smtp.Server{Door: &delivery.Maildir{Dir: "/home/me/Maildir"}}
//
// # Promises
//
// Their zero values say what is missing when a chain is built (mail.Checker). Content is streamed to a file, never
// held. A positive reply means that file and directory have been synced (Null excepted; Sendmail vouches for what its
// program says). They are safe for concurrent use.
package delivery
