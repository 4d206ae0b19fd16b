package config

import (
	"slices"
	"strings"
	"testing"
)

// FuzzCheckRule: a rule of [mta] checks is read as it is written, or a fault says what is wrong with it.
func FuzzCheckRule(f *testing.F) {
	for _, s := range []string{"spf=fail junk", "example.org dmarc=fail-list accept", ".example.org arc=pass accept", "fcrdns refuse", "dkim= junk",
		"spf=fail", "x spf=fail junk y", "[1.2.3.4] spf refuse", "münchen.example spf defer", "spf==fail junk", " ", "EXAMPLE.org. SPF=fail junk"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l := loader{files: []string{"samotop.toml"}}
		r, ok := l.checkRule(s)
		if ok == (len(l.faults) > 0) {
			t.Fatalf("%q: %v, with %v", s, ok, l.faults)
		}
		if !ok {
			return
		}
		if results := checkResults[r.Check]; results == nil || r.Result != "" && !slices.Contains(results, r.Result) || !slices.Contains(checkActions, r.Action) {
			t.Errorf("%q became %+v", s, r)
		}
		if strings.ToLower(r.Domain) != r.Domain || strings.ContainsAny(r.Domain, " \t\r\n[") {
			t.Errorf("%q: domain %q", s, r.Domain)
		}
		text := strings.TrimSpace(r.Domain + " " + r.Check)
		if r.Result != "" {
			text += "=" + r.Result
		}
		if again, ok := (&loader{files: l.files}).checkRule(text + " " + r.Action); !ok || again != r {
			t.Errorf("%q is %+v; written %q it is %+v, %v", s, r, text, again, ok)
		}
	})
}
