package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/samotop/samotop/internal/house"
	"github.com/samotop/samotop/management"
)

// queueRooms is what the queue needs when no server runs: where addresses lead is asked of the accounts.
const queueRooms = house.Accounts | house.Queue

type queueCmd struct {
	List    queueListCmd    `cmd:"" help:"List messages."`
	Show    queueShowCmd    `cmd:"" help:"Show messages with every recipient."`
	Retry   queueRetryCmd   `cmd:"" help:"Try messages now."`
	Hold    queueHoldCmd    `cmd:"" help:"Keep messages from being tried."`
	Release queueReleaseCmd `cmd:"" help:"End hold."`
	Remove  queueRemoveCmd  `cmd:"" help:"Take messages out of the queue."`
	Pause   queuePauseCmd   `cmd:"" help:"Send nothing to a destination."`
	Resume  queueResumeCmd  `cmd:"" help:"End pause."`
	Trace   queueTraceCmd   `cmd:"" help:"Everything that happened to a message, and how it stands."`
	Stats   queueStatsCmd   `cmd:"" help:"Numbers about the queue."`
}

// filterFlags choose messages.
type filterFlags struct {
	Sender      string        `help:"Only from this address or @domain; <> for reports." placeholder:"ADDRESS"`
	Recipient   string        `help:"Only to this address or @domain." placeholder:"ADDRESS"`
	Destination string        `help:"Only for this domain or next hop." placeholder:"NAME"`
	State       string        `help:"Only with a recipient in this state: queued, deferred, held, active." enum:",queued,deferred,held,active" default:"" placeholder:"STATE"`
	OlderThan   time.Duration `help:"Only those that wait for longer, such as 2h." placeholder:"TIME"`
}

func (f filterFlags) filter(ids []string, all bool) management.Filter {
	return management.Filter{IDs: ids, All: all, Sender: f.Sender, Recipient: f.Recipient, Destination: f.Destination, State: f.State, OlderThan: f.OlderThan}
}

type queueListCmd struct {
	filterFlags
	Limit int `help:"At most so many." placeholder:"N"`
	jsonFlag
}

func (queueListCmd) Help() string {
	return `Example:
  samotop queue list --destination example.net --older-than 1h`
}

func (c *queueListCmd) Run(e *env) error {
	f := c.filter(nil, false)
	f.Limit = c.Limit
	t := newTable(e.stdout, c.JSON, "id\tarrival\tsize\tsender\trecipients\tstate", queueRow)
	return t.end(each(e, queueRooms, "queue/list", f, t.add))
}

// queueRow shows a message with its first recipients, and the last answer about one that waits.
func queueRow(m management.Entry) string {
	var to []string
	states := map[string]bool{}
	var state []string
	why := ""
	for i, r := range m.Recipients {
		if i < 3 {
			to = append(to, r.Address)
		}
		if !states[r.State] {
			states[r.State] = true
			state = append(state, r.State)
		}
		if r.Last != nil && why == "" {
			why = ": " + r.Last.Reply
		}
	}
	if n := len(m.Recipients) - len(to); n > 0 {
		to = append(to, fmt.Sprintf("and %d more", n))
	}
	return fmt.Sprintf("%s\t%s\t%s\t<%s>\t%s\t%s%s", m.ID, stamp(m.Arrival), octets(m.Size), m.Sender, strings.Join(to, " "), strings.Join(state, ","), why)
}

type queueShowCmd struct {
	IDs []string `arg:"" name:"id" help:"Ids of messages."`
	jsonFlag
}

func (queueShowCmd) Help() string {
	return `Example:
  samotop queue show 01HZX3Q`
}

func (c *queueShowCmd) Run(e *env) error {
	t := newTable(e.stdout, c.JSON, "", func(management.Entry) string { return "" })
	show := t.add
	if !c.JSON {
		show = func(m management.Entry) error { printEntry(e.stdout, m); return nil }
	}
	return t.end(each(e, queueRooms, "queue/list", management.Filter{IDs: c.IDs}, show))
}

func printEntry(w io.Writer, m management.Entry) {
	fmt.Fprintf(w, "Message   %s\nArrived   %s\nSize      %s\nSender    <%s>\n", m.ID, stamp(m.Arrival), octets(m.Size), m.Sender)
	if m.Account != "" {
		fmt.Fprintf(w, "Account   %s\n", m.Account)
	}
	if m.MessageID != "" {
		fmt.Fprintf(w, "MessageID %s\n", m.MessageID)
	}
	for _, r := range m.Recipients {
		fmt.Fprintf(w, "Recipient %s", r.Address)
		if r.Target != "" {
			fmt.Fprintf(w, " -> %s", r.Target)
		}
		fmt.Fprintf(w, "\n  %s by %s, %d attempts", r.State, r.Destination, r.Attempts)
		if r.Next != nil {
			fmt.Fprintf(w, ", next %s", stamp(*r.Next))
		}
		fmt.Fprintln(w)
		if l := r.Last; l != nil {
			fmt.Fprintf(w, "  last %s %s\n       %s\n", stamp(l.Time), strings.TrimSpace(l.Host+" "+l.TLS), l.Reply)
		}
	}
	fmt.Fprintln(w)
}

