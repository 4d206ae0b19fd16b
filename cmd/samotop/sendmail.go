package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strings"

	"github.com/samotop/samotop/internal/config"
	"github.com/samotop/samotop/internal/drop"
	"github.com/samotop/samotop/internal/house"
	"github.com/samotop/samotop/internal/sendmail"
	"github.com/samotop/samotop/management"
)

type sendmailCmd struct {
	Args []string `arg:"" optional:"" name:"arg" help:"What the command sendmail takes."`
}

func (sendmailCmd) Help() string {
	return `Reads a message from standard input and gives it to the house, as the command sendmail does on every Unix; by the names
sendmail, mailq and newaliases (links to samotop) it is that command. If the house does not run, the message is kept in
DIR/spool/drop and taken when it comes.

  -t         recipients stand in To, Cc and Bcc, too
  -i, -oi    a line with a dot alone does not end the message
  -f, -r A   the sender's address: one's own, or any for root and [msa] trusted_users; "<>" for none
  -F NAME    the full name for From, if the message has none
  -N WORDS   reports wanted: never, or some of success,failure,delay; -R full|hdrs and -V ID are RET and ENVID
  -B TYPE    7BIT or 8BITMIME
  -bm -bs -bv -bp -bi   send, speak SMTP, verify recipients, show the queue (mailq), do nothing (newaliases)
  -q         try the queue now; -qIID, -qRADDRESS, -qSADDRESS only those
  -v         tell what was done

Other flags of other systems are passed over. Exit statuses are those of sysexits.h: 0 the message is on disk, 64 wrong use,
67 no such user, 69 refused, 75 try again, 77 not allowed.

Example:
  printf 'Subject: hello\n\nworld\n' | samotop sendmail alice@example.org`
}

// sendmailName tells whether the program was called by one of sendmail's names, and with which arguments that is the same.
func sendmailName(arg0 string) (args []string, ok bool) {
	switch filepath.Base(arg0) {
	case "sendmail":
		return nil, true
	case "mailq":
		return []string{"-bp"}, true
	case "newaliases":
		return []string{"-bi"}, true
	}
	return nil, false
}

// runSendmail is the whole command.
func runSendmail(ctx context.Context, args []string, e *env) int {
	e.ctx = ctx
	if len(args) == 1 && args[0] == "--help" {
		fmt.Fprintf(e.stdout, "Usage: samotop sendmail [<flag> ...] [<address> ...]\n\n%s\n", sendmailCmd{}.Help())
		return sendmail.ExitOK
	}
	o, err := sendmail.Parse(args)
	if err != nil {
		fmt.Fprintf(e.stderr, "sendmail: %v\nSee \"samotop sendmail --help\".\n", err)
		return sendmail.ExitUsage
	}
	switch o.Mode {
	case sendmail.Aliases:
		fmt.Fprintln(e.stdout, "Aliases need no table here: they hold as soon as \"samotop alias add\" has said so; see \"samotop alias list\".")
		return sendmail.ExitOK
	case sendmail.List:
		return e.sendmailStatus(e.mailq())
	case sendmail.Flush:
		return e.sendmailStatus(e.flush(o.Filter))
	}
	dir := e.localHouse()
	conf := config.Config{Dir: dir} // who sends need not be able to read the configuration
	p := &sendmail.Program{DropDir: conf.SpoolPath(config.DropDir), User: "nobody", Stdin: e.stdin, Stdout: e.stdout, Stderr: e.stderr,
		Dial: func(ctx context.Context) (net.Conn, error) {
			return house.DialUnix(ctx, conf.SpoolPath(config.SubmitSocket))
		}}
	if u, err := user.Current(); err == nil {
		p.User = u.Username
		p.FullName, _, _ = strings.Cut(u.Name, ",") // the first part of GECOS
	}
	return p.Run(ctx, o)
}

// localHouse is the house that this machine's programs mean.
func (e *env) localHouse() string {
	const system = "/var/lib/samotop"
	if e.dir == "" && e.getenv("SAMOTOP_DIR") == "" {
		if _, err := os.Stat(filepath.Join(system, config.SpoolDir)); err == nil {
			return system
		}
	}
	dir, err := e.house()
	if err != nil {
		return system
	}
	if abs, err := filepath.Abs(dir); err == nil {
		return abs
	}
	return dir
}

func (e *env) sendmailStatus(err error) int {
	var refused *management.Error
	switch {
	case err == nil:
		return sendmail.ExitOK
	case errors.Is(err, fs.ErrPermission):
		fmt.Fprintln(e.stderr, "sendmail: only who runs the house may look at its queue:", err)
		return sendmail.ExitNoPerm
	case errors.As(err, &refused) && refused.Kind == management.WrongUse:
		fmt.Fprintln(e.stderr, "sendmail:", err)
		return sendmail.ExitUsage
	}
	fmt.Fprintln(e.stderr, "sendmail:", err)
	return sendmail.ExitUnavailable
}

// mailq shows the queue, and how much waits for the house.
func (e *env) mailq() error {
	e.dir = e.localHouse()
	n := 0
	t := newTable(e.stdout, false, "id\tarrival\tsize\tsender\trecipients\tstate", queueRow)
	err := t.end(each(e, queueRooms, "queue/list", management.Filter{}, func(m management.Entry) error {
		n++
		return t.add(m)
	}))
	if err != nil {
		return err
	}
	conf := config.Config{Dir: e.dir}
	dropped, err := drop.Count(conf.SpoolPath(config.DropDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	switch {
	case dropped > 0:
		fmt.Fprintf(e.stdout, "%d messages in %s wait for the house to take them\n", dropped, conf.SpoolPath(config.DropDir))
	case n == 0:
		fmt.Fprintln(e.stdout, "Mail queue is empty")
	}
	return nil
}

// flush tries the queue now, or what a filter such as R@example.org says.
func (e *env) flush(filter string) error {
	e.dir = e.localHouse()
	c := chosen{All: filter == ""}
	if filter != "" {
		switch value := filter[1:]; filter[0] {
		case 'I':
			c.IDs = []string{value}
		case 'R':
			c.Recipient = value
		case 'S':
			c.Sender = value
		}
	}
	return c.act(e, "retry", "to be tried now", false)
}
