package drop_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/samotop/samotop/internal/drop"
	"github.com/samotop/samotop/mail"
)

func place(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "drop")
	for range 2 { // the second time it is there
		if err := drop.Prepare(dir); err != nil {
			t.Fatal(err)
		}
	}
	fi, err := os.Stat(dir)
	if err != nil || fi.Mode()&^os.ModeDir != drop.Mode {
		t.Fatalf("mode %v, %v", fi.Mode(), err)
	}
	return dir
}

func put(t *testing.T, dir string, e drop.Envelope, content string) string {
	t.Helper()
	id, err := drop.Put(dir, e, strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// TestTake: what was dropped is handed over, and stays until it was taken.
func TestTake(t *testing.T) {
	dir := place(t)
	id := put(t, dir, drop.Envelope{From: "a@b.test", To: []string{"root", "x@y.test"}, EnvelopeID: "e", Ret: "hdrs", Notify: "never", EightBit: true}, "Subject: x\r\n\r\nhello\r\n")
	var tokens []string
	fate := error(mail.NewReply(451, mail.Enhanced{4, 3, 0}, "not now"))
	taker := &drop.Taker{Dir: dir, Take: func(_ context.Context, m *drop.Item) error {
		text, err := io.ReadAll(m.Content)
		if err != nil || string(text) != "Subject: x\r\n\r\nhello\r\n" {
			t.Errorf("%q, %v", text, err)
		}
		if m.ID != id || m.UID != os.Getuid() || m.From != "a@b.test" || len(m.To) != 2 || m.Ret != "hdrs" || m.Notify != "never" || !m.EightBit || m.EnvelopeID != "e" {
			t.Errorf("%+v", m)
		}
		tokens = append(tokens, m.Token)
		return fate
	}}
	for i, want := range []int{0, 0, 1, 0} {
		if i == 2 {
			fate = nil
		}
		if n, err := taker.Pass(t.Context()); n != want || err != nil {
			t.Errorf("pass %d: %d, %v", i, n, err)
		}
	}
	if len(tokens) != 3 || tokens[0] == "" || tokens[0] != tokens[1] || tokens[1] != tokens[2] {
		t.Errorf("tokens %q", tokens)
	}
	if drop.Token(1, tokens[0]) == drop.Token(2, tokens[0]) {
		t.Error("users share tokens")
	}
}

// TestRefused: what is no message, or refused for good, is put aside and never lost.
func TestRefused(t *testing.T) {
	dir := place(t)
	secret := filepath.Join(t.TempDir(), "secret")
	for name, make := range map[string]func(path string) error{
		"link.mail":   func(p string) error { return os.Symlink(secret, p) },
		"hard.mail":   func(p string) error { return os.Link(secret, p) },
		"dir.mail":    func(p string) error { return os.Mkdir(p, 0o700) },
		"empty.mail":  func(p string) error { return os.WriteFile(p, nil, 0o600) },
		"json.mail":   func(p string) error { return os.WriteFile(p, []byte("{}\nx"), 0o600) },
		"newer.mail":  func(p string) error { return os.WriteFile(p, []byte(`{"version":2,"to":["x"]}`+"\nx"), 0o600) },
		"nobody.mail": func(p string) error { return os.WriteFile(p, []byte(`{"version":1,"to":[]}`+"\nx"), 0o600) },
		"unended.mail": func(p string) error {
			return os.WriteFile(p, bytes.Repeat([]byte("x"), drop.MaxEnvelopeOctets+1), 0o600)
		},
		"long.mail":     func(p string) error { return os.WriteFile(p, make6, 0o600) },
		"forbidden.eml": func(p string) error { return os.WriteFile(p, []byte("not looked at"), 0o600) },
	} {
		if err := os.WriteFile(secret, []byte(`{"version":1,"to":["x"]}`+"\nsecret"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := make(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	put(t, dir, drop.Envelope{To: []string{"nix"}}, "x")
	var log bytes.Buffer
	taker := &drop.Taker{Dir: dir, MaxOctets: 5 << 20, Log: slog.New(slog.NewTextHandler(&log, nil)), Take: func(_ context.Context, m *drop.Item) error {
		if m.To[0] != "nix" {
			t.Errorf("taken: %+v", m)
		}
		return mail.NewReply(550, mail.Enhanced{5, 7, 1}, "never")
	}}
	for range 2 {
		if n, err := taker.Pass(t.Context()); n != 0 || err != nil {
			t.Error(n, err)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 || left[0].Name() != "forbidden.eml" {
		t.Errorf("left: %v, %v\n%s", left, err, log.String())
	}
	aside, err := os.ReadDir(dir + ".refused")
	if err != nil || len(aside) != 10 {
		t.Errorf("aside: %v, %v", aside, err)
	}
}

var make6 = append([]byte(`{"version":1,"to":["x"]}`+"\n"), bytes.Repeat([]byte("x"), 6<<20)...)

// TestSweep: what a killed program left is taken away after a day, what is being written is not.
func TestSweep(t *testing.T) {
	dir := place(t)
	for _, n := range []string{"old.tmp", "new.tmp"} {
		if err := os.WriteFile(filepath.Join(dir, n), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	past := time.Now().Add(-25 * time.Hour)
	if err := os.Chtimes(filepath.Join(dir, "old.tmp"), past, past); err != nil {
		t.Fatal(err)
	}
	if _, err := (&drop.Taker{Dir: dir}).Pass(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 || left[0].Name() != "new.tmp" {
		t.Errorf("%v", left)
	}
}

func TestPutNowhere(t *testing.T) {
	_, err := drop.Put(filepath.Join(t.TempDir(), "none"), drop.Envelope{To: []string{"x"}}, strings.NewReader("x"))
	if !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	dir := place(t)
	if _, err := drop.Put(dir, drop.Envelope{To: []string{"x"}}, io.MultiReader(strings.NewReader("x"), broken{})); err == nil {
		t.Error("a message that could not be read was kept")
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("%v", left)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("broken") }

func TestQualify(t *testing.T) {
	for in, want := range map[string]string{
		"From: root (Cron Daemon)\r\nTo: root\r\nSubject: a@b\r\n":   "From: Cron Daemon <root@d.test>\r\nTo: root@d.test\r\nSubject: a@b\r\n",
		"From: A <a@b.test>\r\nto:  x@y.test ,\r\n z@y.test\r\n":     "From: A <a@b.test>\r\nto:  x@y.test ,\r\n z@y.test\r\n",
		"To: Bob <bob>, g: c@d.test, e;\r\nX-To: root\r\n\r\nTo: x":  "To: Bob <bob@d.test>, g: c@d.test, e@d.test;\r\nX-To: root\r\n\r\nTo: x",
		"Cc: =?utf-8?q?J=C3=BCrgen?= <j>\r\n":                        "Cc: =?utf-8?q?J=C3=BCrgen?= <j@d.test>\r\n",
		"":                                                           "",
		"From: me <me@VM>\r\nTo: x@vm.test\r\n":                      "From: me <me@d.test>\r\nTo: x@vm.test\r\n",
		"Reply-To: a\r\nSender: b\r\nResent-From: c\r\nno field\r\n": "Reply-To: a@d.test\r\nSender: b@d.test\r\nResent-From: c@d.test\r\nno field\r\n",
	} {
		if got := string(drop.Qualify([]byte(in), "d.test", "vm")); got != want {
			t.Errorf("%q:\ngot  %q\nwant %q", in, got, want)
		}
	}
}

func FuzzQualify(f *testing.F) {
	f.Add("From: root (Cron Daemon)\r\nTo: root\r\n\r\nbody")
	f.Add("To: Bob <bob>, g: c@d.test, e;\r\n x\r\n")
	f.Fuzz(func(t *testing.T, s string) {
		once := drop.Qualify([]byte(s), "d.test")
		if strings.Count(string(once), "\r\n\r\n") > strings.Count(s, "\r\n\r\n") {
			t.Errorf("%q became %q, whose header ends earlier", s, once)
		}
	})
}

func TestAddress(t *testing.T) {
	for in, want := range map[string]string{"root": "root@d.test", "<bob>": "bob@d.test", "a@b.test": "a@b.test", " <a@b.test> ": "a@b.test",
		"a b": "", "": "", "a@": "", "@b": "", "x\r\ny": ""} {
		a, err := drop.Address(in, "d.test")
		if (err != nil) != (want == "") || a.String() != want {
			t.Errorf("%q: %q, %v", in, a.String(), err)
		}
	}
}
