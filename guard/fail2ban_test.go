package guard

import (
	"bytes"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestFail2ban: the expression of docs/guard.md finds the address in the lines that the log has, for guesses and for bans, and in no
// others.
func TestFail2ban(t *testing.T) {
	doc, err := os.ReadFile("../docs/guard.md")
	if err != nil {
		t.Fatal(err)
	}
	_, expr, ok := strings.Cut(string(doc), "failregex = ")
	expr, _, _ = strings.Cut(expr, "\n")
	if !ok || !strings.Contains(expr, "<HOST>") {
		t.Fatalf("the page has no expression: %q", expr)
	}
	re := regexp.MustCompile(strings.Replace(expr, "<HOST>", `(?P<host>[0-9a-f.:]+)`, 1))
	var b bytes.Buffer
	log := slog.New(slog.NewTextHandler(&b, nil)).With("room", "guard")
	a := openAbuse(t, AbuseConfig{WrongPasswords: 2, UnknownRecipients: 2, Log: log})
	for _, from := range []string{"192.0.2.7", "2001:db8::7"} {
		for range 2 {
			a.Did(t.Context(), WrongPassword, ip(from))
			a.Did(t.Context(), UnknownRecipient, ip(from))
			a.Did(t.Context(), KnownRecipient, ip(from))
		}
	}
	log.Info("judged", "ip", "192.0.2.1", "from", "level=INFO msg=abuse room=guard ip=192.0.2.3 x")
	found := map[string]int{}
	for line := range strings.Lines(b.String()) {
		_, cut, _ := strings.Cut(line, " ") // fail2ban takes the time out
		plain, journal := re.MatchString("time= "+strings.TrimSpace(cut)), re.MatchString("host samotop[7]: "+strings.TrimSpace(line))
		m := re.FindStringSubmatch(strings.TrimSpace(line))
		if plain != journal || plain != (m != nil) {
			t.Errorf("%q: %v %v %v", line, plain, journal, m)
		}
		if m != nil {
			found[m[1]]++
		}
	}
	// Four guesses and a ban each, after which counting begins anew; a stranger's text matches nothing.
	if len(found) != 2 || found["192.0.2.7"] != 5 || found["2001:db8::7"] != 5 {
		t.Errorf("%v in\n%s", found, b.String())
	}
}
