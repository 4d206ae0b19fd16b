package smtp

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/samotop/samotop/mail"
)

// TLSPolicy says when a Dialer uses STARTTLS (RFC 3207).
type TLSPolicy uint8

const (
	// TLSOffered uses STARTTLS where it is offered, on TCP; a handshake that fails is an error (the caller may
	// dial again with TLSNever). On Unix sockets and pipes it is not used.
	TLSOffered  TLSPolicy = iota
	TLSRequired           // STARTTLS or no session at all
	TLSNever              // stays in clear
)

// Dialer makes Clients. Zero values are usable; it is safe for concurrent use and must not be changed after its
// first use. The timeouts are those of RFC 5321 section 4.5.3.2.
type Dialer struct {
	Hello       string      // our name in EHLO; "" is the name of this host
	LMTP        bool        // speak LMTP (RFC 2033)
	TLS         TLSPolicy   // STARTTLS
	ImplicitTLS bool        // TLS from the first octet (RFC 8314)
	TLSConfig   *tls.Config // nil: verify against the system's roots. ServerName "" is the host that was dialed
	Auth        ClientAuth  // nil: do not authenticate
	Trusted     bool        // a peer of ours: XFACTS, XDELIVERY, XFOLDER, XTRACE are sent where offered, 251 is read as Targets
	NoChunking  bool        // send by DATA even where BDAT is offered

	// NetDial makes the connection; nil is a net.Dialer.
	NetDial func(ctx context.Context, network, address string) (net.Conn, error)

	ConnectTimeout time.Duration // 0: 1 minute
	BannerTimeout  time.Duration // initial 220; 0: 5 minutes
	HelloTimeout   time.Duration // EHLO, AUTH and STARTTLS with its handshake; 0: 5 minutes
	MailTimeout    time.Duration // 0: 5 minutes
	RcptTimeout    time.Duration // each; 0: 5 minutes
	DataTimeout    time.Duration // the 354; 0: 2 minutes
	BlockTimeout   time.Duration // each block of content written; 0: 3 minutes
	EndTimeout     time.Duration // reply to the end of content; 0: 10 minutes
	QuitTimeout    time.Duration // QUIT, RSET, NOOP; 0: 1 minute

	MaxReplyLines  int // of one reply; 0: 512
	MaxReplyOctets int // of one line; 0: 4096

	Log *slog.Logger // nil: none
}

// ClientAuth is how a client proves who it is (RFC 4954); sasl.ClientAuth is one.
type ClientAuth = mail.ClientAuth

// ClientExchange is one authentication of one connection.
type ClientExchange = mail.ClientExchange

// ErrTLSUnavailable: STARTTLS was required and not offered, or refused.
var ErrTLSUnavailable = errors.New("smtp: STARTTLS is required and not available")

// ErrTLSFailed: the TLS handshake failed; the connection is closed. Errors that are ErrTLSFailed wrap its cause, too.
var ErrTLSFailed = errors.New("smtp: TLS handshake failed")

// ErrClosed: the Client, Link or Server has been closed.
var ErrClosed = errors.New("smtp: closed")

// ReplyError is a reply that ended what was being done, with the command it answered. It unwraps to *mail.Reply,
// so mail.AsReply gives the peer's own words.
type ReplyError struct {
	Command string // verb, or "banner"
	Reply   *mail.Reply
}

func (e *ReplyError) Error() string { return "smtp: " + e.Command + ": " + e.Reply.Error() }
func (e *ReplyError) Unwrap() error { return e.Reply }
