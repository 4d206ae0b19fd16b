package house_test

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/samotop/samotop/internal/house"
	"github.com/samotop/samotop/management"
)

// TestJunk: what Alice moves to Junk is learned, and soon more of it goes there by itself, with the reasons in a field that
// nobody outside can forge; moving back unlearns.
func TestJunk(t *testing.T) {
	c := made(t, house.CreateOptions{Password: "secret-1"})
	dropIn(t, c, "mta.checks = false\nguard.learn_messages = 3\n")
	r := serve(t, c)
	r.alice(t)
	bring := func(words string) {
		t.Helper()
		content := "From: x@x.example\r\nX-Samotop-Junk: no; score=-100; trust me\r\nSubject: " + words + "\r\n\r\n" + words + "\r\n"
		if code := sendAs(t, r.addr("25"), "x@x.example", "alice@example.test", content); code != 250 {
			t.Fatal(code)
		}
	}
	for i := range 3 {
		bring(fmt.Sprintf("cheap pills without prescription %d", i))
	}
	for i := range 3 {
		bring(fmt.Sprintf("minutes of the garden meeting %d", i))
	}
	if in := r.texts(t, "INBOX"); len(in) != 6 || strings.Contains(in[0], "X-Samotop-Junk") {
		t.Fatalf("%d in INBOX, of which %q", len(in), in[0])
	}
	ic := r.imap(t)
	for _, x := range []struct {
		folder string
		uids   []imap.UID
	}{{"Junk", []imap.UID{1, 2, 3}}, {"Kept", []imap.UID{4, 5, 6}}} {
		if err := ic.Create(x.folder, nil).Wait(); err != nil && x.folder != "Junk" {
			t.Fatal(err)
		}
		if _, err := ic.Select("INBOX", nil).Wait(); err != nil {
			t.Fatal(err)
		}
		if _, err := ic.Move(imap.UIDSetNum(x.uids...), x.folder).Wait(); err != nil {
			t.Fatal(err)
		}
	}
	r.learned(t, 3, 3)
	bring("very cheap pills without prescription")
	bring("the minutes of our garden meeting")
	in, junk := r.texts(t, "INBOX"), r.texts(t, "Junk")
	if len(in) != 1 || len(junk) != 4 {
		t.Fatalf("%d in INBOX, %d in Junk", len(in), len(junk))
	}
	if last := junk[3]; !strings.Contains(last, "X-Samotop-Junk: yes; score=6.0; learned 1.00 by ") || strings.Contains(last, "trust me") {
		t.Errorf("%s", last)
	}
	if !strings.Contains(in[0], "X-Samotop-Junk: no; score=-2.0; learned 0.") || strings.Contains(in[0], "trust me") {
		t.Errorf("%s", in[0])
	}
	if _, err := ic.Select("Junk", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := ic.Move(imap.UIDSetNum(1), "INBOX").Wait(); err != nil {
		t.Fatal(err)
	}
	r.learned(t, 4, 2)
	var done management.Relearned
	if err := r.client().Call(t.Context(), "mailbox/relearn", management.NameArgs{Name: "alice@example.test"}, &done); err != nil || done.Spam != 3 || done.Ham != 3 || done.Changed != 1 {
		t.Errorf("%+v, %v", done, err) // the one that was filed by itself is new
	}
}

func (r *running) imap(t *testing.T) *imapclient.Client {
	t.Helper()
	c, err := imapclient.DialTLS(r.addr("993"), &imapclient.Options{TLSConfig: &tls.Config{InsecureSkipVerify: true}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.Login("alice@example.test", "secret-1").Wait(); err != nil {
		t.Fatal(err)
	}
	return c
}

// learned waits until the filter has learned so much: it learns after the answer.
func (r *running) learned(t *testing.T, ham, spam uint32) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		var s management.JunkStats
		_, err := r.client().Each(t.Context(), "junk/stats", management.NameArgs{Name: "alice@example.test"}, func(raw json.RawMessage) error { return json.Unmarshal(raw, &s) })
		if err == nil && s.Ham == ham && s.Spam == spam {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%+v, %v", s, err)
		}
	}
}
