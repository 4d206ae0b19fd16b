// Package pop3 serves maildrops by POP3: RFC 1939 with CAPA and the response codes of RFC 2449 and 3206, STLS (RFC
// 2595), AUTH (RFC 5034), UTF8 and LANG (RFC 6856), PIPELINING, TOP and UIDL.
//
//	srv := &pop3.Server{Backend: backend, Auth: auth, TLSConfig: conf}
//	err := srv.Serve(ctx, listener) // until ctx ends or Shutdown
//
// What a session may do is decided by a step function without I/O (state.go); conn.go does what it says.
//
// Promises. A message is deleted only by a QUIT, and +OK to it means that the deletions are on the disk; a session that
// ends in any other way deletes nothing. Messages are streamed: no session holds more of one than a few ten KiB. APOP is
// not offered: it needs the password in the clear on our side. A bare LF in a stored message is sent as CRLF, so that
// no reader sees the end of a message where there is none; the size that LIST tells is that of what is stored. A Server
// is safe for concurrent use.
package pop3
