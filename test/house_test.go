package test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/smtp"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-sasl"
	"github.com/samotop/samotop/internal/testports"
)

// patience is the longest that anything is waited for. Nothing is asserted about time.
const patience = 2 * time.Minute

// password is that of every account.
const password = "secret-0"

// house is one samotop process with its directory.
type house struct {
	t      *testing.T
	dir    string
	base   int
	domain string
	process
}

// process is a running samotop.
type process struct {
	cmd   *exec.Cmd
	ended chan error
	log   *output
}

// output gathers what a process writes.
type output struct {
	mu   sync.Mutex
	b    bytes.Buffer
	news chan struct{}
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case o.news <- struct{}{}:
	default:
	}
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// newHouse makes a house for a domain with accounts; it is not started.
func newHouse(t *testing.T, domain string, names ...string) *house {
	t.Helper()
	h := &house{t: t, dir: filepath.Join(t.TempDir(), "house"), base: freeBase(t), domain: domain}
	h.run(password, "quickstart", "--listen", "127.0.0.1", "--port-base", fmt.Sprint(h.base), "--password-file", "-", "admin@"+domain)
	for _, n := range names {
		h.run(password, "account", "add", n+"@"+domain, "--password-file", "-")
	}
	h.dropIn("dns", "[dns]\nresolver = [\"127.0.0.1:9\"] # nobody: no test asks the world\n")
	return h
}

// freeBase returns a port base that is this test's alone.
func freeBase(t *testing.T) int {
	t.Helper()
	base, release, err := testports.Base()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return base
}

