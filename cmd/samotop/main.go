// Command samotop is a complete mail system in one program: "samotop quickstart" makes a house, "samotop serve" runs
// it, the other verbs look after it, whether it runs or not. See "samotop --help".
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/samotop/samotop/internal/config"
	"github.com/samotop/samotop/internal/house"
	"github.com/samotop/samotop/management"
)

// Exit statuses.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// version is set when a release is built: -ldflags "-X main.version=1.2.3".
var version string

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	go func() { // a second signal does not wait
		<-ctx.Done()
		stop()
	}()
	e := &env{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv}
	if named, ok := sendmailName(os.Args[0]); ok {
		os.Exit(runSendmail(ctx, append(named, os.Args[1:]...), e))
	}
	os.Exit(run(ctx, os.Args[1:], e))
}

// cli is the command line: design and documentation of every verb.
type cli struct {
	Dir string `help:"Directory of the house (default: $$SAMOTOP_DIR, else /var/lib/samotop for root, else ~/.local/share/samotop; for dev ./.samotop-dev)." placeholder:"DIR" type:"path"`

	Quickstart  quickstartCmd  `cmd:"" help:"Make a house: configuration, certificate, domain, first account."`
	Dev         devCmd         `cmd:"" help:"Run a whole house for trying things out, on 127.0.0.1 with two accounts."`
	Serve       serveCmd       `cmd:"" help:"Run the house."`
	Account     accountCmd     `cmd:"" help:"People and things that have a mailbox."`
	Domain      domainCmd      `cmd:"" help:"Domains whose mail comes here."`
	Alias       aliasCmd       `cmd:"" help:"Addresses that lead to others."`
	List        listCmd        `cmd:"" help:"Addresses whose mail is sent on to members."`
	Junk        junkCmd        `cmd:"" help:"The learning filter: what it knows, and teaching it."`
	Ban         banCmd         `cmd:"" help:"Who may not speak to this house at all."`
	Sender      senderCmd      `cmd:"" help:"Who is allowed and denied, whatever else is thought of him."`
	Contact     contactCmd     `cmd:"" help:"Who may write to an account."`
	Mailbox     mailboxCmd     `cmd:"" help:"What is kept of an account's mail."`
	Import      importCmd      `cmd:"" help:"Move mail in: from maildirs, mbox files, or another server."`
	Export      exportCmd      `cmd:"" help:"Move mail out: to a maildir or mbox files."`
	Queue       queueCmd       `cmd:"" help:"Mail on its way."`
	Suppress    suppressCmd    `cmd:"" help:"Addresses elsewhere that are not written to."`
	Sendmail    sendmailCmd    `cmd:"" passthrough:"" help:"Send a message of a program on this machine, as the command sendmail does."`
	DKIM        dkimCmd        `cmd:"" name:"dkim" help:"Keys that sign what is sent."`
	Why         whyCmd         `cmd:"" help:"What happened to a message, and why."`
	Reports     reportsCmd     `cmd:"" help:"What others report about our mail."`
	DNS         dnsCmd         `cmd:"" name:"dns" help:"DNS records to publish."`
	Backup      backupCmd      `cmd:"" help:"Copy the house to another place, also while it serves."`
	Restore     restoreCmd     `cmd:"" help:"Make a house of a backup."`
	Verify      verifyCmd      `cmd:"" help:"Read every database and report what is damaged."`
	Store       storeCmd       `cmd:"" help:"The databases."`
	Status      statusCmd      `cmd:"" help:"How the house is."`
	CheckConfig checkConfigCmd `cmd:"" help:"Check samotop.toml and its drop-ins."`
	Completion  completionCmd  `cmd:"" help:"Print what makes a shell complete verbs and flags."`
	Man         manCmd         `cmd:"" help:"Print the manual page."`
	Version     versionCmd     `cmd:"" help:"Print the version."`
}

// env is what a verb may use of the world.
type env struct {
	ctx            context.Context
	dir            string // as given with --dir; "" if it was not
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
}

// run parses the command line, runs the verb, and returns the exit status.
func run(ctx context.Context, args []string, e *env) int {
	e.ctx = ctx
	var c cli
	exited := false
	p, err := kong.New(&c, kong.Name("samotop"),
		kong.Description("A complete mail system. Begin with \"samotop dev\" to try it, or \"samotop quickstart\" for a house of your own."),
		kong.Writers(e.stdout, e.stderr), kong.Exit(func(int) { exited = true }), kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}))
	if err != nil {
		fmt.Fprintln(e.stderr, "samotop:", err)
		return exitFailed
	}
	if len(args) == 0 {
		p.Stdout = e.stderr
		_, _ = p.Parse([]string{"--help"}) // only to print it
		return exitUsage
	}
	if args[0] == "help" { // as people type it
		args = append(args[1:len(args):len(args)], "--help")
	}
	k, err := p.Parse(args)
	if exited { // --help was shown
		return exitDone
	}
	if err != nil {
		fmt.Fprintf(e.stderr, "samotop: %v\nSee \"samotop %s--help\".\n", err, verbOf(err))
		return exitUsage
	}
	e.dir = c.Dir
	if s, ok := k.Selected().Target.Interface().(sendmailCmd); ok {
		return runSendmail(ctx, s.Args, e) // it has exit statuses of its own
	}
	return e.report(k.Run(e))
}

// verbOf names the verb whose help is worth reading after an error of parsing.
func verbOf(err error) string {
	var p *kong.ParseError
	if errors.As(err, &p) && p.Context != nil {
		if n := p.Context.Selected(); n != nil {
			return n.FullPath()[len("samotop "):] + " "
		}
	}
	return ""
}

// report prints an error and gives the exit status that belongs to it.
func (e *env) report(err error) int {
	var usage *house.UsageError
	var refused *management.Error
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &usage), errors.As(err, &refused) && refused.Kind == management.WrongUse:
		fmt.Fprintln(e.stderr, "samotop:", err)
		return exitUsage
	}
	var faults config.Faults
	if errors.As(err, &faults) {
		for _, f := range faults {
			fmt.Fprintln(e.stderr, f)
		}
		return exitFailed
	}
	fmt.Fprintln(e.stderr, "samotop:", err)
	return exitFailed
}

// house returns the directory of the house.
func (e *env) house() (string, error) {
	if e.dir != "" {
		return e.dir, nil
	}
	if d := e.getenv("SAMOTOP_DIR"); d != "" {
		return d, nil
	}
	if os.Geteuid() == 0 {
		return "/var/lib/samotop", nil
	}
	home := e.getenv("HOME")
	if home == "" {
		return "", &house.UsageError{Text: "no directory is known: give --dir DIR, or set SAMOTOP_DIR"}
	}
	return filepath.Join(home, ".local", "share", "samotop"), nil
}

// buildVersion is the release, or what the Go tool knows about the build.
func buildVersion() string {
	if version != "" {
		return version
	}
	b, ok := debug.ReadBuildInfo()
	if !ok || b.Main.Version == "" || b.Main.Version == "(devel)" {
		return "devel"
	}
	return b.Main.Version
}
