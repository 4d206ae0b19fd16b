package transfer

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mailbox"
	"github.com/samotop/samotop/management"
	"github.com/samotop/samotop/store/mem"
)

type everybody struct{ quota int64 }

func (d everybody) Lookup(_ context.Context, a mail.Address) (mailbox.Owner, error) {
	if a.Local == "nobody" {
		return mailbox.Owner{}, mailbox.ErrNoOwner
	}
	return mailbox.Owner{ID: uint64(len(a.Local)), Address: a.String(), QuotaOctets: d.quota}, nil
}

func room(t testing.TB, l mailbox.Limits, quota int64) *mailbox.Mailbox {
	t.Helper()
	m, err := mailbox.Open(context.Background(), mailbox.Config{Engine: mem.New(mem.Options{}), Directory: everybody{quota}, Limits: l})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func client(m *mailbox.Mailbox, account string) Client {
	return Client{HTTP: management.Direct(&Handler{Mailbox: m}), Account: account}
}

const alice, bo = "alice@example.test", "bo@example.test"

func doImport(t testing.TB, c Client, src Source, known string) Progress {
	t.Helper()
	k, err := OpenKnown(known)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	p, err := (&Import{Client: c, Source: src, Known: k, Workers: 3}).Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func doExport(t testing.TB, c Client, to Target) Progress {
	t.Helper()
	p, err := (&Export{Client: c, Target: to, Workers: 3}).Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// contents lists all messages of an account: folder, flags, date and content, sorted.
func contents(t testing.TB, c Client) (out []string) {
	t.Helper()
	folders, err := c.folders(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range folders {
		err := c.each(context.Background(), f.Name, func(h Head, content func(io.Writer) error) error {
			var b bytes.Buffer
			err := content(&b)
			slices.Sort(h.Flags)
			out = append(out, fmt.Sprintf("%s %v %d %q", f.Name, h.Flags, h.Date.Unix(), b.String()))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(out)
	return out
}

func write(t testing.TB, name, text string, at int64) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(name, time.Unix(at, 0), time.Unix(at, 0)); err != nil {
		t.Fatal(err)
	}
}

// dovecot writes a Maildir++ as Dovecot does.
func dovecot(t testing.TB) string {
	dir := t.TempDir()
	for _, d := range []string{"cur", "new", "tmp", ".Gel&APY-scht.2020/cur", ".Gel&APY-scht.2020/new", ".Empty/cur", ".Empty/new"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(dir, "cur", "1.M1P1.host,S=20,W=21:2,Sab"), "Subject: one\n\nFrom here\n", 1000000001)
	write(t, filepath.Join(dir, "cur", "2.M1P1.host:2,DFRST"), "Subject: two\r\n\r\nmixed\nends\r\n", 1000000002)
	write(t, filepath.Join(dir, "new", "3.M1P1.host"), "Subject: three\nStatus: mine\n\n>From me\nno end", 1000000003)
	write(t, filepath.Join(dir, "cur", ".hidden"), "x", 1)
	write(t, filepath.Join(dir, "dovecot-keywords"), "0 $Junk\n1 work\n", 1)
	write(t, filepath.Join(dir, ".Gel&APY-scht.2020", "cur", "4.x:2,"), "\n\n", 1000000004)
	return dir
}

func TestMaildirIn(t *testing.T) {
	c := client(room(t, mailbox.Limits{}, 0), alice)
	known := filepath.Join(t.TempDir(), "x", "known")
	dir := dovecot(t)
	if p := doImport(t, c, Maildir{dir}, known); p.Stored != 4 || p.Messages != 4 || p.Folders != 3 || p.Failed != 0 {
		t.Errorf("%+v", p)
	}
	want := []string{
		`Gelöscht/2020 [] 1000000004 "\r\n\r\n"`,
		`INBOX [$Junk \Seen work] 1000000001 "Subject: one\r\n\r\nFrom here\r\n"`,
		`INBOX [\Answered \Deleted \Draft \Flagged \Seen] 1000000002 "Subject: two\r\n\r\nmixed\nends\r\n"`,
		`INBOX [] 1000000003 "Subject: three\r\nStatus: mine\r\n\r\n>From me\r\nno end"`,
	}
	if got := contents(t, c); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	// again: nothing new; also when the file of what is known was lost; a message that was only marked is the same one
	if p := doImport(t, c, Maildir{dir}, known); p.Stored != 0 || p.Repeated != 4 || p.Messages != 4 {
		t.Errorf("%+v", p)
	}
	if err := os.Rename(filepath.Join(dir, "new", "3.M1P1.host"), filepath.Join(dir, "cur", "3.M1P1.host:2,S")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "new", "5.x"), "Subject: five\n\n", 5)
	if p := doImport(t, c, Maildir{dir}, filepath.Join(t.TempDir(), "lost")); p.Stored != 1 || p.Repeated != 4 {
		t.Errorf("%+v", p)
	}
}

func TestPlainMaildirs(t *testing.T) {
	dir := t.TempDir()
	for _, f := range []string{"INBOX", "Work/Old", "inner.dot"} {
		write(t, filepath.Join(dir, f, "cur", "1:2,S"), "Subject: "+f+"\n\n", 1)
		write(t, filepath.Join(dir, f, "new", "2"), "Subject: "+f+"\n\n", 1)
	}
	fs, err := Maildir{dir}.Folders(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range fs {
		names = append(names, fmt.Sprint(f.Name, f.Messages))
	}
	if fmt.Sprint(names) != "[INBOX2 Work/Old2 inner.dot2]" {
		t.Error(names)
	}
}

// TestRoundTrips: out and in again gives the same, octet for octet.
func TestRoundTrips(t *testing.T) {
	m := room(t, mailbox.Limits{}, 0)
	src := client(m, alice)
	doImport(t, src, Maildir{dovecot(t)}, filepath.Join(t.TempDir(), "known"))
	want := contents(t, src)
	t.Run("maildir", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "out")
		if p := doExport(t, src, ToMaildir{dir}); p.Stored != 4 {
			t.Errorf("%+v", p)
		}
		if p := doExport(t, src, ToMaildir{dir}); p.Stored != 0 || p.Repeated != 4 {
			t.Errorf("again: %+v", p)
		}
		back := client(m, bo)
		doImport(t, back, Maildir{dir}, filepath.Join(t.TempDir(), "known"))
		if got := contents(t, back); !slices.Equal(got, want) {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
	t.Run("mbox", func(t *testing.T) {
		dir := t.TempDir()
		doExport(t, src, ToMbox{dir})
		if p := doExport(t, src, ToMbox{dir}); p.Stored != 0 {
			t.Errorf("again: %+v", p)
		}
		back := client(m, "eve@example.test")
		doImport(t, back, Mbox{Path: dir}, filepath.Join(t.TempDir(), "known"))
		got := strings.Join(contents(t, back), "\n")
		// an mbox has lines that end in LF, and fields of its own
		w := strings.NewReplacer(`Status: mine\r\n`, "", `no end"`, `no end\r\n"`, `mixed\nends`, `mixed\r\nends`).Replace(strings.Join(want, "\n"))
		if got != w {
			t.Errorf("got\n%s\nwant\n%s", got, w)
		}
	})
}

func TestMboxIn(t *testing.T) {
	name := filepath.Join(t.TempDir(), "Old.mbox")
	write(t, name, "From a@b Mon Jan  2 15:04:05 2006\nSubject: one\nStatus: RO\nX-Status: AF\nX-Keywords: work\n  home\nX-UID: 7\n\nFrom here it is text\n>From quoted\n>>From twice\n\n"+
		"From c Mon Jan  2 15:04:06 2006 +0100\nSubject: two\n\n\n\nFrom c Tue Jan  3 15:04:06 2006\nSubject: two\n\n\n\n\nFrom x bad: date\n\n", 1)
	c := client(room(t, mailbox.Limits{}, 0), alice)
	known := filepath.Join(t.TempDir(), "known")
	if p := doImport(t, c, Mbox{Path: name}, known); p.Stored != 3 {
		t.Errorf("%+v", p)
	}
	got := contents(t, c)
	want := []string{
		`Old [\Answered \Flagged \Seen work] 1136214245 "Subject: one\r\n\r\nFrom here it is text\r\nFrom quoted\r\n>From twice\r\n"`,
		`Old [] 1136210646 "Subject: two\r\n\r\n\r\n"`,
		`Old [] 1136300646 "Subject: two\r\n\r\n\r\n\r\n\r\nFrom x bad: date\r\n"`,
	}
	for _, w := range want {
		if !slices.Contains(got, w) {
			t.Errorf("no %s in\n%s", w, strings.Join(got, "\n"))
		}
	}
	// mail that was added, and mail that was taken away in front
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	write(t, name, string(b[bytes.Index(b, []byte("From c")):])+"From d Mon Jan  2 15:04:07 2006\nSubject: new\n\n", 1)
	if p := doImport(t, c, Mbox{Path: name}, known); p.Stored != 1 || p.Repeated != 2 {
		t.Errorf("%+v", p)
	}
}

// TestRefused: a message that is too large is left out, the others are stored; without room it ends.
func TestRefused(t *testing.T) {
	dir := t.TempDir()
	for i := range 5 {
		write(t, filepath.Join(dir, "cur", fmt.Sprint(i)), "Subject: x\n\n"+strings.Repeat("x", i*100), 1)
	}
	if err := os.Mkdir(filepath.Join(dir, "new"), 0o700); err != nil {
		t.Fatal(err)
	}
	k, err := OpenKnown(filepath.Join(t.TempDir(), "known"))
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	failed := 0
	im := &Import{Client: client(room(t, mailbox.Limits{MessageOctets: 350}, 0), alice), Source: Maildir{dir}, Known: k,
		Failed: func(string, Head, error) { failed++ }}
	if p, err := im.Run(context.Background()); err != nil || p.Stored != 4 || p.Failed != 1 || failed != 1 || p.Messages != 5 {
		t.Errorf("%+v %v", p, err)
	}
	im = &Import{Client: client(room(t, mailbox.Limits{}, 300), "other@example.test"), Source: Maildir{t.TempDir()}, Known: k}
	if _, err := im.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "no maildir") {
		t.Errorf("%v", err)
	}
	k2, err := OpenKnown(filepath.Join(t.TempDir(), "known"))
	if err != nil {
		t.Fatal(err)
	}
	defer k2.Close()
	im = &Import{Client: client(room(t, mailbox.Limits{}, 300), "other@example.test"), Source: Maildir{dir}, Known: k2}
	if _, err := im.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "room") {
		t.Errorf("%v", err)
	}
	im = &Import{Client: client(room(t, mailbox.Limits{}, 0), "nobody@example.test"), Source: Maildir{dir}, Known: k2}
	if _, err := im.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "no such account") {
		t.Errorf("%v", err)
	}
}

// TestBrokenOff: an import that was cut off at any batch goes on, and every message is there once.
func TestBrokenOff(t *testing.T) {
	dir := t.TempDir()
	const n = 500
	for i := range n {
		write(t, filepath.Join(dir, "cur", fmt.Sprint(i, ".x")), fmt.Sprintf("Subject: %d\n\n", i), 1)
	}
	if err := os.Mkdir(filepath.Join(dir, "new"), 0o700); err != nil {
		t.Fatal(err)
	}
	m := room(t, mailbox.Limits{}, 0)
	known := filepath.Join(t.TempDir(), "known")
	for cut := 1; cut < 8; cut++ {
		k, err := OpenKnown(known)
		if err != nil {
			t.Fatal(err)
		}
		c := client(m, alice)
		c.HTTP = &http.Client{Transport: &cutter{c.HTTP.Transport, cut}}
		_, _ = (&Import{Client: c, Source: Maildir{dir}, Known: k, Workers: 1}).Run(context.Background())
		k.Close()
		if cut%2 == 0 { // what was noted may be lost as well
			os.Remove(known)
		}
	}
	doImport(t, client(m, alice), Maildir{dir}, known)
	if got := contents(t, client(m, alice)); len(got) != n || len(slices.Compact(got)) != n {
		t.Errorf("%d messages, %d different", len(got), len(slices.Compact(got)))
	}
}

// cutter loses the answer to the n-th request.
type cutter struct {
	t http.RoundTripper
	n int
}

func (c *cutter) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := c.t.RoundTrip(r)
	if c.n--; c.n == 0 && err == nil {
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		return nil, io.ErrUnexpectedEOF
	}
	return resp, err
}

func TestFlags(t *testing.T) {
	f := flagsOf([]string{`\Seen`, `\sEEn`, `\Recent`, "$Junk", "two words", "ü", "a]", "ok"})
	if f.System != imap.FlagSeen || fmt.Sprint(f.Keywords) != "[$Junk ok]" {
		t.Errorf("%+v", f)
	}
}

func FuzzRecords(f *testing.F) {
	f.Add([]byte("{\"id\":\"x\"}\n3\nabc0\n{\"end\":true}\n"))
	f.Add([]byte("{}\n99999999\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bufio.NewReader(bytes.NewReader(b))
		for {
			h, err := readHead(r)
			if err != nil || h.End {
				return
			}
			if readContent(io.Discard, r) != nil {
				return
			}
		}
	})
}

func FuzzMbox(f *testing.F) {
	f.Add([]byte("From a@b Mon Jan  2 15:04:05 2006\nSubject: one\nStatus: RO\n\ntext\n>From x\n\nFrom c\n\n\n"))
	f.Add([]byte("From \n\n\n\nFrom \r\n\r\nFrom"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		name := filepath.Join(dir, fmt.Sprintf("%p", t))
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		defer os.Remove(name)
		for it, err := range (Mbox{}).Messages(context.Background(), Folder{path: name}, func(string) bool { return false }, func(int) {}) {
			if err != nil {
				return
			}
			if it.Size < 0 || it.Size > int64(len(b)) {
				t.Fatalf("%q: a message of %d octets", b, it.Size)
			}
			if err := it.Write(io.Discard); err != nil {
				t.Fatal(err)
			}
		}
	})
}
