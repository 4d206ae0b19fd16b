package smtp

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"

	"github.com/samotop/samotop/mail"
)

// Message is what Client.Send takes.
type Message struct {
	mail.Envelope
	Session *mail.Session // whose facts go along as XFACTS on a trusted connection; nil: none
	Trace   []mail.Field  // in front of Body, the last on top
	Body    io.Reader     // content: CRLF lines unless Sender.Body is mail.BodyBinary; read once, streamed
	Size    int64         // octets of Body; 0: unknown (Sender.Size is then announced, if set)
}

// Result tells what became of a message. The peer has taken responsibility for exactly those recipients whose
// Reply is positive.
type Result struct {
	Recipients []RecipientResult // one for each of the envelope's, in order
	Sender     mail.Reply        // answer to MAIL; zero if it was never sent
	Data       mail.Reply        // answer to the end of content, or to DATA or BDAT if that refused; LMTP: the last one
	DSN        bool              // the peer offered DSN and was given NOTIFY, ORCPT, RET and ENVID
	Uncertain  bool              // content was sent to its end and no answer came: it may have been taken
}

// RecipientResult is the final answer for one recipient.
type RecipientResult struct {
	Reply   mail.Reply    // to RCPT if that refused, else to the content; temporary (4.4.2) if the connection broke
	Command string        // what Reply answers: "MAIL", "RCPT", "DATA", or "" if it is our own
	Targets []mail.Target // on a trusted connection: where the peer said it really goes
}

// Client is one connection to a server, ready for transactions. It is not safe for concurrent use.
type Client struct {
	conn net.Conn
}

var errSkeleton = errors.New("smtp: being built")

// Dial connects and goes as far as EHLO, STARTTLS and AUTH. Network is "tcp", "tcp4", "tcp6" or "unix".
func (d *Dialer) Dial(ctx context.Context, network, address string) (*Client, error) {
	return nil, errSkeleton
}

// Client does the same over a connection that exists. Host names the server for TLS, "" if unknown.
func (d *Dialer) Client(ctx context.Context, conn net.Conn, host string) (*Client, error) {
	return nil, errSkeleton
}

// Send sends one message to all its recipients and returns an answer for each. Error is not nil if the connection
// is of no more use; the Result is complete even then. A refusal by the peer is in the Result, not an error.
func (c *Client) Send(ctx context.Context, m *Message) (*Result, error) { return nil, errSkeleton }

// Extensions returns what the server offers now.
func (c *Client) Extensions() Extensions { return nil }

// TLS returns the state of TLS, or nil.
func (c *Client) TLS() *tls.ConnectionState { return nil }

// RemoteAddr returns the server's network address.
func (c *Client) RemoteAddr() net.Addr { return c.conn.RemoteAddr() }

// RemoteName returns the name by which the server greeted us.
func (c *Client) RemoteName() string { return "" }

// Reset sends RSET.
func (c *Client) Reset(ctx context.Context) error { return errSkeleton }

// Noop sends NOOP; it tells whether the connection is alive.
func (c *Client) Noop(ctx context.Context) error { return errSkeleton }

// Quit says QUIT and closes the connection.
func (c *Client) Quit(ctx context.Context) error { return errSkeleton }

// Close closes the connection without a word.
func (c *Client) Close() error { return c.conn.Close() }
