// Package smtp speaks ESMTP (RFC 5321) and LMTP (RFC 2033), as a server and as a client, in the words of package
// mail: a Server serves a mail.Door, a Link is a mail.Door whose other end is another server.
//
// A server in a few lines:
//
//	srv := &smtp.Server{Door: door, Hostname: "mx.example.org"}
//	l, err := net.Listen("tcp", ":2525")
//	err = srv.Serve(ctx, l)
//
// One message sent, with an answer for each recipient:
//
//	d := &smtp.Dialer{Hello: "client.example.org"}
//	c, err := d.Dial(ctx, "tcp", "mx.example.org:25")
//	res, err := c.Send(ctx, &smtp.Message{Envelope: envelope, Body: content})
//	err = c.Quit(ctx)
//
// Another server as a Door, over pooled connections:
//
//	link := &smtp.Link{Dialer: smtp.Dialer{LMTP: true, Trusted: true}, Network: "unix", Address: "lmtp.sock"}
//
// # Promises
//
// Content is streamed in both directions and never held whole. A bare CR or LF in DATA is refused and the
// connection closed; it is never normalised, so no octet of one message can become a command or another message.
// What was sent in clear before TLS began is thrown away with all state. An extension is either complete or not
// advertised. Every line, list, count and time is limited by a named field; zero means a safe default. A context
// ends anything. Servers, Dialers and Links are safe for concurrent use; a Client is not.
package smtp
