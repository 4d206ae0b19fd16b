package imaptest

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/imap/imapmem"
	"github.com/samotop/samotop/message"
)

// talker is a session that says one command at a time.
type talker struct {
	t  *testing.T
	nc net.Conn
	r  *bufio.Reader
	n  int
}

func newTalker(t *testing.T, addr string) *talker {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(4 * time.Minute))
	k := &talker{t: t, nc: nc, r: bufio.NewReader(nc)}
	if _, err := k.r.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	k.must("LOGIN alice@example.test secret")
	return k
}

var literalHere = regexp.MustCompile(`\{(\d+)\}\r\n$`)

// say says a command, with literals that do not wait, and returns what came untagged and the tagged status with its code.
func (k *talker) say(cmd string) (untagged []string, status string) {
	k.t.Helper()
	k.n++
	tag := fmt.Sprintf("t%d", k.n)
	if _, err := fmt.Fprintf(k.nc, "%s %s\r\n", tag, cmd); err != nil {
		k.t.Fatal(err)
	}
	for {
		var reply strings.Builder
		for {
			line, err := k.r.ReadString('\n')
			if err != nil {
				k.t.Fatalf("%.200s: %v", cmd, err)
			}
			reply.WriteString(line)
			m := literalHere.FindStringSubmatch(line)
			if m == nil {
				break
			}
			n, _ := strconv.Atoi(m[1])
			if _, err := io.CopyN(&reply, k.r, int64(n)); err != nil {
				k.t.Fatal(err)
			}
		}
		line := strings.TrimRight(reply.String(), "\r\n")
		if rest, ok := strings.CutPrefix(line, tag+" "); ok {
			status, _, _ = strings.Cut(rest, " ")
			return untagged, status
		}
		untagged = append(untagged, line)
	}
}

func (k *talker) must(cmd string) []string {
	k.t.Helper()
	untagged, status := k.say(cmd)
	if status != "OK" {
		k.t.Fatalf("%.100s: %s %q", cmd, status, untagged)
	}
	return untagged
}

// fill makes the mailbox that both servers are asked about: each message has flags, a keyword and a date of its own.
func (k *talker) fill(mails [][]byte) {
	k.must("CREATE oracle")
	day := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	for i, m := range mails {
		var flags []string
		for n, f := range map[int]string{2: `\Seen`, 3: `\Flagged`, 5: `\Answered`, 7: `\Deleted`, 4: `\Draft`, 6: "$Key", 11: "other"} {
			if i%n == 0 {
				flags = append(flags, f)
			}
		}
		when := day.Add(time.Duration(i) * 29 * time.Hour)
		k.must(fmt.Sprintf("APPEND oracle (%s) %q {%d+}\r\n%s", strings.Join(flags, " "), when.Format("02-Jan-2006 15:04:05 -0700"), len(m), m))
	}
	k.must("SELECT oracle")
}

// word8 is what is looked for, as a literal, so that it may hold anything.
func word8(s string) string { return fmt.Sprintf("{%d+}\r\n%s", len(s), s) }

var corpusWord = regexp.MustCompile(`[A-Za-z]{4,12}`)

