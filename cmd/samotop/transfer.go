package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/samotop/samotop/internal/house"
	"github.com/samotop/samotop/internal/transfer"
)

type importCmd struct {
	Maildir importMaildirCmd `cmd:"" help:"From a Maildir++ or a tree of maildirs."`
	Mbox    importMboxCmd    `cmd:"" help:"From an mbox file, or a directory of them."`
	IMAP    importIMAPCmd    `cmd:"" name:"imap" help:"From another server."`
}

type exportCmd struct {
	Maildir exportMaildirCmd `cmd:"" help:"To a Maildir++."`
	Mbox    exportMboxCmd    `cmd:"" help:"To mbox files, one for each folder."`
}

// moveFlags are taken by all that moves mail.
type moveFlags struct {
	Workers int `help:"Batches on their way at the same time." default:"4" placeholder:"N"`
	jsonFlag
}

const aboutImport = `Flags, keywords, dates and folders come along; folders are made. If it breaks off, run it again: it goes on where it was,
and nothing comes twice. It works whether the server runs or not.

Example:
  `

type importMaildirCmd struct {
	Address string `arg:"" help:"Account that gets the mail."`
	Path    string `arg:"" help:"The maildir." type:"path"`
	moveFlags
}

func (importMaildirCmd) Help() string {
	return aboutImport + "samotop import maildir alice@example.org /home/alice/Maildir"
}

func (c *importMaildirCmd) Run(e *env) error {
	return c.takeIn(e, c.Address, transfer.Maildir{Dir: c.Path})
}

type importMboxCmd struct {
	Address string `arg:"" help:"Account that gets the mail."`
	Path    string `arg:"" help:"The file, or a directory of files, whose names are those of the folders." type:"path"`
	Folder  string `help:"Folder that the mail of one file goes to (default: the file's name)." placeholder:"NAME"`
	moveFlags
}

func (importMboxCmd) Help() string {
	return aboutImport + "samotop import mbox alice@example.org /var/mail/alice --folder INBOX"
}

func (c *importMboxCmd) Run(e *env) error {
	return c.takeIn(e, c.Address, transfer.Mbox{Path: c.Path, Folder: c.Folder})
}

type importIMAPCmd struct {
	Address string `arg:"" help:"Account that gets the mail."`
	URL     string `arg:"" name:"url" help:"imaps://USER@HOST[:PORT], or imap:// for STARTTLS; write %40 for @ in USER."`
	CA      string `help:"PEM file of an authority to trust besides the system's." placeholder:"FILE" type:"path"`
	passwordFlag
	moveFlags
}

func (importIMAPCmd) Help() string {
	return aboutImport + "samotop import imap alice@example.org imaps://alice%40old.example@imap.old.example --password-file -"
}

func (c *importIMAPCmd) Run(e *env) (err error) {
	pw, err := c.read(e)
	if err != nil {
		return err
	}
	if pw == "" {
		return &house.UsageError{Text: "import imap: no password: give it with --password-file FILE, or with \"-\" on standard input"}
	}
	conf := &tls.Config{}
	if c.CA != "" {
		text, err := os.ReadFile(c.CA)
		if err != nil {
			return err
		}
		if conf.RootCAs, err = x509.SystemCertPool(); err != nil {
			conf.RootCAs = x509.NewCertPool()
		}
		if !conf.RootCAs.AppendCertsFromPEM(text) {
			return fmt.Errorf("--ca %s: holds no certificate in PEM form", c.CA)
		}
	}
	src, err := transfer.DialIMAP(c.URL, pw, conf)
	if err != nil {
		return err
	}
	return c.takeIn(e, c.Address, src)
}

// ask finds the mailbox of an account.
func (m moveFlags) ask(e *env, address string) (*asking, transfer.Client, error) {
	a, err := e.ask(house.Accounts | house.Mails)
	if err != nil {
		return nil, transfer.Client{}, err
	}
	return a, transfer.Client{HTTP: a.HTTP, Account: address}, nil
}

