// Package authproto lets other software ask who may log in: it serves the Dovecot auth protocol, client side of it, in
// version 1.2, so that Postfix, Exim or another samotop use our accounts.
//
//	srv := &authproto.Server{Auth: auth}
//	l, err := net.Listen("unix", "auth.sock")
//	err = srv.Serve(ctx, l)
//
// In Postfix: smtpd_sasl_type = dovecot, smtpd_sasl_path = unix:/path/auth.sock.
//
// Promises. Whoever can connect is believed about its clients: their address, and whether TLS protects them, so
// the socket is for trusted programs of this machine. It can only try passwords, at the pace the limiter allows. Several
// requests of one connection run side by side. Lines, requests and connections are limited. In this version of the
// protocol a channel cannot be bound; between our own rooms it can: the flag "channel-binding" of a SCRAM mechanism says
// so, and parameters cbind-TYPE=BASE64 of AUTH bring the data of each type that the session has. Likewise EXTERNAL, which is
// private so that others do not offer it, with the flag "client-certificate": AUTH has cert=BASE64 then, the certificate
// that the session's client has shown, verified by who asks. Others ignore all of it.
package authproto

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/samotop/samotop/mail"
)

// Server serves the protocol. Zero values of all but Auth are usable; it must not be changed after its first use.
type Server struct {
	Auth           mail.Authenticator
	Bound          bool          // Auth binds channels by Channel: our own clients may offer -PLUS
	Certificates   bool          // Auth knows client certificates: our own clients may offer EXTERNAL, and say which was shown
	MaxConnections int           // 0: 256
	MaxRequests    int           // of one connection at once; 0: 256
	MaxLineOctets  int           // 0: 16384
	RequestTimeout time.Duration // an exchange without progress is given up; 0: 150 s
	WriteTimeout   time.Duration // 0: 30 s
	Rand           io.Reader     // of cookies; nil: crypto/rand
	Log            *slog.Logger  // nil: none

	connections atomic.Uint64 // ever
}

// Serve accepts connections until ctx ends; then it closes them and returns nil.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	if s.Auth == nil {
		return errors.New("authproto: Server.Auth is not set")
	}
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	slots := make(chan struct{}, orDefault(s.MaxConnections, 256))
	for {
		c, err := l.Accept()
		if ctx.Err() != nil {
			if err == nil {
				c.Close()
			}
			return nil
		}
		if err != nil {
			var ne net.Error
			if !errors.As(err, &ne) || !ne.Timeout() {
				return fmt.Errorf("authproto: accept: %w", err)
			}
			continue
		}
		select {
		case slots <- struct{}{}:
			all.Go(func() {
				defer func() { <-slots }()
				s.serve(ctx, c)
			})
		default:
			s.log().Warn("too many connections", "remote", c.RemoteAddr())
			c.Close()
		}
	}
}

func (s *Server) log() *slog.Logger {
	if s.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Log
}

func orDefault[T int | time.Duration](v, zero T) T {
	if v <= 0 {
		return zero
	}
	return v
}

// serve speaks on one connection until its end.
func (s *Server) serve(ctx context.Context, nc net.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	c := &conn{s: s, nc: nc, requests: map[string]*request{}, stop: cancel}
	defer c.running.Wait()
	defer nc.Close()
	defer cancel()
	defer context.AfterFunc(ctx, func() { nc.Close() })()
	err := c.greet()
	if err == nil {
		err = c.read(ctx)
	}
	if err != nil && ctx.Err() == nil {
		s.log().Warn("connection ended", "err", err)
	}
}

// flagBound says of a mechanism that its -PLUS variant is there too, for clients that send cbind-TYPE.
const flagBound = "channel-binding"

// external is the mechanism of client certificates.
const external = "EXTERNAL"

// flagCertificate says of EXTERNAL that it takes the client's certificate with AUTH.
const flagCertificate = "client-certificate"

// certificate is the name of the parameter, one of our own, that carries it.
const certificate = "cert"

// maxCertificateOctets is the largest certificate that travels.
const maxCertificateOctets = 8 << 10

// Channel returns the channel binding that a Client sent with AUTH, for the sasl.Config of the server's Auth.
func Channel(s *mail.Session, kind string) ([]byte, bool) {
	if s.TLS == nil || s.TLS.HandshakeComplete { // not known by hearsay
		return nil, false
	}
	data := decode(s.Fact(cbind + kind))
	return data, len(data) > 0
}

// secured stands for the TLS of a client that is known by hearsay.
var secured = tls.ConnectionState{}

// greeting is the server's handshake.
func (s *Server) greeting() (string, error) {
	random := s.Rand
	if random == nil {
		random = rand.Reader
	}
	cookie := make([]byte, 16)
	if _, err := io.ReadFull(random, cookie); err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString("VERSION\t1\t2\n")
	state := secured
	for _, m := range s.Auth.Mechanisms(&mail.Session{TLS: &state}) {
		b.WriteString("MECH\t" + m)
		switch {
		case m == "PLAIN" || m == "LOGIN" || m == "OAUTHBEARER" || m == "XOAUTH2":
			b.WriteString("\tplaintext")
		case strings.HasPrefix(m, "SCRAM-"):
			b.WriteString("\tmutual-auth")
			if s.Bound {
				b.WriteString("\t" + flagBound)
			}
		}
		b.WriteByte('\n')
	}
	if s.Certificates {
		b.WriteString("MECH\t" + external + "\tprivate\t" + flagCertificate + "\n")
	}
	fmt.Fprintf(&b, "SPID\t%d\nCUID\t%d\nCOOKIE\t%x\nDONE\n", os.Getpid(), s.connections.Add(1), cookie)
	return b.String(), nil
}
