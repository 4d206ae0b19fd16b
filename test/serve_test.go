package test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/samotop/samotop/internal/certs"
)

// TestSecondServe: who comes second is told who was first.
func TestSecondServe(t *testing.T) {
	h := newHouse(t, "a.test")
	h.start()
	out, err := h.try("", "serve")
	if err == nil || !regexp.MustCompile(`in use by process \d+`).MatchString(out) {
		t.Errorf("%v: %s", err, out)
	}
	h.drain()
	h.start()
	h.drain()
}

// TestPortTaken: the address, the cause and the remedy are told, and nothing keeps listening.
func TestPortTaken(t *testing.T) {
	h := newHouse(t, "a.test")
	l, err := net.Listen("tcp", h.addr(143))
	if err != nil {
		t.Fatal(err)
	}
	out, err := h.try("", "serve")
	if err == nil || !strings.Contains(out, h.addr(143)) || !strings.Contains(out, "another program has that port") {
		t.Errorf("%v: %s", err, out)
	}
	l.Close()
	h.start()
}

// TestDrain: SIGTERM lets a transaction finish, tells idle sessions to go, takes no new ones, and loses nothing.
func TestDrain(t *testing.T) {
	h := newHouse(t, "a.test", "bob")
	h.start()
	busy, idle, reader := h.talk(25), h.talk(25), h.talk(143)
	busy.hear("220")
	for _, line := range []string{"EHLO x.example", "MAIL FROM:<x@x.example>", "RCPT TO:<bob@a.test>", "DATA"} {
		busy.say(line)
		busy.hear(map[string]string{"EHLO x.example": "250 ", "DATA": "354"}[line])
	}
	busy.say("Subject: half\r\n\r\nfirst half")
	idle.hear("220")
	reader.hear("* OK")
	if err := h.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	idle.hear("421")
	reader.hear("* BYE")
	if c, err := net.Dial("tcp", h.addr(25)); err == nil {
		c.SetReadDeadline(time.Now().Add(patience))
		if b, _ := io.ReadAll(c); strings.HasPrefix(string(b), "220") {
			t.Error("a new session was taken")
		}
	}
	busy.say("second half\r\n.")
	if r := busy.hear("2"); !strings.HasPrefix(r, "250") {
		t.Error(r)
	}
	busy.hear("421")
	if err := h.wait(); err != nil {
		t.Fatalf("%v\n%s", err, h.log)
	}
	h.start()
	if got := h.await("bob@a.test", 1); !strings.Contains(got[0], "first half\r\nsecond half\r\n") {
		t.Error(got[0])
	}
}

// TestCertificateRenewal: new files are taken up, a session that runs goes on.
func TestCertificateRenewal(t *testing.T) {
	h := newHouse(t, "a.test")
	h.start()
	c := h.imap("admin@a.test")
	defer c.Close()
	fresh := t.TempDir()
	cert, key := filepath.Join(fresh, "c"), filepath.Join(fresh, "k")
	if err := certs.Write(cert, key, certs.Request{Hosts: []string{"renewed.a.test"}}); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{cert: "cert.pem", key: "key.pem"} {
		if err := os.Rename(from, filepath.Join(h.dir, "tls", to)); err != nil {
			t.Fatal(err)
		}
	}
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		n, err := tls.Dial("tcp", h.addr(465), insecure)
		if err != nil {
			t.Fatal(err)
		}
		name := n.ConnectionState().PeerCertificates[0].Subject.CommonName
		n.Close()
		if name == "renewed.a.test" {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the new certificate is not used: ", name)
		}
	}
	if err := c.Noop().Wait(); err != nil {
		t.Error("the session was dropped: ", err)
	}
}