// takeIn imports from a source, which it closes.
func (m moveFlags) takeIn(e *env, address string, src transfer.Source) (err error) {
	defer func() { err = errors.Join(err, src.Close()) }()
	dir, err := e.house()
	if err != nil {
		return err
	}
	a, client, err := m.ask(e, address)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	known, err := transfer.OpenKnown(filepath.Join(dir, "import", fmt.Sprintf("%x.known", sha256.Sum256([]byte(address)))))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, known.Close()) }()
	show := &meter{e: e}
	im := &transfer.Import{Client: client, Source: src, Known: known, Workers: m.Workers, Tell: show.tell(),
		Failed: func(folder string, h transfer.Head, err error) {
			show.end()
			fmt.Fprintf(e.stderr, "samotop: folder %s: a message was left out: %v (%s)\n", folder, err, h.Date.Format(time.DateTime))
		}}
	p, err := im.Run(e.ctx)
	return m.report(e, show, p, err, "imported")
}

// report says what was done.
func (m moveFlags) report(e *env, show *meter, p transfer.Progress, err error, done string) error {
	show.end()
	if err != nil && p.Messages == 0 { // it has not begun
		return err
	}
	if errors.Is(err, context.Canceled) {
		err = errors.New("interrupted; run it again and it goes on here")
	}
	if m.JSON {
		err = errors.Join(err, printJSON(e.stdout, p))
	} else {
		fmt.Fprintf(e.stdout, "%d messages %s (%s), %d were there already, %d failed; %d folders\n", p.Stored, done, octets(p.Octets), p.Repeated, p.Failed, p.Folders)
	}
	if err == nil && p.Failed > 0 {
		err = fmt.Errorf("%d messages were left out", p.Failed)
	}
	return err
}

// meter shows progress with an estimate on a terminal.
type meter struct {
	e     *env
	begun time.Time
	last  time.Time
	shown bool
}

const meterEvery = 200 * time.Millisecond

// tell returns nil where nobody looks.
func (m *meter) tell() func(transfer.Progress) {
	f, ok := m.e.stderr.(*os.File)
	if !ok || !isTerminal(f) {
		return nil
	}
	m.begun = time.Now()
	return func(p transfer.Progress) {
		now := time.Now()
		if now.Sub(m.last) < meterEvery {
			return
		}
		m.last, m.shown = now, true
		fmt.Fprintf(m.e.stderr, "\r%d of %d messages, %s%s\x1b[K", p.Messages, p.Total, octets(p.Octets), estimate(p, now.Sub(m.begun)))
	}
}

// estimate tells how long it will take.
func estimate(p transfer.Progress, spent time.Duration) string {
	work, left := p.Messages-p.Repeated, p.Total-p.Messages
	if work <= 0 || spent < time.Second {
		return ""
	}
	return ", " + (time.Duration(float64(spent) * float64(left) / float64(work))).Round(time.Second).String() + " left"
}

func (m *meter) end() {
	if m.shown {
		fmt.Fprintln(m.e.stderr)
		m.shown = false
	}
}

type exportMaildirCmd struct {
	Address string `arg:"" help:"Account whose mail it is."`
	Path    string `arg:"" help:"Directory to write, which is made." type:"path"`
	moveFlags
}

const aboutExport = `Flags, keywords, dates and folders come along. If it breaks off, run it again: what is there already is not written
again. It works whether the server runs or not.

Example:
  `

func (exportMaildirCmd) Help() string {
	return aboutExport + "samotop export maildir alice@example.org /backup/alice"
}

func (c *exportMaildirCmd) Run(e *env) error {
	return c.giveOut(e, c.Address, transfer.ToMaildir{Dir: c.Path})
}

type exportMboxCmd struct {
	Address string `arg:"" help:"Account whose mail it is."`
	Path    string `arg:"" help:"Directory to write, which is made; a file NAME.mbox for each folder." type:"path"`
	moveFlags
}

func (exportMboxCmd) Help() string {
	return aboutExport + "samotop export mbox alice@example.org /backup/alice"
}

func (c *exportMboxCmd) Run(e *env) error {
	return c.giveOut(e, c.Address, transfer.ToMbox{Dir: c.Path})
}

func (m moveFlags) giveOut(e *env, address string, to transfer.Target) (err error) {
	a, client, err := m.ask(e, address)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	show := &meter{e: e}
	ex := &transfer.Export{Client: client, Target: to, Workers: m.Workers, Tell: show.tell()}
	p, err := ex.Run(e.ctx)
	return m.report(e, show, p, err, "exported")
}
