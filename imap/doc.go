// Package imap is an IMAP server (RFC 3501, RFC 9051 and extensions) over a small contract, Backend.
//
//	srv := &imap.Server{
//		Backend:   backend,            // opens the mail of whoever has logged in
//		Auth:      authenticator,      // SASL; LOGIN goes through it too
//		TLSConfig: tlsConfig,
//	}
//	go srv.Serve(ctx, listener)
//	...
//	srv.Shutdown(ctx)                      // says BYE to everybody, then waits
//
// Package imapmem is a Backend in memory, imaptest runs dialogue scripts against any server.
//
// Promises. A Server is safe for concurrent use; its fields must not change once it serves. One goroutine serves a
// connection, with a second, small one during IDLE; an idle connection holds no buffers. Sequence numbers are the
// server's own affair: a backend speaks of UIDs only, and an EXPUNGE is told exactly when RFC 9051 section 7.5.1
// allows it. What comes from outside is bounded by Limits: a command over them is answered BAD or NO with a reason,
// and the connection stays usable unless the standard says otherwise. OK to a command that changes something is sent
// when the backend has made it durable.
package imap
