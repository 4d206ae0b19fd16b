// Package imaptest runs dialogue scripts in the format of Dovecot's imaptest against any IMAP server.
//
//	report, err := imaptest.Run(ctx, imaptest.Config{
//		Dial:   func(ctx context.Context) (net.Conn, error) { return net.Dial("tcp", addr) },
//		User:   "alice@example.test", Password: "secret",
//		Script: "testdata/fetch-envelope",
//	})
//	for _, f := range report.Failures { ... }
//
// A script NAME has its messages in NAME.mbox, or in default.mbox beside it. Run deletes the mailboxes whose names
// begin with Config.Mailbox before and leaves them as the script did. It holds no state: runs with different mailboxes
// or users may go on at the same time.
package imaptest