// dropIn writes DIR/samotop.d/NAME.toml.
func (h *house) dropIn(name, text string) {
	h.t.Helper()
	if err := os.WriteFile(filepath.Join(h.dir, "samotop.d", name+".toml"), []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// route sends the mail for another house's domain there.
func (h *house) route(to *house) {
	h.dropIn("route-"+to.domain, fmt.Sprintf("[[qm.route]]\ndomain = %q\nto = \"smtp://%s\"\n", to.domain, to.addr(25)))
}

// addr is where a standard port listens.
func (h *house) addr(port int) string { return fmt.Sprintf("127.0.0.1:%d", h.base+port) }

// run runs a verb and returns what it printed.
func (h *house) run(stdin string, args ...string) string {
	h.t.Helper()
	out, err := h.try(stdin, args...)
	if err != nil {
		h.t.Fatalf("samotop %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (h *house) try(stdin string, args ...string) (string, error) {
	c := exec.Command(binary, append(args, "--dir", h.dir)...)
	c.Stdin = strings.NewReader(stdin)
	out, err := c.CombinedOutput()
	return string(out), err
}

// start serves, and returns when the house is ready. It is stopped when the test ends.
func (h *house) start() {
	h.t.Helper()
	if err := h.launch(); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) launch() (err error) {
	h.process, err = h.serve()
	return err
}

// serve runs the rooms, all if none is named, in a process of their own.
func (h *house) serve(rooms ...string) (p process, err error) { return h.serveBy(binary, rooms...) }

// serveBy is serve with a program that runs the program under test.
func (h *house) serveBy(program string, rooms ...string) (p process, err error) {
	c := exec.Command(program, append([]string{"serve", "--dir", h.dir}, rooms...)...)
	c.SysProcAttr = &syscall.SysProcAttr{}
	return h.ready(c)
}

// ready starts a command that serves and returns when it is ready.
func (h *house) ready(c *exec.Cmd) (p process, err error) {
	p.log, p.cmd = &output{news: make(chan struct{}, 1)}, c
	p.cmd.Stderr = p.log
	p.cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	if err := p.cmd.Start(); err != nil {
		return p, err
	}
	p.ended = make(chan error, 1)
	go func() { p.ended <- p.cmd.Wait() }()
	h.t.Cleanup(func() { p.cmd.Process.Kill() })
	limit := time.After(patience)
	for {
		select {
		case <-p.log.news:
			if strings.Contains("\n"+p.log.String(), "\nready\n") {
				return p, nil
			}
		case err := <-p.ended:
			return p, fmt.Errorf("serve ended at once: %v\n%s", err, p.log)
		case <-limit:
			return p, fmt.Errorf("serve is not ready\n%s", p.log)
		}
	}
}

// stop ends the house with a signal and waits for its end.
func (h *house) stop(sig os.Signal) error {
	h.t.Helper()
	if err := h.cmd.Process.Signal(sig); err != nil {
		h.t.Fatal(err)
	}
	return h.wait()
}

func (h *house) wait() error {
	h.t.Helper()
	select {
	case err := <-h.ended:
		return err
	case <-time.After(patience):
		h.t.Fatalf("serve does not end\n%s", h.log)
		return nil
	}
}

// drain stops the house with SIGTERM, which must be clean.
func (h *house) drain() {
	h.t.Helper()
	if err := h.stop(syscall.SIGTERM); err != nil {
		h.t.Fatalf("serve: %v\n%s", err, h.log)
	}
}

var insecure = &tls.Config{InsecureSkipVerify: true}

// send delivers to port 25 as another server would.
func (h *house) send(from string, to []string, message string) error {
	c, err := smtp.Dial(h.addr(25))
	if err != nil {
		return err
	}
	defer c.Close()
	return transact(c, from, to, message)
}

// submit sends as an account of the house, by 587 with STARTTLS.
func (h *house) submit(user string, to []string, message string) error {
	c, err := h.login(user)
	if err != nil {
		return err
	}
	defer c.Close()
	return transact(c, user, to, message)
}

func (h *house) login(user string) (*smtp.Client, error) {
	c, err := smtp.Dial(h.addr(587))
	if err != nil {
		return nil, err
	}
	if err = c.StartTLS(insecure); err == nil {
		err = c.Auth(smtp.PlainAuth("", user, password, "127.0.0.1"))
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func transact(c *smtp.Client, from string, to []string, message string) error {
	if err := c.Mail(from); err != nil {
		return err
	}
	for _, r := range to {
		if err := c.Rcpt(r); err != nil {
			return err
		}
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := io.WriteString(w, message); err != nil {
		return err
	}
	return w.Close()
}

// imap logs in.
func (h *house) imap(user string) *imapclient.Client {
	h.t.Helper()
	c, err := imapclient.DialTLS(h.addr(993), &imapclient.Options{TLSConfig: insecure})
	if err != nil {
		h.t.Fatal(err)
	}
	if err := c.Authenticate(sasl.NewPlainClient("", user, password)); err != nil { // LOGIN has no way to say ü
		h.t.Fatal(err)
	}
	return c
}

// messages reads a whole mailbox.
func (h *house) messages(user, mailbox string) []string {
	h.t.Helper()
	c := h.imap(user)
	defer c.Close()
	sel, err := c.Select(mailbox, nil).Wait()
	if err != nil {
		h.t.Fatal(err)
	}
	if sel.NumMessages == 0 {
		return nil
	}
	all := imap.SeqSet{}
	all.AddRange(1, 0)
	got, err := c.Fetch(all, &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{{Peek: true}}}).Collect()
	if err != nil {
		h.t.Fatal(err)
	}
	var out []string
	for _, m := range got {
		out = append(out, string(m.BodySection[0].Bytes))
	}
	return out
}

// await waits until a mailbox holds as many messages, and returns them. More is a fault.
func (h *house) await(user string, n int) []string {
	h.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		got := h.messages(user, "INBOX")
		switch {
		case len(got) == n:
			return got
		case len(got) > n:
			h.t.Fatalf("%s has %d messages, not %d", user, len(got), n)
		case time.Now().After(end):
			h.t.Fatalf("%s has %d messages, not %d\n%s", user, len(got), n, h.log)
		}
	}
}

// queued waits until the queue holds as many messages.
func (h *house) queued(n int) {
	h.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		lines, out := h.inQueue()
		if lines == n {
			return
		}
		if time.Now().After(end) {
			h.t.Fatalf("the queue has %d messages, not %d:\n%s", lines, n, out)
		}
	}
}

// inQueue returns how many lines queue list has, without its head, and all of it.
func (h *house) inQueue() (int, string) {
	h.t.Helper()
	out := h.run("", "queue", "list")
	return max(0, strings.Count(out, "\n")-1), out
}

// letter is a small message.
func letter(from, to, subject, text string) string {
	return "From: " + from + "\r\nTo: " + to + "\r\nSubject: " + subject + "\r\nDate: " + time.Now().Format(time.RFC1123Z) +
		"\r\nMessage-ID: <" + fmt.Sprint(rand.Uint64()) + "@test>\r\n\r\n" + text + "\r\n"
}

// need skips a test by name if a program is missing.
func need(t *testing.T, program string) string {
	t.Helper()
	p, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("%s is not installed", program)
	}
	return p
}

// conversation speaks a line protocol.
type conversation struct {
	t *testing.T
	c net.Conn
	r *bufio.Reader
}

func (h *house) talk(port int) *conversation {
	h.t.Helper()
	c, err := net.Dial("tcp", h.addr(port))
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { c.Close() })
	return h.conversation(c)
}

func (h *house) conversation(c net.Conn) *conversation {
	c.SetDeadline(time.Now().Add(patience))
	return &conversation{h.t, c, bufio.NewReader(c)}
}

func (c *conversation) say(line string) {
	c.t.Helper()
	if _, err := io.WriteString(c.c, line+"\r\n"); err != nil {
		c.t.Fatal(err)
	}
}

// hear reads until a line begins so, and fails at the end of the connection.
func (c *conversation) hear(prefix string) string {
	c.t.Helper()
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			c.t.Fatalf("waiting for %q: %v", prefix, err)
		}
		if strings.HasPrefix(line, prefix) {
			return line
		}
	}
}