// searches are commands over all keys.
func searches(mails [][]byte) (cmds []string) {
	add := func(f string, a ...any) { cmds = append(cmds, "SEARCH "+fmt.Sprintf(f, a...)) }
	for _, k := range strings.Fields("ALL ANSWERED DELETED DRAFT FLAGGED NEW OLD RECENT SEEN UNANSWERED UNDELETED UNDRAFT UNFLAGGED UNSEEN") {
		add("%s", k)
		add("NOT %s", k)
		add("OR %s KEYWORD $Key", k)
		add("UNKEYWORD other (%s NOT (FLAGGED SEEN))", k)
	}
	add("KEYWORD none")
	add("UNKEYWORD none")
	for _, s := range []string{"1", "1:5", "5:1", "*", "3,1,2", "20:*", "*:20", "2,4:7,9,12:*", "1:*"} {
		add("%s", s)
		add("UID %s", s)
		add("NOT %s SEEN", s)
		add("OR %s UID 7:9", s)
	}
	for _, d := range []string{"3-Feb-2001", "04-Feb-2001", "1-Mar-2001", "31-Dec-2001", "1-Jan-1970", "9-May-2003", "17-Sep-2004", "1-Jan-2038", "29-Jul-2005", "15-Jan-1999"} {
		for _, k := range []string{"BEFORE", "ON", "SINCE", "SENTBEFORE", "SENTON", "SENTSINCE"} {
			add("%s %s", k, d)
			add("NOT %s \"%s\"", k, d)
		}
	}
	for i := range 12 {
		n := len(mails[i*len(mails)/12])
		add("LARGER %d", n)
		add("SMALLER %d", n)
		add("LARGER %d SMALLER %d", n/2, n*2)
	}
	for _, f := range []string{"Received", "Message-ID", "Content-Type", "X-Mailer", "Date", "References", "In-Reply-To", "Reply-To", "DKIM-Signature", "MIME-Version", "X-None"} {
		add(`HEADER %s ""`, f)
		for _, w := range []string{"a", "1.0", "example", "@", "Mon", "multipart/mixed", "utf-8"} {
			add("HEADER %s %s", f, word8(w))
		}
	}
	said := map[string]bool{}
	for i, m := range mails {
		if i%2 == 1 {
			continue
		}
		all := corpusWord.FindAllString(string(m), -1)
		for n := range 1 {
			if len(all) == 0 {
				continue
			}
			w := all[(i*31+n*len(all)/3)%len(all)]
			if said[w] {
				continue
			}
			said[w] = true
			for _, k := range []string{"TEXT", "BODY", "SUBJECT", "FROM"} {
				add("%s %s", k, word8(w))
			}
		}
	}
	for _, w := range []string{"example.com", "mail", "the", " ", "TEST", "Re:", "@", "<", "\"", ".com>", "a b", "no such words", "  ", "=?", "=20", "--", "boundary", "name="} {
		for _, k := range []string{"FROM", "TO", "CC", "BCC", "SUBJECT", "BODY", "TEXT", "HEADER Subject", "HEADER From", "HEADER To"} {
			add("%s %s", k, word8(w))
		}
	}
	for charset, words := range map[string][]string{
		"UTF-8":        {"ä", "ü", "é", "привет", "Д", "日本", "ß", "GRÜ", "€", "ı", "ñ", "中", "한"},
		"ISO-8859-1":   {"\xe4", "\xfc", "\xdf", "\xe9"},
		"KOI8-R":       {"\xd0\xd2\xc9", "\xe4"},
		"windows-1251": {"\xe4", "\xef\xf0"},
		"Shift_JIS":    {"\x93\xfa\x96\x7b"},
		"US-ASCII":     {"test"},
	} {
		for _, w := range words {
			for _, k := range []string{"FROM", "SUBJECT", "BODY", "TEXT"} {
				add("CHARSET %s %s %s", charset, k, word8(w))
			}
		}
	}
	return cmds
}

