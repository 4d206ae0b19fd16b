package imap_test

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// viewer is a session that keeps what the server has told it of the mailbox, as a client does.
type viewer struct {
	*client
	uids  []string          // by sequence number
	flags map[string]string // by UID
	n     int
}

var (
	existsLine  = regexp.MustCompile(`^\* (\d+) EXISTS$`)
	expungeLine = regexp.MustCompile(`^\* (\d+) EXPUNGE$`)
	fetchLine   = regexp.MustCompile(`^\* (\d+) FETCH \((.*)\)$`)
	uidItem     = regexp.MustCompile(`UID (\d+)`)
	flagsItem   = regexp.MustCompile(`FLAGS \(([^)]*)\)`)
)

// do runs a command and takes in what is told.
func (v *viewer) do(noExpunge bool, format string, args ...any) string {
	v.n++
	out := v.cmd("t%d %s", v.n, fmt.Sprintf(format, args...))
	for l := range strings.Lines(out) {
		l = strings.TrimSpace(l)
		if m := existsLine.FindStringSubmatch(l); m != nil {
			n, _ := strconv.Atoi(m[1])
			if n < len(v.uids) {
				v.t.Fatalf("EXISTS %d shrinks %d", n, len(v.uids))
			}
			for len(v.uids) < n {
				v.uids = append(v.uids, "")
			}
		}
		if m := expungeLine.FindStringSubmatch(l); m != nil {
			n, _ := strconv.Atoi(m[1])
			if noExpunge || n > len(v.uids) {
				v.t.Fatalf("EXPUNGE %d of %d in %s", n, len(v.uids), out)
			}
			v.uids = slices.Delete(v.uids, n-1, n)
		}
		if m := fetchLine.FindStringSubmatch(l); m != nil {
			v.fetched(m[1], m[2])
		}
	}
	return out
}

func (v *viewer) fetched(seq, items string) {
	n, _ := strconv.Atoi(seq)
	if n > len(v.uids) {
		v.t.Fatalf("FETCH %d of %d", n, len(v.uids))
	}
	if m := uidItem.FindStringSubmatch(items); m != nil {
		if v.uids[n-1] != "" && v.uids[n-1] != m[1] {
			v.t.Fatalf("message %d is %s and was %s", n, m[1], v.uids[n-1])
		}
		v.uids[n-1] = m[1]
	}
	if m := flagsItem.FindStringSubmatch(items); m != nil && v.uids[n-1] != "" {
		v.flags[v.uids[n-1]] = strings.TrimSpace(strings.ReplaceAll(m[1], `\Recent`, ""))
	}
}

// random does one random thing.
func (v *viewer) random(r *rand.Rand) {
	n := len(v.uids)
	some := 1
	if n > 0 {
		some = 1 + r.IntN(n)
	}
	flag := []string{`\Seen`, `\Deleted`, `$Key`, `\Flagged`}[r.IntN(4)]
	switch k := r.IntN(10); {
	case k == 0 || n < 3:
		v.do(false, "APPEND INBOX {6+}\r\na: b\r\n")
	case k < 4:
		v.do(true, "STORE %d %sFLAGS%s (%s)", some, []string{"+", "-", ""}[r.IntN(3)], []string{"", ".SILENT"}[r.IntN(2)], flag)
		v.do(true, "FETCH %d (UID FLAGS)", some)
	case k == 4:
		v.do(true, "FETCH 1:%d (UID FLAGS)", some)
	case k == 5:
		v.do(false, "EXPUNGE")
	case k == 6:
		v.do(false, "MOVE %d INBOX", some)
	case k == 7:
		v.do(false, "COPY %d INBOX", some)
	case k == 8:
		v.do(true, "SEARCH ALL")
	default:
		v.do(false, "NOOP")
	}
}

// TestSessionsAgree: several sessions change one mailbox at random; what each was told is what is there in the end,
// and at no time does a sequence number change its message without an EXPUNGE.
func TestSessionsAgree(t *testing.T) {
	addr := newServer(t, nil)
	const sessions, steps = 4, 150
	viewers := make([]*viewer, sessions)
	var wg sync.WaitGroup
	for i := range viewers {
		v := &viewer{client: connect(t, addr), flags: map[string]string{}}
		v.want("* OK")
		viewers[i] = v
		v.do(false, "LOGIN alice@example.test secret")
		v.do(false, "SELECT INBOX")
		wg.Add(1)
		go func() {
			defer wg.Done()
			r := rand.New(rand.NewPCG(uint64(i), 7))
			for range steps {
				v.random(r)
			}
		}()
	}
	wg.Wait()
	want := ""
	for i, v := range viewers {
		v.do(false, "NOOP")
		before := slices.Clone(v.uids)
		told := map[string]string{}
		for k, f := range v.flags {
			told[k] = f
		}
		got := v.do(false, "FETCH 1:* (UID FLAGS)")
		if i == 0 {
			want = strings.Join(v.uids, " ")
		}
		if strings.Join(v.uids, " ") != want || strings.Contains(got, "NO") {
			t.Fatalf("session %d sees %v, session 0 %s", i, v.uids, want)
		}
		for n, u := range before {
			if f, ok := told[u]; u != "" && ok && f != v.flags[u] {
				t.Errorf("session %d: message %d, UID %s: was told %q, is %q", i, n+1, u, f, v.flags[u])
			}
		}
	}
}
