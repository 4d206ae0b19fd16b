package pop3

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the dialogues of testdata/dialogue anew")

// TestDialogues replays testdata/dialogue, one file for each RFC: a line "C: ..." is sent, what the server says follows
// as "S: ...". "D: ..." is sent without reading an answer, "R: xxx" reads an answer of one line for each letter, "N: " is a new connection. "#" begins a comment, which
// names the section.
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
			got := replay(t, string(want))
			if *update {
				if err := os.WriteFile(f, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(want) {
				t.Errorf("want\n%s\ngot\n%s", want, got)
			}
		})
	}
}

func replay(t *testing.T, script string) string {
	s := serve(t, func(s *Server) {
		if strings.HasPrefix(script, "# with TLS") {
			s.TLSConfig = certificate(t)
		}
		if strings.HasPrefix(script, "# delay") {
			s.Limits.LoginInterval = time.Hour
		}
	}, append(example, "From: Bü <bü@example.org>, \"A, B\" <ab@example.org>\r\nTo: Ümläut <plain@example.org>\r\nSubject: Grüße aus Köln\r\n"+
		"X-Odd: öd\r\nContent-Type: text/plain; name=\"ü.txt\"\r\nMessage-ID: <1@example.org>\r\n\r\nGrüße\r\n")...)
	var out bytes.Buffer
	c := s.dial()
	hear := func(multi bool) {
		l := c.read()
		out.WriteString("S: " + l + "\n")
		for multi = multi && strings.HasPrefix(l, "+OK"); multi && l != "."; {
			l = c.read()
			out.WriteString("S: " + l + "\n")
		}
	}
	for line := range strings.Lines(script) {
		line = strings.TrimSuffix(line, "\n")
		kind, text, _ := strings.Cut(line, ": ")
		switch {
		case kind == "S":
			continue
		case kind == "N": // a new connection
			c.c.Close()
			waitUnlocked(t, s)
			c = s.dial()
		case kind == "D":
			c.send(text + "\r\n")
		case kind == "C":
			c.send(text + "\r\n")
		case kind == "R":
			out.WriteString(line + "\n")
			for range text { // a letter for each
				hear(false)
			}
			continue
		}
		out.WriteString(line + "\n")
		if kind == "C" {
			verb, arg := split(text)
			multi := verb == "RETR" || verb == "TOP" || verb == "CAPA" || arg == "" && (verb == "LIST" || verb == "UIDL" || verb == "LANG" || verb == "AUTH")
			hear(multi)
		}
	}
	return out.String()
}

// waitUnlocked waits until the server has seen the end of the session before.
func waitUnlocked(t *testing.T, s *server) {
	t.Helper()
	for range 6000 {
		s.mem.mu.Lock()
		locked := s.mem.locked[who]
		s.mem.mu.Unlock()
		if !locked {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("the lock stays")
}
