package house

import (
	"os"
	"regexp"
	"testing"
)

// TestRulesPage: docs/rules-protocol.md tells of each method that there is, and of no other.
func TestRulesPage(t *testing.T) {
	text, err := os.ReadFile("../../docs/rules-protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| .* \\| .* \\|$").FindAllStringSubmatch(string(text), -1) {
		told[m[1]] = true
	}
	all := methods(&remoteAccounts{})
	for name := range all {
		if !told[name] {
			t.Errorf("%s is not told", name)
		}
	}
	for name := range told {
		if _, ok := all[name]; !ok {
			t.Errorf("%s is told, and is not there", name)
		}
	}
}
