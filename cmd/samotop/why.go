package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/samotop/samotop/internal/house"
	"github.com/samotop/samotop/management"
)

type whyCmd struct {
	What string `arg:"" name:"id" help:"A Message-ID, an id from a Received field or the queue, or an address."`
	jsonFlag
}

func (whyCmd) Help() string {
	return `Who brought the message and from where, what each check found, which rule decided, where it was stored or queued, and
every attempt to send it on. With an address: the same of its latest messages. How long this is kept is set by [journal] days.

Example:
  samotop why '<20261122.1@example.net>'
  samotop why alice@example.org --json`
}

func (c *whyCmd) Run(e *env) error {
	if c.JSON {
		t := newTable(e.stdout, true, "", func(management.Step) string { return "" })
		return t.end(each(e, house.Management, "journal/why", management.NameArgs{Name: c.What}, t.add))
	}
	var steps []management.Step
	err := each(e, house.Management, "journal/why", management.NameArgs{Name: c.What}, func(s management.Step) error {
		steps = append(steps, s)
		return nil
	})
	if err != nil {
		return err
	}
	return tellSteps(e.stdout, steps)
}

// tellSteps tells the story: each message by itself, in the order of its first step.
func tellSteps(w io.Writer, steps []management.Step) error {
	var order []string
	of := map[string][]management.Step{}
	began := map[string][]management.Step{} // by session
	for _, s := range steps {
		if s.Kind == "connected" {
			began[s.Trace] = append(began[s.Trace], s)
			continue
		}
		key := s.MessageID
		if key == "" {
			key, _, _ = strings.Cut(s.ID, ".")
		}
		if of[key] == nil {
			order = append(order, key)
		}
		of[key] = append(of[key], s)
	}
	for i, key := range order {
		if i > 0 {
			fmt.Fprintln(w)
		}
		of := of[key]
		name := "Message without a Message-ID"
		if id := of[0].MessageID; id != "" {
			name = "Message <" + id + ">"
		}
		fmt.Fprintf(w, "%s from %s\n", name, shownPath(of[0].From))
		for _, s := range append(began[of[0].Trace], of...) {
			if err := tellStep(w, s); err != nil {
				return err
			}
		}
	}
	return nil
}

func shownPath(s string) string {
	switch s {
	case "":
		return "nobody known"
	case "<>":
		return "<> (a report)"
	}
	return s
}

func tellStep(w io.Writer, s management.Step) error {
	line := fmt.Sprintf("  %s  %-8s%s", stamp(s.Time), s.Room, s.Kind)
	if s.To != "" {
		line += " for " + s.To
	}
	if s.Peer != "" && (s.Kind == "connected" || s.Room == "qm") {
		line += " by " + s.Peer
	}
	if s.Text != "" {
		line += ": " + printableText(s.Text)
	}
	if s.ID != "" && s.Room != "mailbox" {
		line += " [" + s.ID + "]"
	}
	_, err := fmt.Fprintln(w, line)
	return err
}

// printableText keeps what came from outside from moving the cursor.
func printableText(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}
