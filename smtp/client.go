package smtp

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/samotop/samotop/mail"
)

// Client is one connection to a server, ready for transactions. It is not safe for concurrent use.
type Client struct {
	d      Dialer
	raw    net.Conn // below TLS
	w      wire
	ctx    context.Context // of the call that runs
	host   string          // for TLS
	name   string          // how the server names itself
	ext    Extensions
	state  *tls.ConnectionState
	authed bool
	dirty  bool  // a transaction of the past is still open on the other side
	broken error // why the connection is of no more use
	sent   int   // transactions
	most   int   // transactions that the server takes; 0: it does not say
	owed   int   // replies that nobody has waited for: they come before the next
	used   time.Time
	// spokeFor is the XCLIENT that was accepted last.
	spokeFor string
}

// Dial connects and goes as far as EHLO, STARTTLS and AUTH. Network is "tcp", "tcp4", "tcp6" or "unix".
func (d *Dialer) Dial(ctx context.Context, network, address string) (*Client, error) {
	dial := d.NetDial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	cctx, cancel := context.WithTimeout(ctx, or(d.ConnectTimeout, time.Minute))
	conn, err := dial(cctx, network, address)
	cancel()
	if err != nil {
		return nil, fmt.Errorf("smtp: connect: %w", err)
	}
	host := ""
	if !strings.HasPrefix(network, "unix") {
		if host, _, err = net.SplitHostPort(address); err != nil {
			host = address
		}
	}
	return d.Client(ctx, conn, host)
}

// Client does the same over a connection that exists, and closes it on an error. Host names the server for TLS; if it
// is empty, and TLSConfig names none either, STARTTLS is used only when it is required.
func (d *Dialer) Client(ctx context.Context, conn net.Conn, host string) (*Client, error) {
	c := &Client{d: *d, raw: conn, host: host, used: time.Now()}
	c.w.init(conn)
	c.w.armed, c.w.writing = c.alive, c.alive
	if c.d.Hello == "" {
		c.d.Hello = hostname()
	}
	done := c.begin(ctx)
	err := done(c.introduce())
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (c *Client) alive() error { return c.ctx.Err() }

// begin ties the connection to ctx until the returned function is called with the outcome.
func (c *Client) begin(ctx context.Context) func(error) error {
	c.ctx = ctx
	stop := context.AfterFunc(ctx, func() { _ = c.raw.SetDeadline(time.Unix(1, 0)) })
	return func(err error) error {
		if !stop() { // the deadline may strike at any time now
			c.broken = ctx.Err()
		}
		c.ctx = context.Background()
		c.used = time.Now()
		if err != nil && ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
			return fmt.Errorf("%w (%w)", ctx.Err(), err)
		}
		return err
	}
}

func (c *Client) introduce() error {
	if c.d.ImplicitTLS {
		if err := c.secure(); err != nil {
			return err
		}
	}
	banner, err := c.read(or(c.d.BannerTimeout, 5*time.Minute))
	if err != nil {
		return fmt.Errorf("smtp: banner: %w", err)
	}
	if banner.Code != 220 {
		return &ReplyError{"banner", refusing(banner)}
	}
	c.name, _, _ = strings.Cut(banner.Text, " ")
	if err := c.hello(); err != nil {
		return err
	}
	if err := c.startTLS(); err != nil {
		return err
	}
	if c.d.Auth != nil {
		return c.auth()
	}
	return nil
}

// refusing makes a reply that is not the one we need a refusal, whatever its code.
func refusing(r *mail.Reply) *mail.Reply {
	if r.Code >= 400 {
		return r
	}
	return mail.NewReply(451, mail.Enhanced{4, 5, 0}, "Unexpected reply: "+r.String())
}

