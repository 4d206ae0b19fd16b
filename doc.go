// Package samotop is a complete mail system: Server embeds the whole house in a Go program.
//
//	_, err := samotop.Setup{Dir: dir, Address: "alice@example.org"}.Create(ctx) // once
//	err = (&samotop.Server{Dir: dir, Log: slog.Default()}).Run(ctx)            // until ctx ends
//
// What it is made of can be used alone: packages mail, smtp, imap, message, sasl and resolver are libraries, and
// every room is a package that answers by the interfaces of package mail. ARCHITECTURE.md says which is which.
package samotop