// ours starts a server of this library.
func ours(t *testing.T) string {
	srv := &imap.Server{
		Backend: imapmem.New(), Auth: imapmem.Passwords{"alice@example.test": "secret"}, PlaintextLoopback: true,
		Limits: imap.Limits{LoginDelay: -1},
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go srv.Serve(context.Background(), l)
	t.Cleanup(func() { _ = srv.Shutdown(context.Background()) })
	return l.Addr().String()
}

// numbers are what an answer tells, in ascending order.
func numbers(answer []string, name string) (out []int) {
	for _, a := range answer {
		if rest, ok := strings.CutPrefix(a, "* "+name); ok {
			for _, f := range strings.Fields(rest) {
				n, err := strconv.Atoi(f)
				if err != nil {
					return []int{-1}
				}
				out = append(out, n)
			}
		}
	}
	return out
}

// searchReason says why only one of us finds a message, "" if nothing does.
func searchReason(cmd, name string, raw []byte, weDo bool) string {
	head, _, _ := strings.Cut(string(raw), "\r\n\r\n")
	h := message.ParseHeader([]byte(head + "\r\n\r\n"))
	field := strings.Contains(cmd, " FROM ") || strings.Contains(cmd, " TO ") || strings.Contains(cmd, " CC ") || strings.Contains(cmd, " BCC ")
	_, dated := message.ParseDate(h.Get("Date"))
	switch {
	case strings.Contains(cmd, "SENT") && (!dated || len(h.Values("Date")) > 1):
		return "RFC 9051 section 6.4.4: SENT keys are about the Date field; a message without one has none, for Dovecot it is of 1970"
	case field && strings.ContainsAny(cmd[strings.IndexByte(cmd, '\n'):], "\"<>@ "):
		return "RFC 9051 section 6.4.4: FROM is in the envelope, to whose addresses quotes and brackets do not belong"
	case field && (name == "rfc/001.eml" || name == "rfc/004.eml" || name == "thirdparty/007.eml"):
		return "RFC 9051 section 7.5.2: an address without a domain has none; Dovecot calls it MISSING_DOMAIN"
	case strings.HasSuffix(cmd, "\r\n ") || strings.HasSuffix(cmd, "\r\n  "):
		return "RFC 5322 section 2.2.3: how many spaces a folded field has is not part of what it says"
	case !strings.Contains(cmd, "BODY") && !strings.Contains(cmd, "TEXT"):
		return ""
	case differs[name] != "":
		return differs[name] // where parts begin and end
	case bytes.Contains(bytes.ToLower(raw), []byte("message/")) && bytes.Contains(bytes.ToLower(raw), []byte("base64")):
		return "RFC 2046 section 5.2.1: a message inside is not encoded in BASE64; we decode it all the same"
	case weDo && strings.Contains(cmd, "BODY") && messageOrName.Match(raw):
		return "RFC 3501 section 6.4.4: a message inside and its header are in the body of the outer one; names of attachments are matched beyond the standard"
	case weDo && (name == "thirdparty/004.eml" || name == "legacy/017.eml" || name == "legacy/039.eml" || name == "legacy/052.eml"):
		return "RFC 9051 section 6.4.4: text is decoded, from charsets that Dovecot does not know too, and HTML as it is read"
	}
	return ""
}

var messageOrName = regexp.MustCompile(`(?i)message/|multipart/digest|name\*?\d?\*?=`)

// TestDovecotSearches: the answers to all keys of SEARCH over the corpus.
func TestDovecotSearches(t *testing.T) {
	names, mails := corpus(t)
	theirs, we := newTalker(t, startDovecot(t)), newTalker(t, ours(t))
	theirs.fill(mails)
	we.fill(mails)
	for _, cmd := range searches(mails) {
		want, wst := theirs.say(cmd)
		got, gst := we.say(cmd)
		if gst != wst {
			t.Errorf("%q: %s, Dovecot says %s", cmd, gst, wst)
		}
		a, b := numbers(got, "SEARCH"), numbers(want, "SEARCH")
		for _, n := range a {
			if !slices.Contains(b, n) && searchReason(cmd, names[n-1], mails[n-1], true) == "" {
				t.Errorf("%q: only we find %d, %s", cmd, n, names[n-1])
			}
		}
		for _, n := range b {
			if !slices.Contains(a, n) && searchReason(cmd, names[n-1], mails[n-1], false) == "" {
				t.Errorf("%q: only Dovecot finds %d, %s", cmd, n, names[n-1])
			}
		}
	}
}

// plainHeaders leaves out of a corpus what has no one meaning in SORT and THREAD: RFC 5322 section 2.2 knows no octets beyond
// ASCII in a header (we guess their charset, Dovecot does not), section 3.6 knows one Date and Subject of each message.
func plainHeaders(names []string, mails [][]byte) (n []string, m [][]byte) {
	for i, raw := range mails {
		head, _, _ := strings.Cut(string(raw), "\r\n\r\n")
		h := message.ParseHeader([]byte(head + "\r\n\r\n"))
		if beyondASCII.MatchString(head) || len(h.Values("Date")) > 1 || len(h.Values("Subject")) > 1 || strings.Contains(head, "utf-7") || addressless[names[i]] || bytes.Count(raw, []byte("\r")) != bytes.Count(raw, []byte("\n")) { // Dovecot drops a lone CR, we keep each octet
			continue
		}
		n, m = append(n, names[i]), append(m, raw)
	}
	return n, m
}

// addressless have addresses without a domain, which RFC 5322 section 3.4 does not know; Dovecot gives them one.
var addressless = map[string]bool{"rfc/001.eml": true, "rfc/004.eml": true, "rfc/009.eml": true, "thirdparty/007.eml": true}

var beyondASCII = regexp.MustCompile(`[^\x00-\x7f]`)

// TestDovecotSorts: the answers to all keys of SORT, to THREAD and to STATUS over the corpus.
func TestDovecotSorts(t *testing.T) {
	names, mails := plainHeaders(corpus(t))
	theirs, we := newTalker(t, startDovecot(t)), newTalker(t, ours(t))
	for _, k := range []*talker{theirs, we} {
		k.fill(mails)
		k.must("UNSELECT") // STATUS is for mailboxes that are not selected (RFC 9051 section 6.3.11)
	}
	t.Run("STATUS", func(t *testing.T) { compareStatus(t, we, theirs) })
	for _, k := range []*talker{theirs, we} {
		k.must("SELECT oracle")
	}
	t.Run("SORT", func(t *testing.T) { compareSorts(t, we, theirs, names) })
	t.Run("THREAD", func(t *testing.T) { compareThreads(t, we, theirs) })
	got, want := we.must("FETCH 1:* (RFC822.SIZE INTERNALDATE)"), theirs.must("FETCH 1:* (RFC822.SIZE INTERNALDATE)")
	for i := range min(len(got), len(want)) {
		if strings.Replace(got[i], `" `, `"0`, 1) != want[i] { // date-day-fixed of RFC 9051 section 9 has both forms
			t.Errorf("%s: %s, Dovecot %s", names[i], got[i], want[i])
		}
	}
}

// compareSorts compares the answers to all keys of SORT.
func compareSorts(t *testing.T, we, theirs *talker, names []string) {
	keys := strings.Fields("ARRIVAL CC DATE FROM SIZE SUBJECT TO DISPLAYFROM DISPLAYTO")
	var all []string
	for _, k := range keys {
		all = append(all, k, "REVERSE "+k, k+" REVERSE ARRIVAL", "SIZE REVERSE "+k, "REVERSE SUBJECT "+k+" ARRIVAL")
	}
	for _, k := range all {
		for _, crit := range []string{"UTF-8 ALL", "US-ASCII SEEN", "UTF-8 NOT FLAGGED 2:90"} {
			cmd := fmt.Sprintf("SORT (%s) %s", k, crit)
			want, wst := theirs.say(cmd)
			got, gst := we.say(cmd)
			a, b := numbers(got, "SORT"), numbers(want, "SORT")
			if gst != wst || !slices.Equal(a, b) {
				at := 0
				for at < min(len(a), len(b)) && a[at] == b[at] {
					at++
				}
				t.Errorf("%s: %s %s, %d and %d", cmd, gst, wst, len(a), len(b))
				for i := at; i < min(at+6, len(a), len(b)); i++ {
					t.Errorf("   %d: we %s, Dovecot %s", i, names[a[i]-1], names[b[i]-1])
				}
			}
		}
	}
}

// compareThreads compares the answers to both algorithms of THREAD.
func compareThreads(t *testing.T, we, theirs *talker) {
	for _, cmd := range []string{"REFERENCES UTF-8 ALL", "ORDEREDSUBJECT UTF-8 ALL", "REFERENCES UTF-8 SEEN", "ORDEREDSUBJECT US-ASCII NOT DRAFT", "REFERENCES UTF-8 1:20 UNSEEN"} {
		want, wst := theirs.say("THREAD " + cmd)
		got, gst := we.say("THREAD " + cmd)
		if gst != wst || !slices.Equal(got, want) {
			t.Errorf("%s\n  we      %s %q\n  Dovecot %s %q", cmd, gst, got, wst, want)
		}
	}
}

// compareStatus compares what STATUS counts.
func compareStatus(t *testing.T, we, theirs *talker) {
	for _, items := range []string{"MESSAGES", "UIDNEXT", "UNSEEN", "SIZE", "MESSAGES UNSEEN UIDNEXT", "RECENT"} {
		cmd := "STATUS oracle (" + items + ")"
		got, want := statusOf(we.must(cmd)), statusOf(theirs.must(cmd))
		if got != want || got == "" {
			t.Errorf("%s: %q, Dovecot %q", cmd, got, want)
		}
	}
	for _, cmd := range []string{"STATUS oracle ()", "STATUS oracle (NONE)", "STATUS none (MESSAGES)", "STATUS oracle MESSAGES"} {
		_, got := we.say(cmd)
		if _, want := theirs.say(cmd); got != want {
			t.Errorf("%s: %s, Dovecot %s", cmd, got, want)
		}
	}
}

// statusOf is what a STATUS answer tells, in alphabetical order.
func statusOf(answer []string) string {
	for _, a := range answer {
		if _, list, ok := strings.Cut(a, "("); ok && strings.HasPrefix(a, "* STATUS ") {
			f := strings.Fields(strings.TrimSuffix(list, ")"))
			var pairs []string
			for i := 0; i+1 < len(f); i += 2 {
				pairs = append(pairs, f[i]+" "+f[i+1])
			}
			slices.Sort(pairs)
			return strings.Join(pairs, ", ")
		}
	}
	return ""
}

// listed makes answers to LIST and LSUB comparable: sorted, without what Dovecot has not, quotes where there need be none.
func listed(cmd string, answer []string) []string {
	var out []string
	children := strings.HasPrefix(cmd, "LIST \"") && !strings.Contains(cmd, "RETURN") || strings.Contains(cmd, "CHILDREN")
	for _, a := range answer {
		m := listAnswer.FindStringSubmatch(a)
		if m == nil {
			continue
		}
		attrs := strings.Fields(strings.ReplaceAll(m[2], `\NonExistent`, `\Noselect`)) // RFC 9051 section 7.3.1: it implies the other
		attrs = slices.DeleteFunc(attrs, func(a string) bool {                         // RFC 5258 section 4: they may be told unasked
			return !children && strings.HasSuffix(a, "Children")
		})
		slices.Sort(attrs)
		out = append(out, fmt.Sprint(m[1], slices.Compact(attrs), m[3], strings.ReplaceAll(m[4], `"`, "")))
	}
	slices.Sort(out)
	return out
}

var listAnswer = regexp.MustCompile(`^\* (LIST|LSUB) \((.*?)\) (\S+) (.+)$`)

// listReason says why answers to LIST and LSUB may differ, "" if nothing does.
func listReason(cmd string) string {
	switch {
	case strings.HasSuffix(cmd, ` ""`):
		return "RFC 9051 section 6.3.9: the root that is told for an empty name may be empty"
	case strings.HasPrefix(cmd, "LSUB") && percentBefore.MatchString(cmd):
		return "RFC 3501 section 6.3.9: a parent of what is subscribed is told where % leads to it; Dovecot does so for % at the end alone"
	case strings.HasSuffix(cmd, `"lists" "/*"`), strings.HasSuffix(cmd, `"lists" "/"`):
		return "RFC 9051 section 6.3.9: how reference and name are joined is left to the server; Dovecot takes a name with / in front for a whole one"
	}
	return ""
}

// percentBefore is a pattern with % and a wildcard or text behind it.
var percentBefore = regexp.MustCompile(`"[^" ]*(\*%|%\*|%[a-z])[^" ]*"$`)

// TestDovecotLists compares LIST and LSUB with many patterns, over a tree with holes and subscriptions to what is not there.
func TestDovecotLists(t *testing.T) {
	theirs, we := newTalker(t, startDovecot(t)), newTalker(t, ours(t))
	for _, k := range []*talker{theirs, we} {
		for _, name := range []string{"a", "a/b", "a/b/c", "A", "hole/below", "hole/deep/er", "x y", "&AOQ-", "lists/go", "lists/go/nuts", "Inboxes", "a%b", "q"} {
			k.must(fmt.Sprintf("CREATE %q", name))
		}
		for _, name := range []string{"INBOX", "a/b", "hole/below", "lists/go/nuts", "q", "x y"} {
			k.must(fmt.Sprintf("SUBSCRIBE %q", name))
		}
		k.must("DELETE q")     // stays subscribed
		k.must("SELECT INBOX") // Dovecot makes it then
		k.must("UNSELECT")
		k.must("RENAME A aa")
		k.must("DELETE a") // has children
	}
	patterns := []string{"*", "%", "a", "a*", "a%", "a/%", "a/*", "*/b", "%/b", "%/%", "*c", "hole", "hole/%", "hole/*", "h%e", "inbox", "INBOX", "iNb*", "I%", "x y", "&AOQ-", "&*", "**", "%%", "*%", "%*", "lists/%/nuts", "lists/*", "none", "a/", "/", "/*", "%/", "", "q*", "a/b/c/", "*/*/*", "%/%/%"}
	var cmds []string
	for _, ref := range []string{"", "a/", "hole/", "lists", "none/", "INBOX"} {
		for _, p := range patterns {
			cmds = append(cmds, fmt.Sprintf("LIST %q %q", ref, p), fmt.Sprintf("LSUB %q %q", ref, p))
		}
	}
	for _, p := range []string{"*", "%", "a*", "hole/%", "(a% \"lists/*\")", "q"} {
		if p[0] != '(' {
			p = fmt.Sprintf("%q", p)
		}
		cmds = append(cmds, `LIST (SUBSCRIBED) "" `+p, `LIST "" `+p+` RETURN (SUBSCRIBED)`, `LIST "" `+p+` RETURN (CHILDREN)`, `LIST (SUBSCRIBED) "" `+p+` RETURN (CHILDREN)`, `LIST (SUBSCRIBED RECURSIVEMATCH) "" `+p, `LIST "" `+p+` RETURN (SUBSCRIBED CHILDREN)`)
	}
	for _, cmd := range cmds {
		want, wst := theirs.say(cmd)
		got, gst := we.say(cmd)
		if listReason(cmd) != "" && gst == wst {
			continue
		}
		if a, b := listed(cmd, got), listed(cmd, want); gst != wst || !slices.Equal(a, b) {
			t.Errorf("%s\n  we      %s %q\n  dovecot %s %q", cmd, gst, a, wst, b)
		}
	}
}
