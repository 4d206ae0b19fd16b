package imaptest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"
)

// Config says what to run, and against whom.
type Config struct {
	// Dial connects to the server. The connection must be one on which LOGIN is allowed.
	Dial     func(ctx context.Context) (net.Conn, error)
	User     string
	Password string
	Script   string        // path of the script
	Mailbox  string        // what $mailbox is; "": "imaptest"
	Timeout  time.Duration // of each reply; 0: 10 seconds
}

// Report is what came of it.
type Report struct {
	Script   string // its name
	Skipped  string // why it was not run, "" if it was
	Groups   int    // that were run
	Failures []Failure
}

// Failure is an expectation that was not met. The script ends there.
type Failure struct {
	Line    int // of the script
	Command string
	Text    string // what was wrong
	Replies []string
}

func (f Failure) String() string {
	cut := func(s string) string {
		if len(s) > 500 {
			return s[:500] + "..."
		}
		return s
	}
	out := fmt.Sprintf("line %d: %s: %s", f.Line, cut(f.Command), cut(f.Text))
	for _, r := range f.Replies {
		out += "\n\t" + cut(r)
	}
	return out
}

// Run runs a script. The error is about the script or the connection; what the server did wrong is in the Report.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	if cfg.Mailbox == "" {
		cfg.Mailbox = "imaptest"
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Second
	}
	s, err := readScript(cfg.Script)
	if err != nil {
		return nil, fmt.Errorf("imaptest: %w", err)
	}
	r := &runner{cfg: &cfg, s: s, report: &Report{Script: filepath.Base(cfg.Script)}}
	defer r.close()
	if err := r.run(ctx); err != nil {
		return r.report, fmt.Errorf("imaptest: %s: %w", r.report.Script, err)
	}
	return r.report, nil
}

type runner struct {
	cfg     *Config
	s       *script
	report  *Report
	conns   []*client
	vars    map[string]node
	appends int // messages of the mbox that were used
}

func (r *runner) close() {
	for _, c := range r.conns {
		_ = c.nc.Close()
	}
}

func (r *runner) run(ctx context.Context) error {
	user, domain, _ := strings.Cut(r.cfg.User, "@")
	r.vars = map[string]node{}
	for k, v := range map[string]string{
		"mailbox": r.cfg.Mailbox, "user": r.cfg.User, "username": user, "domain": domain, "password": r.cfg.Password,
	} {
		r.vars[k] = node{text: v}
	}
	for range r.s.connections {
		c, err := dial(ctx, r.cfg)
		if err != nil {
			return err
		}
		r.conns = append(r.conns, c)
	}
	missing, err := r.prepare(ctx)
	if err != nil || missing != "" {
		r.report.Skipped = missing
		return err
	}
	for i := range r.s.groups {
		if err := ctx.Err(); err != nil {
			return err
		}
		r.report.Groups++
		if fail := r.group(&r.s.groups[i]); fail != nil {
			r.report.Failures = append(r.report.Failures, *fail)
			return nil
		}
	}
	return nil
}

// prepare checks the capabilities and brings the server to the state that the script wants.
func (r *runner) prepare(ctx context.Context) (missing string, err error) {
	caps, err := r.capabilities(ctx)
	if err != nil {
		return "", err
	}
	for _, want := range r.s.caps {
		if !containsFold(caps, want) {
			return "the server does not advertise " + want, nil
		}
	}
	levels := map[string]int{"nonauth": 0, "auth": 1, "created": 2, "appended": 3, "selected": 4}
	level, ok := levels[r.s.state]
	if !ok {
		return "", fmt.Errorf("there is no state %q", r.s.state)
	}
	if level >= 1 {
		for _, c := range r.conns {
			if err := r.must(c, "login", quote(r.cfg.User), quote(r.cfg.Password)); err != nil {
				return "", err
			}
		}
		if err := r.clean(r.conns[0]); err != nil {
			return "", err
		}
	}
	if level >= 2 {
		if err := r.must(r.conns[0], "create", quote(r.cfg.Mailbox)); err != nil {
			return "", err
		}
	}
	if level >= 3 {
		n := r.s.messages
		if n < 0 {
			n = len(r.s.mbox)
		}
		for range n {
			if err := r.mustAppend(); err != nil {
				return "", err
			}
		}
	}
	if level >= 4 {
		for _, c := range r.conns {
			if err := r.must(c, "select", quote(r.cfg.Mailbox)); err != nil {
				return "", err
			}
		}
	}
	return "", nil
}