func (c *Client) hello() error {
	verb := "EHLO"
	if c.d.LMTP {
		verb = "LHLO"
	}
	r, err := c.command(or(c.d.HelloTimeout, 5*time.Minute), verb+" "+c.d.Hello)
	if err == nil && r.Permanent() && !c.d.LMTP { // RFC 5321 section 3.2
		verb = "HELO"
		r, err = c.command(or(c.d.HelloTimeout, 5*time.Minute), verb+" "+c.d.Hello)
	}
	if err != nil {
		return fmt.Errorf("smtp: %s: %w", verb, err)
	}
	if r.Code != 250 {
		return &ReplyError{verb, refusing(r)}
	}
	c.ext, c.most = Extensions{}, 0
	lines := strings.Split(r.Text, "\n")
	if name, _, _ := strings.Cut(lines[0], " "); name != "" {
		c.name = name
	}
	if verb == "HELO" {
		return nil
	}
	for _, l := range lines[1:] {
		k, params, _ := strings.Cut(strings.TrimSpace(l), " ")
		c.ext[strings.ToUpper(k)] = strings.TrimSpace(params)
	}
	c.most = c.limit("MAILMAX")
	return nil
}

// startTLS follows the policy (RFC 3207).
func (c *Client) startTLS() error {
	named := c.host != "" || c.d.TLSConfig != nil && c.d.TLSConfig.ServerName != ""
	switch {
	case c.state != nil, c.d.TLS == TLSNever:
		return nil
	case c.d.TLS == TLSOffered && (!c.ext.Has("STARTTLS") || !named):
		return nil
	case !c.ext.Has("STARTTLS"):
		return ErrTLSUnavailable
	}
	r, err := c.command(or(c.d.HelloTimeout, 5*time.Minute), "STARTTLS")
	if err != nil {
		return fmt.Errorf("smtp: STARTTLS: %w", err)
	}
	if r.Code != 220 {
		return &ReplyError{"STARTTLS", refusing(r)}
	}
	if c.w.buffered() > 0 { // somebody in between answers commands that we have not sent yet
		return errors.New("smtp: server sent replies before TLS began")
	}
	if err := c.secure(); err != nil {
		return err
	}
	return c.hello()
}

func (c *Client) secure() error {
	conf := &tls.Config{}
	if c.d.TLSConfig != nil {
		conf = c.d.TLSConfig.Clone()
	}
	if conf.ServerName == "" {
		conf.ServerName = c.host
	}
	ctx, cancel := context.WithTimeout(c.ctx, or(c.d.HelloTimeout, 5*time.Minute))
	defer cancel()
	if err := c.raw.SetDeadline(time.Time{}); err != nil {
		return fmt.Errorf("smtp: TLS: %w", err)
	}
	conn := tls.Client(c.raw, conf)
	if err := conn.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrTLSFailed, err)
	}
	state := conn.ConnectionState()
	c.state, c.w.conn = &state, conn
	return nil
}

// auth runs one exchange of RFC 4954.
func (c *Client) auth() error {
	ex, err := c.d.Auth.Begin(c.ctx, strings.Fields(c.ext["AUTH"]), c.state)
	if err != nil {
		return fmt.Errorf("smtp: AUTH: %w", err)
	}
	initial, err := ex.Start()
	if err != nil {
		return fmt.Errorf("smtp: AUTH: %w", err)
	}
	line := "AUTH " + ex.Mechanism()
	switch enc := base64.StdEncoding.EncodeToString(initial); {
	case initial == nil:
	case enc == "":
		line += " ="
	case len(line)+len(enc)+3 <= MaxAuthLineOctets:
		line, initial = line+" "+enc, nil
	}
	for range maxExchange {
		r, err := c.command(or(c.d.HelloTimeout, 5*time.Minute), line)
		switch {
		case err != nil:
			return fmt.Errorf("smtp: AUTH: %w", err)
		case r.Code == 235:
			if err := ex.Done(); err != nil { // whoever this is, it does not know the password
				return fmt.Errorf("smtp: AUTH: %w", err)
			}
			c.authed = true
			return nil
		case r.Code != 334:
			return &ReplyError{"AUTH", refusing(r)}
		}
		response := initial // too long for the first line
		if len(initial) == 0 {
			challenge, err := base64.StdEncoding.DecodeString(strings.TrimSpace(r.Text))
			if err == nil {
				response, err = ex.Next(challenge)
			}
			if err != nil {
				_, _ = c.command(or(c.d.QuitTimeout, time.Minute), "*")
				return fmt.Errorf("smtp: AUTH: %w", err)
			}
		}
		initial = nil
		line = base64.StdEncoding.EncodeToString(response)
	}
	return errors.New("smtp: AUTH: exchange does not end")
}