// chosen is taken by the verbs that change messages.
type chosen struct {
	IDs []string `arg:"" optional:"" name:"id" help:"Ids of messages."`
	All bool     `help:"All messages."`
	filterFlags
}

// act changes what was chosen and says how many that were.
func (c chosen) act(e *env, verb, done string, bounce bool) (err error) {
	f := c.filter(c.IDs, c.All)
	if f.Empty() {
		return &house.UsageError{Text: fmt.Sprintf("queue %s: no message was named; name ids, a filter, or --all", verb)}
	}
	a, err := e.ask(queueRooms)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	ok, err := a.Each(e.ctx, "queue/"+verb, management.ActArgs{Filter: f, Bounce: bounce}, nil)
	if err != nil {
		return err
	}
	var n management.Acted
	if err := json.Unmarshal(ok, &n); err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "%d %s\n", n.Changed, done)
	return nil
}

type queueRetryCmd struct{ chosen }

func (queueRetryCmd) Help() string {
	return `Example:
  samotop queue retry --destination example.net`
}

func (c *queueRetryCmd) Run(e *env) error { return c.act(e, "retry", "to be tried now", false) }

type queueHoldCmd struct{ chosen }

func (queueHoldCmd) Help() string {
	return `Example:
  samotop queue hold --sender @example.org`
}

func (c *queueHoldCmd) Run(e *env) error { return c.act(e, "hold", "held", false) }

type queueReleaseCmd struct{ chosen }

func (queueReleaseCmd) Help() string {
	return `Example:
  samotop queue release --all`
}

func (c *queueReleaseCmd) Run(e *env) error { return c.act(e, "release", "released", false) }

type queueRemoveCmd struct {
	chosen
	Bounce bool `help:"Tell the senders that their mail was not delivered."`
}

func (queueRemoveCmd) Help() string {
	return `Example:
  samotop queue remove 01HZX3Q --bounce`
}

func (c *queueRemoveCmd) Run(e *env) error { return c.act(e, "remove", "removed", c.Bounce) }

type queueStatsCmd struct {
	filterFlags
	jsonFlag
}

func (queueStatsCmd) Help() string {
	return `Example:
  samotop queue stats --json
  samotop queue stats --sender @example.org --older-than 4h`
}

func (c *queueStatsCmd) Run(e *env) error {
	var s management.QueueStats
	if err := e.call(queueRooms, "queue/stats", c.filter(nil, false), &s); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, s)
	}
	more := ""
	if s.Truncated {
		more = " or more"
	}
	fmt.Fprintf(e.stdout, "Messages    %d%s\nRecipients  %d%s\nDeferred    %d\nHeld        %d\nActive      %d\nConnections %d\n",
		s.Messages, more, s.Recipients, more, s.Deferred, s.Held, s.Active, s.Connections)
	if s.Oldest != nil {
		fmt.Fprintf(e.stdout, "Oldest      %s\n", stamp(*s.Oldest))
	}
	printCounts(e.stdout, "Attempts ", s.Attempts)
	printCounts(e.stdout, "TLS      ", s.TLS)
	if len(s.Paused) > 0 {
		fmt.Fprintf(e.stdout, "Paused      %s\n", strings.Join(s.Paused, " "))
	}
	t := newTable(e.stdout, false, "destination\trecipients\tconnections\tlast error", func(d management.Destination) string {
		if d.Paused {
			d.LastError = strings.TrimSpace("paused " + d.LastError)
		}
		return fmt.Sprintf("%s\t%d\t%d\t%s", d.Name, d.Recipients, d.Connections, printableText(d.LastError))
	})
	var err error
	for _, d := range s.Destinations {
		if err = t.add(d); err != nil {
			break
		}
	}
	return t.end(err)
}

// printCounts prints what has happened, and nothing of what has not.
func printCounts(w io.Writer, title string, counts []management.Count) {
	var parts []string
	for _, c := range counts {
		if c.Count > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", c.What, c.Count))
		}
	}
	if len(parts) > 0 {
		fmt.Fprintf(w, "%s   %s\n", title, strings.Join(parts, ", "))
	}
}
