package delivery_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mail/mailtest"
	"github.com/samotop/samotop/smtp/delivery"
	"github.com/samotop/samotop/smtp/smtptest"
)

var (
	alice = mail.Address{Local: "alice", Domain: "example.test"}
	bob   = mail.Address{Local: "bob", Domain: "example.test"}
	carol = mail.Address{Local: "carol", Domain: "example.test"}
	forms = []mailtest.Form{{Name: "pipe", Wrap: smtptest.OverPipe}, {Name: "unix", Wrap: smtptest.OverUnix}}
)

func TestMaildirSuite(t *testing.T) {
	mailtest.Run(t, mailtest.Suite{
		New: func(t *testing.T) (mail.Door, mailtest.Probe) {
			root := t.TempDir()
			d := &delivery.Maildir{For: func(_ context.Context, r *mail.Recipient) (string, error) {
				if r.Address == carol {
					return "", nil
				}
				return filepath.Join(root, r.Address.Local), nil
			}}
			return d, func(_ context.Context, to mail.Address) ([][]byte, error) {
				if left, _ := filepath.Glob(filepath.Join(root, "*", "tmp", "*")); len(left) > 0 && to == bob {
					return nil, fmt.Errorf("left in tmp: %v", left)
				}
				return files(filepath.Join(root, to.Local, "new", "*"))
			}
		},
		Forms: forms, Known: []mail.Address{alice, bob}, Unknown: carol,
	})
}

func files(pattern string) ([][]byte, error) {
	names, err := filepath.Glob(pattern)
	var all [][]byte
	for _, n := range names {
		b, rerr := os.ReadFile(n)
		all, err = append(all, b), errors.Join(err, rerr)
	}
	return all, err
}

func TestJournalSuite(t *testing.T) {
	mailtest.Run(t, mailtest.Suite{
		New: func(t *testing.T) (mail.Door, mailtest.Probe) {
			d := &delivery.Journal{Dir: t.TempDir(), MaxOctets: 2000}
			t.Cleanup(func() { d.Close() })
			return d, func(_ context.Context, to mail.Address) ([][]byte, error) { return journal(d.Dir, to) }
		},
		Forms: forms, Known: []mail.Address{alice, bob},
	})
}

func journal(dir string, to mail.Address) (all [][]byte, err error) {
	for e, err := range delivery.Entries(dir) {
		if err != nil {
			return nil, err
		}
		if e.To != to {
			continue
		}
		r, err := e.Open()
		if err != nil {
			return nil, err
		}
		b, err := io.ReadAll(r)
		r.Close()
		if err != nil {
			return nil, err
		}
		all = append(all, b)
	}
	return all, nil
}