// put queues a command line.
func (c *Client) put(line string) {
	c.w.out = append(c.w.out, line...)
	c.w.out = append(c.w.out, '\r', '\n')
}

// read reads one reply. An error means that the connection is lost.
func (c *Client) read(timeout time.Duration) (*mail.Reply, error) {
	if c.broken != nil {
		return nil, c.broken
	}
	c.w.readTimeout, c.w.writeTimeout = timeout, timeout
	r, err := c.w.readReply(or(c.d.MaxReplyLines, 512), or(c.d.MaxReplyOctets, 4096))
	for ; err == nil && c.owed > 0 && r.Code != 421; c.owed-- {
		r, err = c.w.readReply(or(c.d.MaxReplyLines, 512), or(c.d.MaxReplyOctets, 4096))
	}
	if err != nil {
		c.broken = err
		return nil, err
	}
	if r.Code == 421 { // RFC 5321 section 3.8: the server is about to close
		c.broken = &ReplyError{"session", r}
	}
	return r, nil
}

func (c *Client) command(timeout time.Duration, line string) (*mail.Reply, error) {
	c.put(line)
	return c.read(timeout)
}

// Extensions returns what the server offers now.
func (c *Client) Extensions() Extensions { return c.ext }

// TLS returns the state of TLS, or nil.
func (c *Client) TLS() *tls.ConnectionState { return c.state }

// RemoteAddr returns the server's network address.
func (c *Client) RemoteAddr() net.Addr { return c.raw.RemoteAddr() }

// RemoteName returns the name by which the server greeted us.
func (c *Client) RemoteName() string { return c.name }

// Err returns why the connection is of no more use, or nil.
func (c *Client) Err() error { return c.broken }

// MaxRecipients returns how many recipients the server takes in one transaction (LIMITS RCPTMAX, RFC 9422), 0 if it
// does not say. Send refuses those beyond with 452 4.5.3.
func (c *Client) MaxRecipients() int { return c.limit("RCPTMAX") }

// MaxTransactions returns how many transactions the server takes in one session (LIMITS MAILMAX), 0 if it does not say.
func (c *Client) MaxTransactions() int { return c.most }

func (c *Client) limit(name string) int {
	for _, w := range strings.Fields(c.ext["LIMITS"]) {
		if k, v, _ := strings.Cut(w, "="); strings.EqualFold(k, name) {
			if n, err := strconv.Atoi(v); err == nil && n > 0 {
				return n
			}
		}
	}
	return 0
}

// Command sends a line of the caller's own and returns the reply. The line must not hold CR or LF.
func (c *Client) Command(ctx context.Context, line string) (*mail.Reply, error) {
	if strings.ContainsAny(line, "\r\n") {
		return nil, errors.New("smtp: command holds a line end")
	}
	done := c.begin(ctx)
	r, err := c.command(or(c.d.QuitTimeout, time.Minute), line)
	return r, done(err)
}

func (c *Client) simple(ctx context.Context, verb string) error {
	r, err := c.Command(ctx, verb)
	if err != nil {
		return fmt.Errorf("smtp: %s: %w", verb, err)
	}
	if !r.Positive() {
		return &ReplyError{verb, refusing(r)}
	}
	return nil
}

// Reset sends RSET.
func (c *Client) Reset(ctx context.Context) error {
	err := c.simple(ctx, "RSET")
	c.dirty = c.dirty && err != nil
	return err
}

// Noop sends NOOP; it tells whether the connection is alive.
func (c *Client) Noop(ctx context.Context) error { return c.simple(ctx, "NOOP") }

// Quit says QUIT, waits for the answer and closes the connection.
func (c *Client) Quit(ctx context.Context) error {
	defer c.Close()
	if c.broken != nil {
		return nil
	}
	return c.simple(ctx, "QUIT")
}

// Close closes the connection without a word.
func (c *Client) Close() error {
	if c.broken == nil {
		c.broken = ErrClosed
	}
	err := c.w.conn.Close()
	c.w.release()
	return err
}
