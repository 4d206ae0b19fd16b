package main

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/samotop/samotop/internal/config"
	"github.com/samotop/samotop/internal/house"
	"github.com/samotop/samotop/management"
)

const (
	devDir       = ".samotop-dev"
	devPasswords = "dev-passwords"
)

var devPeople = []string{"alice@example.test", "bob@example.test"}

type devCmd struct {
	PortBase int    `help:"Every standard port P listens on N+P; it matters only when the directory is made." default:"10000" placeholder:"N"`
	LogLevel string `help:"What to log: debug, info, warn, error." enum:"debug,info,warn,error" default:"warn"`
}

func (devCmd) Help() string {
	return `Makes the house at the first run and keeps it, with its mail and its passwords, for the next ones. Prints how to
send and read a first mail. Remove the directory to begin anew. Not for the Internet.

Example:
  samotop dev`
}

func (c *devCmd) Run(e *env) error {
	dir := e.dir
	if dir == "" {
		dir = devDir
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	passwords, err := c.prepare(e, dir)
	if err != nil {
		return err
	}
	conf, err := config.Load(dir)
	if err != nil {
		return err
	}
	s := serveCmd{LogLevel: c.LogLevel}
	out := newLogWriter(e.stderr)
	defer out.Close()
	return e.serve(conf, house.All, nil, s.logger(out), func() {
		fmt.Fprintln(e.stderr, "ready")
		introduce(e, conf, passwords)
	})
}

// prepare makes the house unless it is there, and the accounts that are missing. The passwords are written down
// before anything else, so that no run can end with accounts whose passwords nobody knows.
func (c *devCmd) prepare(e *env, dir string) (map[string]string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, devPasswords)
	passwords, err := readPasswords(file)
	if errors.Is(err, fs.ErrNotExist) {
		passwords, err = makePasswords(file)
	}
	if err != nil {
		return nil, fmt.Errorf("dev: %w", err)
	}
	if _, err := os.Stat(filepath.Join(dir, config.FileName)); errors.Is(err, fs.ErrNotExist) {
		first := devPeople[0]
		if _, err := house.Create(e.ctx, house.CreateOptions{Dir: dir, Listen: "127.0.0.1", PortBase: c.PortBase,
			Address: first, Password: passwords[first]}); err != nil {
			return nil, err
		}
	}
	dev := *e
	dev.dir = dir
	for _, who := range devPeople {
		err := dev.addMissing(who, passwords[who])
		if err != nil {
			return nil, err
		}
	}
	return passwords, nil
}

// addMissing adds an account unless it is there.
func (e *env) addMissing(address, password string) (err error) {
	conf, err := config.Load(e.dir)
	if err != nil {
		return err
	}
	h, err := house.Open(e.ctx, house.Options{Config: conf, Rooms: house.Accounts, Log: e.log(slog.LevelWarn)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	cl := management.Client{HTTP: management.Direct(h.Handler())}
	err = cl.Call(e.ctx, "account/show", management.NameArgs{Name: address}, nil)
	var refused *management.Error
	if errors.As(err, &refused) && refused.Kind == management.NotFound {
		err = cl.Call(e.ctx, "account/add", management.AccountArgs{Address: address, Password: password}, nil)
	}
	return err
}

func readPasswords(file string) (map[string]string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	out := map[string]string{}
	for s := bufio.NewScanner(f); s.Scan(); {
		if who, pw, ok := strings.Cut(s.Text(), " "); ok {
			out[who] = pw
		}
	}
	for _, who := range devPeople {
		if out[who] == "" {
			return nil, fmt.Errorf("%s has no password for %s; remove the directory to begin anew", file, who)
		}
	}
	return out, nil
}

func makePasswords(file string) (map[string]string, error) {
	out := map[string]string{}
	var text strings.Builder
	for _, who := range devPeople {
		out[who] = strings.ToLower(rand.Text()[:16])
		fmt.Fprintf(&text, "%s %s\n", who, out[who])
	}
	return out, os.WriteFile(file, []byte(text.String()), 0o600)
}

// introduce prints what to do next, to be copied as it is.
func introduce(e *env, conf *config.Config, passwords map[string]string) {
	alice, bob := devPeople[0], devPeople[1]
	submission, imaps, smtp := hostPort(conf.MSA.Listen, "smtp"), hostPort(conf.Mailbox.Listen, "imaps"), hostPort(conf.MTA.Listen, "smtp")
	cert := quote(conf.TLS.Cert)
	fmt.Fprintf(e.stdout, `
A whole mail house on this machine, in %s.

  SMTP %s   submission %s (STARTTLS) %s (TLS)
  IMAP %s (STARTTLS) %s (TLS)   POP3 %s (STLS) %s (TLS)   LMTP %s

  %s   password %s
  %s     password %s

Send a first mail from alice to bob with curl:

  printf 'From: %s\r\nTo: %s\r\nSubject: first mail\r\n\r\nHello, Bob.\r\n' | curl -sS --ssl-reqd --cacert %s --url smtp://%s --user %s --mail-from %s --mail-rcpt %s -T -

or with swaks:

  swaks --server %s --tls --auth PLAIN --auth-user %s --auth-password %s --from %s --to %s --header 'Subject: first mail' --body 'Hello, Bob.'

Read bob's newest mail with curl:

  curl -sS --cacert %s --user %s --url 'imaps://%s/INBOX;MAILINDEX=*'

Mail is kept between runs. Stop with Ctrl-C; begin anew by removing the directory.
`, conf.Dir, smtp, submission, hostPort(conf.MSA.Listen, "smtps"), hostPort(conf.Mailbox.Listen, "imap"), imaps,
		hostPort(conf.Mailbox.Listen, "pop3"), hostPort(conf.Mailbox.Listen, "pop3s"), hostPort(conf.Mailbox.Listen, "lmtp"),
		alice, passwords[alice], bob, passwords[bob],
		alice, bob, cert, submission, quote(alice+":"+passwords[alice]), alice, bob,
		submission, alice, passwords[alice], alice, bob,
		cert, quote(bob+":"+passwords[bob]), imaps)
}

func hostPort(ls []config.Listen, scheme string) string {
	for _, l := range ls {
		if l.Scheme == scheme {
			return l.HostPort()
		}
	}
	return "none"
}

// quote makes a word of a shell.
func quote(s string) string {
	if strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-@:+") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
