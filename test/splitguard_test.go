package test

import (
	"bufio"
	bigendian "encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// milterOn is a milter that rejects what holds a word.
func milterOn(t *testing.T, socket, word string) {
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				r, bad := bufio.NewReader(c), false
				for {
					var head [5]byte
					if _, err := io.ReadFull(r, head[:]); err != nil {
						return
					}
					data := make([]byte, bigendian.BigEndian.Uint32(head[:])-1)
					if _, err := io.ReadFull(r, data); err != nil {
						return
					}
					bad = bad || strings.Contains(string(data), word)
					answer := []byte{0, 0, 0, 1, 'c'}
					switch head[4] {
					case 'O':
						answer = []byte{0, 0, 0, 13, 'O', 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0}
					case 'D':
						continue
					case 'Q':
						return
					case 'E':
						if bad {
							answer[4] = 'r'
						}
					}
					if _, err := c.Write(answer); err != nil {
						return
					}
				}
			}()
		}
	}()
}

// TestSplitGuardAsks: the guard in a process of its own, with the rights that it has there, reaches a milter at a socket outside of
// the house and an rspamd at a port, and learns what people in the mailbox's process move to Junk.
func TestSplitGuardAsks(t *testing.T) {
	milter := filepath.Join(newForeign(t).dir, "m.sock")
	milterOn(t, milter, "milterword")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	rspamd := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		action := "no action"
		if strings.Contains(string(text), "rspamdword") {
			action = "reject"
		}
		fmt.Fprintf(w, `{"action":%q,"score":0,"symbols":{}}`, action)
	})}
	go rspamd.Serve(l) //nolint:errcheck // it ends with the test
	t.Cleanup(func() { rspamd.Close() })
	s := &split{house: newHouse(t, "a.test", "alice"), procs: map[string]process{}}
	s.dropIn("filters", fmt.Sprintf("[[guard.filter]]\nmilter = \"unix:%s\"\n[[guard.filter]]\nurl = \"http://%s/checkv2\"\n", milter, l.Addr()))
	s.startAll()
	for word, want := range map[string]string{"milterword": "550 5.7.1", "rspamdword": "550 5.7.1"} {
		err := s.send("x@x.test", []string{"alice@a.test"}, letter("x@x.test", "alice@a.test", "mail", word))
		if err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), `"`, ""), want) {
			t.Errorf("%s: %v", word, err)
		}
	}
	if err := s.send("x@x.test", []string{"alice@a.test"}, letter("x@x.test", "alice@a.test", "mail", "cheap pills")); err != nil {
		t.Fatal(err)
	}
	s.await("alice@a.test", 1)
	s.toJunk("alice@a.test")
	s.house.until("it is learned, of whom all are told of", func() bool {
		return strings.Contains(s.run("", "junk", "stats"), "\nalice@a.test ")
	})
	s.house.until("it is learned", func() bool {
		return strings.Contains(strings.Join(strings.Fields(s.run("", "junk", "stats", "alice@a.test")), " "), "alice@a.test 0 1 ")
	})
}