// capabilities asks on a connection of its own, logged in, since some are shown only then.
func (r *runner) capabilities(ctx context.Context) ([]string, error) {
	c, err := dial(ctx, r.cfg)
	if err != nil {
		return nil, err
	}
	defer c.nc.Close()
	if err := r.must(c, "login", quote(r.cfg.User), quote(r.cfg.Password)); err != nil {
		return nil, err
	}
	var caps []string
	replies, _, err := r.simple(c, []node{{text: "capability"}})
	for _, rep := range replies {
		if replyName(rep.args) == "capability" {
			for _, a := range rep.args[1:] {
				caps = append(caps, a.text)
			}
		}
	}
	return caps, err
}

func quote(s string) node { return node{text: strings.ReplaceAll(s, "$", "$$"), quoted: true} }

// simple runs a command of our own.
func (r *runner) simple(c *client, words []node) (replies []*reply, st string, err error) {
	tag := c.nextTag()
	take := func(rep *reply) error {
		if rep.tag == tag {
			st = replyName(rep.args)
		} else {
			replies = append(replies, rep)
		}
		return nil
	}
	err = c.send(tag, words, &env{vars: r.vars, seq: c.seq}, take)
	if errors.Is(err, errEnded) {
		return replies, st, nil
	}
	for err == nil && st == "" {
		var rep *reply
		if rep, err = c.read(); err == nil {
			err = take(rep)
		}
	}
	return replies, st, err
}

func (r *runner) must(c *client, verb string, args ...node) error {
	_, st, err := r.simple(c, append([]node{{text: verb}}, args...))
	if err == nil && st != "ok" {
		err = fmt.Errorf("the server answers %s to %s while the test is prepared", st, verb)
	}
	return err
}

func (r *runner) mustAppend() error {
	words := append([]node{{text: "append"}, quote(r.cfg.Mailbox)}, r.nextMessage()...)
	_, st, err := r.simple(r.conns[0], words)
	if err == nil && st != "ok" {
		err = fmt.Errorf("the server answers %s to APPEND while the test is prepared", st)
	}
	return err
}

// nextMessage gives the arguments that append the next message of the mbox.
func (r *runner) nextMessage() []node {
	if len(r.s.mbox) == 0 {
		return nil
	}
	m := r.s.mbox[r.appends%len(r.s.mbox)]
	r.appends++
	lit := node{kind: literal, text: string(m.body)}
	if m.date == "" {
		return []node{lit}
	}
	return []node{quote(m.date), lit}
}

// clean deletes the test mailboxes and subscriptions to them, the deepest first.
func (r *runner) clean(c *client) error {
	for _, verb := range []string{"list", "lsub"} {
		replies, _, err := r.simple(c, []node{{text: verb}, quote(""), quote(r.cfg.Mailbox + "*")})
		if err != nil {
			return err
		}
		var names []string
		for _, rep := range replies {
			if n := replyName(rep.args); (n == "list" || n == "lsub") && len(rep.args) >= 4 {
				names = append(names, rep.args[3].text)
			}
		}
		sort.Sort(sort.Reverse(sort.StringSlice(names)))
		for _, name := range names {
			cmd := "delete"
			if verb == "lsub" {
				cmd = "unsubscribe"
			}
			if _, _, err := r.simple(c, []node{{text: cmd}, quote(name)}); err != nil { // a mere level of names may refuse
				return err
			}
		}
	}
	return nil
}

// group runs the commands of a group and checks what comes.
func (r *runner) group(g *group) *Failure {
	c := r.conns[g.conn-1]
	c.gone = nil
	x := &exchange{r: r, c: c, g: g, e: &env{vars: r.vars, seq: c.seq}, waiting: map[string]int{}}
	for i := range g.expect {
		g.expect[i].matched = false
	}
	err := x.talk()
	r.vars = x.e.vars
	if err == nil {
		err = x.complete()
	}
	if err == nil {
		return nil
	}
	line := g.line
	var at atLine
	if errors.As(err, &at) {
		line = int(at)
	}
	return &Failure{Line: line, Command: g.commands[0].text, Text: err.Error(), Replies: x.log}
}