// send puts one message into a Door; the fields come before and after the content.
func send(t *testing.T, d mail.Door, from mail.Address, content string, to ...mail.Address) ([]mail.Reply, error) {
	t.Helper()
	s := &mail.Session{ID: "s1"}
	r, err := d.Open(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	tx, err := r.Begin(t.Context(), s, mail.Sender{Address: from})
	if err != nil {
		return nil, err
	}
	defer tx.Abort()
	for _, a := range to {
		if err := tx.Recipient(t.Context(), &mail.Recipient{Address: a}); err != nil {
			return nil, err
		}
	}
	tx.Trace(mail.Field{Name: "Early", Value: "1"})
	if _, err := io.WriteString(tx, content); err != nil {
		return nil, err
	}
	tx.Trace(mail.Field{Name: "Late", Value: "2"})
	return tx.Commit(t.Context())
}

func TestMaildirFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "sub", "Maildir")
	d := &delivery.Maildir{Dir: dir}
	if rs, err := send(t, d, alice, "x\r\n", bob, carol); err != nil || len(rs) != 2 {
		t.Fatal(rs, err)
	}
	got, err := files(filepath.Join(dir, "new", "*"))
	if err != nil || len(got) != 1 || string(got[0]) != "Return-Path: <alice@example.test>\r\nLate: 2\r\nEarly: 1\r\nx\r\n" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestMbox(t *testing.T) {
	d := &delivery.Mbox{Path: filepath.Join(t.TempDir(), "mbox"), LockTimeout: 50 * time.Millisecond}
	for _, c := range []string{"From me\r\n>From you\r\n>>Fro\r\nFrom", "\r\n\r\n>"} {
		if _, err := send(t, d, alice, c, bob); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(d.Path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(b), "\n")
	lines[0], lines[9] = lines[0][:31], lines[9][:31]
	want := "From alice@example.test " + time.Now().UTC().Format("Mon Jan")
	head := "\nReturn-Path: <alice@example.test>\nLate: 2\nEarly: 1\n"
	if got := strings.Join(lines, "\n"); got != want+head+">From me\n>>From you\n>>Fro\nFrom\n\n"+want+head+"\n\n>\n\n" {
		t.Errorf("%q", got)
	}
	if err := os.WriteFile(d.Path+".lock", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := send(t, d, alice, "x\r\n", bob); !mail.AsReply(err).Temporary() {
		t.Errorf("locked: %v", err)
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(d.Path+".lock", old, old); err != nil {
		t.Fatal(err)
	}
	if _, err := send(t, d, alice, "x\r\n", bob); err != nil {
		t.Errorf("stale lock: %v", err)
	}
}

// TestJournalTail: what a crash left behind is cut off, what was acknowledged stays.
func TestJournalTail(t *testing.T) {
	dir := t.TempDir()
	d := &delivery.Journal{Dir: dir}
	if _, err := send(t, d, alice, "one\r\n", bob, carol); err != nil {
		t.Fatal(err)
	}
	d.Close()
	for _, ext := range []string{"log", "idx"} {
		f, err := os.OpenFile(filepath.Join(dir, "00000001."+ext), os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(f, "10 10 torn")
		f.Close()
	}
	d = &delivery.Journal{Dir: dir}
	defer d.Close()
	if _, err := send(t, d, mail.Address{}, "two\r\n", bob); err != nil {
		t.Fatal(err)
	}
	got, err := journal(dir, bob)
	if err != nil || len(got) != 2 || !bytes.HasSuffix(got[0], []byte("one\r\n")) || !bytes.HasSuffix(got[1], []byte("two\r\n")) {
		t.Fatalf("%q, %v", got, err)
	}
	log := filepath.Join(dir, "00000001.log")
	b, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	b[3] ^= 1
	if err := os.WriteFile(log, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := journal(dir, bob); err == nil {
		t.Error("damage was not noticed")
	}
}

func TestSendmail(t *testing.T) {
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("no sh on this machine")
	}
	out := filepath.Join(t.TempDir(), "out")
	script := func(code string) *delivery.Sendmail {
		return &delivery.Sendmail{Command: []string{"sh", "-c", `echo "$@" >` + out + `; cat >>` + out + `; ` + code, "sendmail"}}
	}
	if _, err := send(t, script("exit 0"), mail.Address{}, "x\r\n\r\ny\r\n", bob, carol); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(out)
	if err != nil || string(b) != "-f <> -- bob@example.test carol@example.test\nLate: 2\nEarly: 1\nx\n\ny\n" {
		t.Errorf("%q, %v", b, err)
	}
	for code, want := range map[string]int{"exit 75": 451, "exit 67": 550, "exit 77": 550, "exit 65": 554, "exit 1": 451, "kill -9 $$": 451} {
		if _, err := send(t, script(code), alice, "x\r\n", bob); mail.AsReply(err) == nil || mail.AsReply(err).Code != want {
			t.Errorf("%s: %v", code, err)
		}
	}
	if (&delivery.Sendmail{Command: []string{"/nonexistent/sendmail"}}).Check() == nil {
		t.Error("missing program was not noticed")
	}
}

func TestChecks(t *testing.T) {
	for _, d := range []mail.Door{&delivery.Maildir{}, &delivery.Mbox{}, &delivery.Journal{}} {
		if _, err := mail.Chain(d); err == nil {
			t.Errorf("%T without a place was accepted", d)
		}
	}
	if _, err := mail.Chain(delivery.Null{}); err != nil {
		t.Error(err)
	}
}

func FuzzEntry(f *testing.F) {
	f.Add("0 10 00000000 1 id <a@b> <c@d> - 00000000")
	f.Fuzz(func(t *testing.T, line string) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "00000001.idx"), []byte(line+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "00000001.log"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		for range delivery.Entries(dir) { // nothing may panic
		}
	})
}
