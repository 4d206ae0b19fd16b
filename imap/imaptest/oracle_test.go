package imaptest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/imap/imapmem"
)

// corpus reads the messages of the shared vectors, with lines that end in CRLF.
func corpus(t *testing.T) (names []string, mails [][]byte) {
	t.Helper()
	dir := os.Getenv("SAMOTOP_SHARED")
	if dir == "" {
		dir = "../../../shared"
	}
	for _, pat := range []string{"mime-mime4j/*.msg", "mime-mime4j/*/*.msg", "mime-mailparser/eml/*.eml", "mime-mailparser/eml/*/*.eml"} {
		files, err := filepath.Glob(filepath.Join(dir, "vectors", pat))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			raw, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.IndexByte(raw, 0) >= 0 || len(raw) == 0 || len(raw) > 1<<20 {
				continue // NUL cannot be appended without BINARY
			}
			raw = bytes.ReplaceAll(bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
			names, mails = append(names, filepath.Base(filepath.Dir(f))+"/"+filepath.Base(f)), append(mails, raw)
		}
	}
	if len(mails) == 0 {
		t.Skip("the MIME corpus is missing, set SAMOTOP_SHARED")
	}
	return names, mails
}

// answers appends the corpus to a server and returns what it says of each message.
func answers(t *testing.T, addr string, mails [][]byte, items string) []string {
	t.Helper()
	cfg := &Config{Timeout: 30 * time.Second, Dial: func(context.Context) (net.Conn, error) { return net.Dial("tcp", addr) }}
	c, err := dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.nc.Close()
	r := &runner{cfg: cfg, vars: map[string]node{}}
	if err := r.must(c, "login", quote("alice@example.test"), quote("secret")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.simple(c, []node{{text: "delete"}, quote("oracle")}); err != nil {
		t.Fatal(err)
	}
	if err := r.must(c, "create", quote("oracle")); err != nil {
		t.Fatal(err)
	}
	for _, m := range mails {
		if err := r.must(c, "append", quote("oracle"), node{kind: literal, text: string(m)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.must(c, "examine", quote("oracle")); err != nil {
		t.Fatal(err)
	}
	replies, st, err := r.simple(c, []node{{text: "fetch 1:* " + items}})
	if err != nil || st != "ok" {
		t.Fatal(st, err)
	}
	var out []string
	for _, rep := range replies {
		if replyName(rep.args) == "fetch" {
			out = append(out, normal(&rep.args[2]))
		}
	}
	return out
}

// normal is an answer in a form in which atoms, strings and literals look alike, and case does not count.
func normal(n *node) string {
	if n.kind == list || n.kind == code {
		var parts []string
		for i := range n.items {
			parts = append(parts, normal(&n.items[i]))
		}
		return "(" + strings.Join(parts, " ") + ")"
	}
	if n.text == "NIL" && !n.quoted && n.kind == word {
		return "NIL"
	}
	return fmt.Sprintf("%q", strings.ToLower(n.text))
}

// alike reports whether two answers say the same where the standard leaves the form to the server: the count of lines
// may leave out one that has no end (RFC 9051 section 7.5.2 says "size of the body in text lines"), a section that
// does not exist is NIL or empty, an address without domain has an empty or an invented one, and white space that was
// folded may have been made one space.
func alike(a, b string) bool {
	x, y := strings.Fields(oracleNames.Replace(a)), strings.Fields(oracleNames.Replace(b))
	if len(x) != len(y) {
		return false
	}
	for i := range x {
		if x[i] == y[i] {
			continue
		}
		m, n, p, q := 0, 0, strings.Trim(x[i], `"()`), strings.Trim(y[i], `"()`)
		if _, err := fmt.Sscan(p, &m); err != nil {
			return false
		}
		if _, err := fmt.Sscan(q, &n); err != nil || m != n+1 {
			return false
		}
	}
	return true
}

var oracleNames = strings.NewReplacer("missing_domain", "", "missing_mailbox", "", "NIL", `""`, `\t`, " ")

const lineEnd = "RFC 2046 section 5.1.1: the line end before a boundary belongs to the boundary, also to an outer one"

// differs lists the messages on which we and Dovecot part, and why that stands.
var differs = map[string]string{
	"testmsgs/basic-plain-with-bad-header-separator.msg": "white space at the end of a field is not part of its value",
	"testmsgs/very-long-boundary.msg":                    "RFC 2046 section 5.1.1: a boundary has at most 70 octets and does not end in a space",
	"testmsgs/very-very-long-boundary.msg":               "RFC 2046 section 5.1.1: a boundary has at most 70 octets and does not end in a space",
	"testmsgs/boundary-name-clash.msg":                   lineEnd,
	"testmsgs/missing-inner-start-boundary.msg":          lineEnd,
	"legacy/049.eml":                                     lineEnd,
	"malformed/001.eml":                                  lineEnd,
	"malformed/007.eml":                                  lineEnd,
	"malformed/016.eml":                                  "RFC 2046 section 5.1.1: a boundary has at most 70 octets",
	"malformed/017.eml":                                  "RFC 2045 section 5.2: a Content-Type that cannot be read is as none; we read what can be",
	"malformed/019.eml":                                  "RFC 5322 section 3.6: there are two Date fields where one is allowed; we take the first",
	"malformed/022.eml":                                  lineEnd,
	"rfc/001.eml":                                        "RFC 2045 section 5.1: a parameter has an unquoted special in its value",
	"rfc/008.eml":                                        lineEnd,
	"thirdparty/007.eml":                                 "lines without an end count, at several levels",
	"thirdparty/010.eml":                                 "RFC 2045 section 5.1: a parameter is given twice",
	"thirdparty/011.eml":                                 lineEnd,
	"thirdparty/015.eml":                                 lineEnd,
}

// TestDovecotAsOracle compares what we say of a corpus of hard messages with what Dovecot says.
func TestDovecotAsOracle(t *testing.T) {
	names, mails := corpus(t)
	theirs := startDovecot(t)
	srv := &imap.Server{Backend: imapmem.New(), Auth: imapmem.Passwords{"alice@example.test": "secret"}, PlaintextLoopback: true}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go srv.Serve(context.Background(), l)
	t.Cleanup(func() { _ = srv.Shutdown(context.Background()) })
	for _, items := range []string{
		"(RFC822.SIZE)", "(ENVELOPE)", "(BODY)", "(BODYSTRUCTURE)",
		"(BODY.PEEK[1] BODY.PEEK[1.MIME] BODY.PEEK[2] BODY.PEEK[2.HEADER] BODY.PEEK[HEADER.FIELDS (From Subject)] BODY.PEEK[TEXT])",
	} {
		t.Run(items, func(t *testing.T) {
			got, want := answers(t, l.Addr().String(), mails, items), answers(t, theirs, mails, items)
			if len(got) != len(mails) || len(want) != len(mails) {
				t.Fatalf("%d and %d answers to %d messages", len(got), len(want), len(mails))
			}
			for i := range got {
				if reason := differs[names[i]]; reason == "" && !alike(got[i], want[i]) {
					t.Errorf("%s\n  we      %.2000s\n  dovecot %.2000s", names[i], got[i], want[i])
				}
			}
		})
	}
}