// exchange is a group while it runs.
type exchange struct {
	r       *runner
	c       *client
	g       *group
	e       *env
	waiting map[string]int // tags without an answer, to their commands
	log     []string
}

// atLine is an error's line in the script.
type atLine int

func (a atLine) Error() string { return "line " + strconv.Itoa(int(a)) }

func (x *exchange) talk() error {
	for i := range x.g.commands {
		tag := x.c.nextTag()
		x.waiting[tag] = i
		x.e.vars["tag"] = node{text: tag}
		err := x.c.send(tag, x.r.words(&x.g.commands[i]), x.e, x.take)
		if err != nil && !errors.Is(err, errEnded) {
			return err
		}
	}
	for len(x.waiting) > 0 {
		rep, err := x.c.read()
		if err != nil {
			return err
		}
		if err := x.take(rep); err != nil {
			return err
		}
	}
	return nil
}

// words completes APPEND by the next message.
func (r *runner) words(cmd *command) []node {
	w := cmd.words
	if len(w) == 0 || !strings.EqualFold(w[0].text, "append") {
		return w
	}
	for i := range w {
		if w[i].kind == literal {
			return w
		}
	}
	w = append([]node(nil), w...)
	if len(w) == 1 {
		w = append(w, node{text: "$mailbox"})
	}
	return append(w, r.nextMessage()...)
}

// take looks at one reply.
func (x *exchange) take(rep *reply) error {
	x.log = append(x.log, rep.text)
	if i, ok := x.waiting[rep.tag]; ok {
		delete(x.waiting, rep.tag)
		return x.tagged(&x.g.commands[i], rep)
	}
	if rep.tag == "+" {
		return nil
	}
	if rep.tag != "*" {
		return fmt.Errorf("tag of %q is of no command that waits", rep.text)
	}
	if err := x.untagged(rep); err != nil {
		return err
	}
	if len(rep.args) == 2 && strings.EqualFold(rep.args[1].text, "expunge") {
		k, err := strconv.Atoi(rep.args[0].text)
		if err != nil || k < 1 {
			return fmt.Errorf("%q is no EXPUNGE", rep.text)
		}
		x.c.expunged(k)
	}
	return nil
}

func (x *exchange) tagged(cmd *command, rep *reply) error {
	st := replyName(rep.args)
	if cmd.status != "" && st != cmd.status {
		return fmt.Errorf("expected %s, got %q", cmd.status, rep.text)
	}
	if !x.e.matchReply(cmd.prefix, rep.args[1:], true) {
		return fmt.Errorf("expected the answer to begin with %s, got %q", show(cmd.prefix), rep.text)
	}
	return nil
}

// untagged finds the expectations that a reply meets. It may meet several different ones, but of the same line
// written twice only one.
func (x *exchange) untagged(rep *reply) error {
	prefix := false
	switch replyName(rep.args) {
	case "ok", "no", "bad", "bye", "preauth":
		prefix = true
	}
	met := map[string]bool{}
	for i := range x.g.expect {
		want := &x.g.expect[i]
		if want.matched || met[want.text] {
			continue
		}
		if want.absent {
			if x.e.clone().matchReply(want.args, rep.args, prefix) {
				return fmt.Errorf("%w: %q must not come, got %q", atLine(want.line), want.text, rep.text)
			}
			continue
		}
		if x.e.matchReply(want.args, rep.args, prefix) {
			want.matched, met[want.text] = true, true
		}
	}
	if x.r.s.strict && len(met) == 0 {
		return fmt.Errorf("%q was not expected", rep.text)
	}
	return nil
}

// complete reports expectations that nothing met.
func (x *exchange) complete() error {
	for i := range x.g.expect {
		if w := &x.g.expect[i]; !w.matched && !w.absent && !w.maybe {
			return fmt.Errorf("%w: %q did not come", atLine(w.line), w.text)
		}
	}
	return nil
}

func show(nodes []node) string {
	var b bytes.Buffer
	for i := range nodes {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(nodes[i].String())
	}
	return b.String()
}
