package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/samotop/samotop/internal/house"
	"github.com/samotop/samotop/management"
)

type junkCmd struct {
	Stats   junkStatsCmd   `cmd:"" help:"Tell what the filter has learned."`
	Train   junkTrainCmd   `cmd:"" help:"Teach the filter messages from files."`
	Retrain junkRetrainCmd `cmd:"" help:"Teach the filter what is in the folders of an account."`
	Forget  junkForgetCmd  `cmd:"" help:"Forget what the filter has learned for an account."`
}

type junkStatsCmd struct {
	Address string `arg:"" optional:"" help:"Account, or \"shared\" (default: all that have learned anything)."`
	jsonFlag
}

func (junkStatsCmd) Help() string {
	return `The filter learns when people move mail to Junk and back. It is asked about an account's mail once enough was learned: by
that account, or by all of them together, which is the line "shared". See docs/junk.md.

Example:
  samotop junk stats alice@example.org`
}

func (c *junkStatsCmd) Run(e *env) error {
	t := newTable(e.stdout, c.JSON, "account\twanted\tunwanted\twords\tlast lesson\tasked", func(s management.JunkStats) string {
		asked, last := "no: too little was learned", "-"
		if s.Asked {
			asked = "yes"
		}
		if s.LastDay != "" {
			last = s.LastDay
		}
		return fmt.Sprintf("%s\t%d\t%d\t%d\t%s\t%s", s.Address, s.Ham, s.Spam, s.Words, last, asked)
	})
	return t.end(each(e, house.Accounts|house.Guard, "junk/stats", management.NameArgs{Name: c.Address}, t.add))
}

type junkTrainCmd struct {
	Kind    string `arg:"" enum:"ham,spam,unknown" help:"ham: wanted; spam: unwanted; unknown: take back what was taught."`
	Address string `arg:"" help:"Account, or \"shared\" for all that have learned little themselves."`
	Path    string `arg:"" help:"A message, an mbox, or a directory of messages, such as a maildir." type:"path"`
	jsonFlag
}

func (junkTrainCmd) Help() string {
	return `A file that begins with "From " is an mbox. The same message taught twice counts once. Of a message the first 512 KiB are read.

Example:
  samotop junk train spam alice@example.org /home/alice/Maildir/.Junk/cur`
}

// trained is what was done.
type trained struct {
	Read    int `json:"read"`
	Changed int `json:"changed"`
}

func (c *junkTrainCmd) Run(e *env) (err error) {
	a, err := e.ask(house.Accounts | house.Guard)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	var done trained
	err = eachMessage(c.Path, func(content []byte) error {
		sum := sha256.Sum256(content)
		var r management.Learned
		if err := a.Call(e.ctx, "junk/learn", management.LearnArgs{Address: c.Address, Kind: c.Kind, ID: hex.EncodeToString(sum[:]), Content: content}, &r); err != nil {
			return err
		}
		done.Read++
		if r.Changed {
			done.Changed++
		}
		return nil
	})
	if err == nil && done.Read == 0 {
		err = fmt.Errorf("%s: there is no message in it", c.Path)
	}
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, done)
	}
	_, err = fmt.Fprintf(e.stdout, "%d messages read, %d learned as %s; the others were known so\n", done.Read, done.Changed, c.Kind)
	return err
}

// eachMessage reads a message, an mbox, or all files below a directory.
func eachMessage(path string, fn func(content []byte) error) error {
	return filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		r := bufio.NewReaderSize(f, 64<<10)
		if begin, err := r.Peek(5); err == nil && string(begin) == "From " {
			return eachOfMbox(r, fn)
		}
		content, err := io.ReadAll(io.LimitReader(r, management.MaxLearnOctets))
		if err != nil || len(bytes.TrimSpace(content)) == 0 {
			return err
		}
		return fn(content)
	})
}

// eachOfMbox parts an mbox where a line begins with "From " after an empty one. Lines of any length are read in pieces.
func eachOfMbox(r *bufio.Reader, fn func(content []byte) error) error {
	var content []byte
	begun, empty, inLine := false, true, false
	for {
		line, err := r.ReadSlice('\n')
		if !inLine && empty && bytes.HasPrefix(line, []byte("From ")) {
			if begun && len(content) > 0 {
				if err := fn(content); err != nil {
					return err
				}
			}
			begun, content = true, content[:0]
		} else if room := management.MaxLearnOctets - len(content); room > 0 {
			content = append(content, line[:min(room, len(line))]...)
		}
		if !inLine {
			empty = len(bytes.TrimRight(line, "\r\n")) == 0
		}
		inLine = errors.Is(err, bufio.ErrBufferFull)
		switch {
		case err == nil, inLine:
		case errors.Is(err, io.EOF):
			if len(content) > 0 {
				return fn(content)
			}
			return nil
		default:
			return err
		}
	}
}

type junkRetrainCmd struct {
	Address string `arg:"" help:"Address of the account."`
	jsonFlag
}

func (junkRetrainCmd) Help() string {
	return `What is in Junk is learned as unwanted, what is in the folders where mail is kept as wanted; INBOX, Trash, Drafts and Sent teach
nothing. Of each folder the newest 2000 messages are read. It can be done again at any time.

Example:
  samotop junk retrain alice@example.org`
}

func (c *junkRetrainCmd) Run(e *env) (err error) {
	a, err := e.ask(house.Accounts | house.Mails | house.Guard)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	raw, err := a.Each(e.ctx, "mailbox/relearn", management.NameArgs{Name: c.Address}, func(json.RawMessage) error { return nil })
	if err != nil {
		return err
	}
	var r management.Relearned
	if err := json.Unmarshal(raw, &r); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if c.JSON {
		return printJSON(e.stdout, r)
	}
	_, err = fmt.Fprintf(e.stdout, "%s: %d wanted and %d unwanted messages read, %d of them were new to the filter\n", r.Address, r.Ham, r.Spam, r.Changed)
	return err
}

type junkForgetCmd struct {
	Address string `arg:"" help:"Account, or \"shared\"."`
}

func (junkForgetCmd) Help() string {
	return `What the account gave to the shared table stays there.

Example:
  samotop junk forget alice@example.org`
}

func (c *junkForgetCmd) Run(e *env) error {
	if err := e.call(house.Accounts|house.Guard, "junk/forget", management.NameArgs{Name: c.Address}, nil); err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "What the filter has learned for %s is forgotten\n", c.Address)
	return nil
}
