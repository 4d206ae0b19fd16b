package main

import (
	"errors"
	"fmt"

	"github.com/samotop/samotop/internal/house"
	"github.com/samotop/samotop/management"
)

type queuePauseCmd struct {
	Destination string `arg:"" help:"A domain, or a next hop as \"samotop queue stats\" shows it, or local."`
}

func (queuePauseCmd) Help() string {
	return `Nothing is sent there until "samotop queue resume", also after a restart; what comes waits. What is on the wire may finish.

Example:
  samotop queue pause example.net`
}

func (c *queuePauseCmd) Run(e *env) error {
	if err := e.call(queueRooms, "queue/pause", management.NameArgs{Name: c.Destination}, nil); err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "%s is paused\n", c.Destination)
	return nil
}

type queueResumeCmd struct {
	Destination string `arg:"" help:"As it was paused."`
}

func (queueResumeCmd) Help() string {
	return `Example:
  samotop queue resume example.net`
}

func (c *queueResumeCmd) Run(e *env) error {
	if err := e.call(queueRooms, "queue/resume", management.NameArgs{Name: c.Destination}, nil); err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "%s is sent to again\n", c.Destination)
	return nil
}

type queueTraceCmd struct {
	ID string `arg:"" name:"id" help:"Id of a message in the queue, or that was in it."`
	jsonFlag
}

func (queueTraceCmd) Help() string {
	return `Where the message came from, every attempt to send it with the host that answered, its reply and the TLS it had, and how it
stands. Of messages that have left the queue, what the journal still knows.

Example:
  samotop queue trace 0n8x2v6k3m1qz`
}

// traced is what --json prints.
type traced struct {
	Entry *management.Entry `json:"entry,omitempty"` // nil: no longer in the queue
	Steps []management.Step `json:"steps"`
}

func (c *queueTraceCmd) Run(e *env) error {
	t := traced{Steps: []management.Step{}}
	notThere := each(e, queueRooms, "queue/list", management.Filter{IDs: []string{c.ID}}, func(m management.Entry) error {
		t.Entry = &m
		return nil
	})
	var refused *management.Error
	if notThere != nil && !(errors.As(notThere, &refused) && refused.Kind == management.NotFound) {
		return notThere
	}
	unknown := each(e, house.Management, "journal/why", management.NameArgs{Name: c.ID}, func(s management.Step) error {
		t.Steps = append(t.Steps, s)
		return nil
	})
	switch {
	case t.Entry == nil && len(t.Steps) == 0:
		return notThere
	case unknown != nil && !(errors.As(unknown, &refused) && refused.Kind == management.NotFound):
		return unknown
	case c.JSON:
		return printJSON(e.stdout, t)
	}
	if t.Entry != nil {
		printEntry(e.stdout, *t.Entry)
	} else {
		fmt.Fprintf(e.stdout, "Message   %s is no longer in the queue\n\n", c.ID)
	}
	return tellSteps(e.stdout, t.Steps)
}
