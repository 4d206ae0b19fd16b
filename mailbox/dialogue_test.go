package mailbox

import (
	"context"
	"flag"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/imap/imaptest"
)

var update = flag.Bool("update", false, "write the dialogues of testdata/dialogue anew")

// TestDialogues plays the recorded dialogues of testdata/dialogue, of what several people do with one Mailbox: the first two
// connections are user1's, the third is user2's, the fourth user3's. Dialogues of one person's commands are in package imap.
func TestDialogues(t *testing.T) {
	files, err := filepath.Glob("testdata/dialogue/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no dialogues", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			c := &clock{t: time.Date(2026, 6, 21, 10, 0, 0, 0, time.UTC)}
			m := newBox(t, Config{Clock: c.now})
			addr := serveTo(t, m, imap.Limits{LoginDelay: -1}, 3)
			d := imaptest.Dialogue{
				Dial: func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", addr) },
				Login: func(conn string) (string, string) {
					return map[string]string{"": user(1), "2": user(1), "3": user(2), "4": user(3)}[conn], "secret"
				},
			}
			m.sweeping.Lock() // what it does to deleted mailboxes counts mod-sequences up
			got, err := d.Play(t.Context(), string(want))
			m.sweeping.Unlock()
			if err != nil {
				t.Fatalf("%v after\n%s", err, got[max(0, len(got)-1000):])
			}
			if *update {
				if err := os.WriteFile(f, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(want) {
				t.Errorf("dialogue differs:\n%s", imaptest.FirstDifference(string(want), got))
			}
			verify(t, m)
		})
	}
}
