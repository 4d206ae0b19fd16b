// Package middleware holds what stands between an SMTP server and the mail.Door that keeps the mail: each is a
// mail.Middleware, and mail.Chain puts them in front of each other in the order in which they are written.
//
//	door, err := mail.Chain(&delivery.Maildir{Dir: dir},
//		middleware.Log{Log: slog.Default()}.Wrap,
//		middleware.Prudence{Delay: 2 * time.Second}.Wrap,
//		middleware.Size{MaxOctets: 10 << 20}.Wrap,
//	)
//
// NewMapper and NewFanOut are built from rules and targets that can be wrong, and say so when they are built.
//
// # Promises
//
// What the Door behind can do (prepare, amend, be closed) can be done through each middleware. None holds content
// but Recode, which says how much. All are safe for concurrent use.
package middleware
