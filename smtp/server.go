package smtp

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/samotop/samotop/accept"
	"github.com/samotop/samotop/mail"
)

// Server serves a mail.Door by ESMTP or LMTP. Its zero value is usable, but refuses everybody for want of a Door.
// Fields must not be changed once it serves.
type Server struct {
	Door        mail.Door          // nil: mail.Unassigned
	Auth        mail.Authenticator // nil: no AUTH
	TLSConfig   *tls.Config        // nil: no STARTTLS
	ImplicitTLS bool               // TLS from the first octet (RFC 8314); needs TLSConfig
	Hostname    string             // "": the name of this host
	LMTP        bool               // speak LMTP (RFC 2033)
	Service     string             // Session.Service
	Extensions  Extension          // what is offered; 0: DefaultExtensions
	RequireTLS  bool               // nothing but EHLO, STARTTLS, NOOP and QUIT before TLS: 530 5.7.0 (RFC 3207)
	RequireAuth bool               // no MAIL before AUTH: 530 5.7.0 (RFC 4954)

	// Trusted says who may use XCLIENT, XFORWARD, XFACTS, XDELIVERY, XFOLDER and XTRACE; nil: nobody.
	Trusted func(net.Addr) bool

	Keywords     []string                           // further lines of the EHLO reply, each "KEYWORD [params]"
	MailParams   []string                           // further parameters of MAIL, which go into Sender.Params
	RcptParams   []string                           // further parameters of RCPT, which go into Recipient.Params
	Commands     map[string]CommandFunc             // further commands, by verb in upper case
	Verify       CommandFunc                        // VRFY; nil: 252
	Expand       CommandFunc                        // EXPN; nil: 502
	NoSoliciting []string                           // keywords whose mail is refused (RFC 3865)
	NewID        func() string                      // makes Session.ID; nil: 128 random bits
	Log          *slog.Logger                       // nil: none
	Ended        func(s *mail.Session, stats Stats) // told of each session's end; nil: not

	MaxMessageOctets         int64         // 0: 50 MiB; announced by SIZE
	MaxRecipients            int           // of one message; 0: 1000; 452 4.5.3 beyond
	MaxTransactions          int           // of one session; 0: 1000; announced as MAILMAX
	MaxCommands              int           // between two messages that were taken, without MAIL, RCPT, DATA and BDAT; 0: 1000; trusted peers are free
	MaxErrors                int           // refused or unknown commands of one session before 421, without RCPT; 0: 20; trusted peers are free
	MaxAuthFailures          int           // of one session before 421; 0: 3
	MaxConnections           int           // 0: 2000
	MaxConnectionsPerAddress int           // an IPv6 /64 counts as one address; 0: 50; trusted peers and Unix sockets are not counted
	MaxTraceOctets           int           // of XTRACE; 0: 256 KiB
	MaxHold                  time.Duration // FUTURERELEASE; 0: 14 days
	MinDeliverBy             time.Duration // DELIVERBY; 0: none
	CommandTimeout           time.Duration // until a whole command is there, however slowly it drips in; 0: 5 minutes
	DataTimeout              time.Duration // each block of content; 0: 3 minutes
	WriteTimeout             time.Duration // each reply; 0: 1 minute
	HandshakeTimeout         time.Duration // TLS; 0: 30 seconds
	ContentTimeout           time.Duration // whole content of one message; 0: 1 hour
	SessionTimeout           time.Duration // no new command after it; 0: 1 hour

	once     sync.Once
	set      settings
	gate     accept.Gate[*session]
	accepted atomic.Int64 // connections, also those that are no session yet
}

// CommandFunc answers a command that the package does not know by itself.
type CommandFunc func(ctx context.Context, s *mail.Session, arg string) mail.Reply

// Stats counts what happened in a session.
type Stats struct {
	Messages, Recipients, Errors, Commands int
	Octets                                 int64 // content octets taken
	Duration                               time.Duration
	Err                                    error // why it ended, if not by QUIT
}

// settings are the fields of a Server with their defaults filled in.
type settings struct {
	hostname    string
	ext         Extension
	door        mail.Door
	maxMessage  int64
	maxRcpts    int
	maxMails    int
	maxCommands int
	maxErrors   int
	maxAuthFail int
	maxConns    int
	maxPerAddr  int
	maxTrace    int
	maxHold     time.Duration
	command     time.Duration
	data        time.Duration
	write       time.Duration
	handshake   time.Duration
	content     time.Duration
	whole       time.Duration
}

func or[T comparable](v, instead T) T {
	var zero T
	if v == zero {
		return instead
	}
	return v
}

func (s *Server) settle() {
	s.once.Do(func() {
		host := s.Hostname
		if host == "" {
			host = hostname()
		}
		ext := or(s.Extensions, DefaultExtensions)
		if ext&ExtChunking == 0 {
			ext &^= ExtBinaryMIME
		}
		if ext&Ext8BitMIME == 0 {
			ext &^= ExtSMTPUTF8 | ExtBinaryMIME
		}
		s.set = settings{
			hostname: host, ext: ext, door: s.Door,
			maxMessage: or(s.MaxMessageOctets, 50<<20), maxRcpts: or(s.MaxRecipients, 1000),
			maxMails: or(s.MaxTransactions, 1000), maxCommands: or(s.MaxCommands, 1000),
			maxErrors: or(s.MaxErrors, 20), maxAuthFail: or(s.MaxAuthFailures, 3),
			maxConns: or(s.MaxConnections, 2000), maxPerAddr: or(s.MaxConnectionsPerAddress, 50),
			maxTrace: or(s.MaxTraceOctets, 256<<10), maxHold: or(s.MaxHold, 14*24*time.Hour),
			command: or(s.CommandTimeout, 5*time.Minute), data: or(s.DataTimeout, 3*time.Minute),
			write: or(s.WriteTimeout, time.Minute), handshake: or(s.HandshakeTimeout, 30*time.Second),
			content: or(s.ContentTimeout, time.Hour), whole: or(s.SessionTimeout, time.Hour),
		}
		if s.set.door == nil {
			s.set.door = mail.Unassigned
		}
	})
}

func hostname() string {
	if h, err := os.Hostname(); err == nil && mail.IsDomain(h) {
		return h
	}
	return "localhost"
}