// TestCopy: a house that stands still may be copied; the copy is the same house.
func TestCopy(t *testing.T) {
	h := newHouse(t, "a.test", "bob")
	h.start()
	if err := h.send("x@x.example", []string{"bob@a.test"}, letter("x@x.example", "bob@a.test", "kept", "hello")); err != nil {
		t.Fatal(err)
	}
	h.drain()
	copied := filepath.Join(t.TempDir(), "a directory whose name is so long that no socket address could ever hold the path of a socket in it, whatever it is called")
	if out, err := exec.Command("cp", "-a", h.dir, copied).CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	h.dir = copied
	h.start()
	if got := h.await("bob@a.test", 1); !strings.Contains(got[0], "Subject: kept") {
		t.Error(got[0])
	}
	if out := h.run("", "status"); !strings.Contains(out, "running since") {
		t.Error(out)
	}
}

// TestNoRelay: nobody who has not logged in sends through the house, whatever is trusted or routed.
func TestNoRelay(t *testing.T) {
	h := newHouse(t, "a.test")
	h.dropIn("open", "[mta]\ntrusted = [\"127.0.0.0/8\"]\n[[qm.route]]\ndomain = \"*\"\nto = \"smtp://127.0.0.1:9\"\n")
	h.start()
	for _, port := range []int{25, 24} {
		c := h.talk(port)
		c.hear("220")
		c.say(map[int]string{25: "EHLO x.example", 24: "LHLO x.example"}[port])
		c.hear("250 ")
		c.say("MAIL FROM:<admin@a.test>")
		c.hear("250")
		c.say("RCPT TO:<victim@elsewhere.example>")
		c.hear("550")
	}
	c := h.talk(587)
	c.hear("220")
	c.say("EHLO x.example")
	c.hear("250 ")
	c.say("MAIL FROM:<admin@a.test>")
	c.hear("530")
}

// TestDevAsPrinted runs the commands that dev prints, as they are.
func TestDevAsPrinted(t *testing.T) {
	need(t, "curl")
	dir := t.TempDir()
	h := &house{t: t, dir: filepath.Join(dir, ".samotop-dev"), base: freeBase(t)}
	for round := 1; round <= 2; round++ { // the second finds the mail of the first
		printed := h.dev(dir)
		var send, swaks, read string
		for _, line := range strings.Split(printed, "\n") {
			line = strings.TrimSpace(line)
			switch {
			case strings.HasPrefix(line, "printf"):
				send = line
			case strings.HasPrefix(line, "swaks"):
				swaks = line
			case strings.HasPrefix(line, "curl"):
				read = line
			}
		}
		shell(t, send)
		waitFor(t, read, "Hello, Bob.")
		if _, err := exec.LookPath("swaks"); err == nil {
			shell(t, swaks)
		}
		h.drain()
	}
}

// dev runs samotop dev in a directory and returns what it printed.
func (h *house) dev(in string) string {
	h.t.Helper()
	out := &output{news: make(chan struct{}, 1)}
	h.log = out
	h.cmd = exec.Command(binary, "dev", "--port-base", fmt.Sprint(h.base))
	h.cmd.Dir, h.cmd.Stdout, h.cmd.Stderr = in, out, out
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := h.cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.ended = make(chan error, 1)
	cmd, ended := h.cmd, h.ended
	go func() { ended <- cmd.Wait() }()
	h.t.Cleanup(func() { cmd.Process.Kill() })
	for limit := time.After(patience); !strings.Contains(out.String(), "Stop with Ctrl-C"); {
		select {
		case <-out.news:
		case err := <-ended:
			h.t.Fatal(err, out)
		case <-limit:
			h.t.Fatal("dev does not come up: ", out)
		}
	}
	return out.String()
}

func shell(t *testing.T, command string) string {
	t.Helper()
	out, err := exec.Command("/bin/sh", "-c", command).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return string(out)
}

// waitFor repeats a command until it prints something.
func waitFor(t *testing.T, command, want string) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		out, _ := exec.Command("/bin/sh", "-c", command).CombinedOutput()
		if strings.Contains(string(out), want) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %s", command, out)
		}
	}
}
