package imap_test

import (
	"context"
	"flag"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/imap/imaptest"
)

var update = flag.Bool("update", false, "write the dialogues of testdata/dialogue anew")

// TestDialogues plays the recorded dialogues of testdata/dialogue. The first line may name a setting: "literal-", "small" or "few".
func TestDialogues(t *testing.T) {
	files, err := filepath.Glob("testdata/dialogue/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no dialogues", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			t.Parallel()
			want, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			setting, _, _ := strings.Cut(string(want), "\n")
			addr := newServer(t, func(s *imap.Server) { set(s, setting) })
			d := imaptest.Dialogue{
				Dial: func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", addr) },
				Login: func(conn string) (string, string) {
					if conn == "3" {
						return "bob@example.test", "hidden"
					}
					return "alice@example.test", "secret"
				},
			}
			got, err := d.Play(t.Context(), string(want))
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
		})
	}
}

// set makes a setting of dialogues.
func set(s *imap.Server, setting string) {
	switch {
	case setting == "literal-":
		s.LiteralMinus = true
	case strings.HasPrefix(setting, "small"):
		s.Limits = imap.Limits{
			MessageOctets: 100, CommandOctets: 400, LoginOctets: 200, SkipOctets: 300, Depth: 3, ListItems: 5, Errors: 50, LoginDelay: -1,
			NameOctets: 50, KeywordOctets: 10, AppendMessages: 2,
		}
	case strings.HasPrefix(setting, "few"):
		s.Limits = imap.Limits{CommandMessages: 3, Contexts: 2, NotifyGroups: 2, LoginDelay: -1}
	}
}
