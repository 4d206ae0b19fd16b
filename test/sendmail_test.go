package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// sendmail is the command of that name, run by some user.
type sendmail struct {
	h    *house
	path string
}

func newSendmail(h *house) sendmail {
	h.t.Helper()
	dir := h.t.TempDir() // where another user may go
	s := sendmail{h, filepath.Join(dir, "sendmail")}
	if err := os.Link(binary, s.path); err != nil {
		h.t.Fatal(err)
	}
	for d := dir; strings.HasPrefix(d, os.TempDir()+"/"); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			h.t.Fatal(err)
		}
	}
	return s
}

// as runs a command with SAMOTOP_DIR set as a user and returns what it printed and its exit status.
func (s sendmail) as(uid uint32, stdin, name string, args ...string) (string, int) {
	s.h.t.Helper()
	c := exec.Command(name, args...)
	c.Dir = "/"
	c.Env = append(os.Environ(), "SAMOTOP_DIR="+s.h.dir, "HOME=/nonexistent")
	c.Stdin = strings.NewReader(stdin)
	if os.Getuid() == 0 {
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	}
	out, err := c.CombinedOutput()
	if c.ProcessState == nil {
		s.h.t.Fatal(err)
	}
	return string(out), c.ProcessState.ExitCode()
}

func (s sendmail) want(status int, contains string, uid uint32, stdin string, args ...string) {
	s.h.t.Helper()
	out, got := s.as(uid, stdin, s.path, args...)
	if got != status || !strings.Contains(out, contains) {
		s.h.t.Errorf("sendmail %q by %d: exit status %d, not %d:\n%s", args, uid, got, status, out)
	}
}

// TestSendmail: users of the machine send as themselves and as nobody else, also while the house is down, and by the programs
// that they use.
func TestSendmail(t *testing.T) {
	h := newHouse(t, "a.test", "alice")
	h.dropIn("route", fmt.Sprintf("[[qm.route]]\ndomain = \"gone.test\"\nto = \"smtp://%s\"\n", h.addr(25))) // our own mta, which refuses it
	s := newSendmail(h)
	user := uint32(nobodyID)
	if os.Getuid() != 0 {
		user = uint32(os.Getuid()) // then all of it is tried as ourselves
	}
	s.want(0, "", user, "Subject: early\n\nx\n", "alice@a.test")
	s.want(0, "", user, "Subject: not taken\n\nx\n", "-f", "alice@a.test", "alice@a.test")
	h.start()
	early := 1
	if os.Getuid() != 0 {
		early = 2 // who runs the house may send as anybody
	}
	m := h.await("alice@a.test", early)
	if os.Getuid() == 0 {
		if !strings.Contains(m[0], "From: nobody <nobody@mx.a.test>") || !strings.Contains(m[0], "Return-Path: <nobody@mx.a.test>") {
			t.Errorf("not from nobody:\n%s", m[0])
		}
		if left, err := os.ReadDir(filepath.Join(h.dir, "spool", "refused")); err != nil || len(left) != 1 {
			t.Errorf("what may not be sent is not put aside: %v, %v", left, err)
		}
		s.want(77, "nobody may not send as <alice@a.test>", user, "Subject: x\n\nx\n", "-f", "alice@a.test", "alice@a.test")
		s.want(77, "nobody may not send as <alice@a.test>", user, "From: alice@a.test\n\nx\n", "alice@a.test")
		s.want(77, "permission denied", user, "", "-bp")
		if _, err := os.ReadFile(filepath.Join(h.dir, "spool", "drop")); err == nil {
			t.Error("the drop is a file")
		}
		if out, _ := s.as(user, "", "ls", filepath.Join(h.dir, "spool", "drop")); !strings.Contains(out, "ermission denied") {
			t.Errorf("others see what is dropped: %s", out)
		}
	}
	s.want(67, "550", 0, "Subject: x\n\nx\n", "nix@a.test")
	s.want(0, "", 0, "Subject: x\n\nx\n", "-f", "boss@elsewhere.test", "alice@a.test")
	h.await("alice@a.test", early+1)

	mutt := need(t, "mutt")
	rc := filepath.Join(filepath.Dir(s.path), "muttrc")
	if err := os.WriteFile(rc, []byte(fmt.Sprintf("set sendmail=%q\nset copy=no\n", s.path+" -oem -oi")), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, code := s.as(user, "written with mutt\n", mutt, "-F", rc, "-s", "Grüße", "--", "alice@a.test"); code != 0 {
		t.Errorf("mutt: %d\n%s", code, out)
	}
	python := need(t, "python3")
	script := `import subprocess, email.message
m = email.message.EmailMessage()
m["To"], m["Bcc"], m["Subject"] = "alice@a.test", "root", "from python"
m.set_content("one\n.\ntwo\n")
subprocess.run([%q, "-t", "-oi"], input=m.as_bytes(), check=True)`
	if out, code := s.as(0, "", python, "-c", fmt.Sprintf(script, s.path)); code != 0 {
		t.Errorf("python: %d\n%s", code, out)
	}
	for _, m := range h.await("alice@a.test", early+3) {
		if strings.Contains(m, "\nBcc:") {
			t.Errorf("Bcc is shown:\n%s", m)
		}
	}
	h.await("admin@a.test", 1) // root's mail
	s.want(0, "", user, "Subject: to nobody\n\nx\n", "x@gone.test")
	for _, m := range h.await("admin@a.test", 2)[1:] { // a user of the machine has no mailbox: the postmaster is told
		if !strings.Contains(m, "multipart/report") || !strings.Contains(m, "x@gone.test") {
			t.Errorf("this is no report:\n%s", m)
		}
	}
}

// TestSendmailSplit: the same by the msa of a house that is split, which may write nowhere else.
func TestSendmailSplit(t *testing.T) {
	s := newSplit(t, "s.test", "alice")
	m := newSendmail(s.house)
	m.want(0, "queued as", 0, "Subject: up\n\nx\n", "-v", "alice@s.test")
	s.await("alice@s.test", 1)
	s.kill("msa", syscall.SIGKILL)
	m.want(0, "dropped", 0, "Subject: down\n\nx\n", "-v", "alice@s.test")
	s.startRoom("msa")
	s.await("alice@s.test", 2)
	s.kill("qm", syscall.SIGKILL)
	m.want(0, "dropped", 0, "Subject: without the queue\n\nx\n", "-v", "alice@s.test")
	s.startRoom("qm")
	s.await("alice@s.test", 3)
}
