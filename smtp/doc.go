// Package smtp speaks ESMTP (RFC 5321) and LMTP (RFC 2033), as a server and as a client, in the words of package
// mail: a Server serves a mail.Door, a Link is a mail.Door whose other end is another server.
//
// # A server
//
// The zero value of every field is a safe default; what is not asked for (AUTH, STARTTLS, trust) is off:
//
//	srv := &smtp.Server{Door: door, Hostname: "mx.example.org"}
//	l, err := net.Listen("tcp", ":2525")
//	err = srv.Serve(ctx, l)
//
// A Door is what decides about mail and keeps it. Package delivery has some: a maildir, an mbox, a journal, a program.
// One of your own has four methods where it matters, Recipient, Write, Commit and Abort; see package mail. Shutdown
// drains: who waits is told to come back, who sends is heard out.
//
// # Middleware
//
// A chain is written in the order in which it is asked, and refuses to be built if nothing could ever pass:
//
//	door, err := mail.Chain(&delivery.Maildir{Dir: dir},
//		middleware.Prudence{Delay: 2 * time.Second}.Wrap,
//		middleware.Size{MaxOctets: 10 << 20}.Wrap,
//	)
//
// # A link
//
// Another server is a Door, too, over pooled connections: TCP, a Unix socket, TLS, a child process. With LMTP each
// recipient gets an answer of his own; with Trusted the session's facts, folders, delivery ids and trace fields go along:
//
//	link := &smtp.Link{Dialer: smtp.Dialer{LMTP: true, Trusted: true}, Network: "unix", Address: "lmtp.sock"}
//	relay := &smtp.Server{Door: link}
//
// # A client
//
// One connection, one message at a time, an answer for each recipient:
//
//	d := &smtp.Dialer{Hello: "client.example.org"}
//	c, err := d.Dial(ctx, "tcp", "mx.example.org:25")
//	res, err := c.Send(ctx, &smtp.Message{Envelope: envelope, Body: content})
//	err = c.Quit(ctx)
//
// To log in, give the Dialer an Auth, such as &sasl.ClientAuth{Config: sasl.ClientConfig{User: user, Password: password}}.
//
// MAIL, RCPT and DATA go in one round trip, content by BDAT where that is offered. What the server cannot take (8-bit
// or binary content, addresses beyond ASCII, REQUIRETLS) is refused with the code that says so, never mangled; with
// Message.Recode content that nobody has signed is re-encoded for it (message.Recoding).
//
// # The parts
//
// ParseCommand, AppendReply, DotReader and DotWriter are the wire alone. Package smtptest plays dialogues, serves doors
// by LMTP in memory and breaks connections.
//
// # Between trusted peers
//
// A server that trusts a peer (Server.Trusted) understands XCLIENT and XFORWARD as Postfix has them, and further:
//
//	MAIL FROM:<...> XFACTS=name:value;...   what is known about the session (see facts.go for the names)
//	MAIL FROM:<...> XTRACE=octets           the content begins with so many octets of trace fields
//	XTRACE octets                           the same as a command that its octets follow, until the content ends
//	RCPT TO:<...> XDELIVERY=id XFOLDER=name XFAILED=reply
//	250 2.1.0 OK [XAMEND] [XPREPARE]        the answer to MAIL: what the transaction can (mail.Amender, mail.Preparer)
//	XAMEND n [XFOLDER=name] [XDROP]         the last word on the n-th accepted recipient, until the content ends
//	XFOUND name:value;...                   facts that became known with the content, until it ends (see latefacts.go)
//	MAIL FROM:<...> XSETTLED                say in the answers to RCPT whether the last word was said (see settled.go)
//	XPREPARE                                do all but the final step; BDAT 0 LAST commits (see lastword.go)
//	251 2.1.5 <path>[;folder=NAME]...       the answer where a recipient goes elsewhere (mail.FormatTargets)
//
// # Promises
//
// Content is streamed in both directions and never held whole. A bare CR or LF in DATA is refused and the
// connection closed; it is never normalised, so no octet of one message can become a command or another message.
// What was sent in clear before TLS began is thrown away with all state. An extension is either complete or not
// advertised. Every line, list, count and time is limited by a named field; zero means a safe default. A context
// ends anything. Servers, Dialers and Links are safe for concurrent use; a Client is not.
package smtp
