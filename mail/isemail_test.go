package mail_test

import (
	"encoding/xml"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/samotop/samotop/mail"
)

// isemailDifferences are the tests of isemail that ParseAddress answers otherwise, on purpose.
var isemailDifferences = map[string]string{
	"39": "the parts are within their limits; the 256 octets of a whole path (RFC 5321 section 4.5.3.1.3) are a least maximum, and a receiver may take more",
	"40": "likewise",
	"43": "an empty quoted local part is legal by the letter and never meant",
	"59": "the limit of a local part counts what it means, not its quotes",
	"60": "likewise",
	"71": ":: for a single group is deprecated (RFC 5952 section 4.2.2) but names the same address",
}

// The vectors tell what RFC 5321 allows in an envelope apart from what RFC 5322 allows in a header; ParseAddress is
// for the envelope.
func TestIsemail(t *testing.T) {
	root := os.Getenv("SAMOTOP_SHARED")
	if root == "" {
		root = filepath.Join("..", "..", "shared")
	}
	b, err := os.ReadFile(filepath.Join(root, "vectors", "isemail", "tests.xml"))
	if err != nil {
		t.Skipf("the vectors are not here: %v (SAMOTOP_SHARED says where they are)", err)
	}
	var suite struct {
		Tests []struct {
			ID        string `xml:"id,attr"`
			Address   string `xml:"address"`
			Category  string `xml:"category"`
			Diagnosis string `xml:"diagnosis"`
		} `xml:"test"`
	}
	if err := xml.Unmarshal(b, &suite); err != nil || len(suite.Tests) < 150 {
		t.Fatalf("%d tests: %v", len(suite.Tests), err)
	}
	seen := map[string]bool{}
	for _, c := range suite.Tests {
		address := strings.Map(func(r rune) rune { // control characters stand as their pictures
			if r >= 0x2400 && r <= 0x2421 {
				return r - 0x2400
			}
			return r
		}, c.Address)
		want := false
		switch c.Category {
		case "ISEMAIL_VALID_CATEGORY", "ISEMAIL_RFC5321", "ISEMAIL_DNSWARN":
			want = true
		}
		a, err := mail.ParseAddress(address)
		if (err == nil) != want {
			if isemailDifferences[c.ID] == "" {
				t.Errorf("%s %q (%s %s): %+v, %v", c.ID, address, c.Category, c.Diagnosis, a, err)
			}
			seen[c.ID] = true
			continue
		}
		if err == nil {
			if again, err := mail.ParseAddress(a.String()); err != nil || again != a {
				t.Errorf("%s %q: written as %q, read as %+v, %v", c.ID, address, a.String(), again, err)
			}
		}
	}
	for id := range isemailDifferences {
		if !seen[id] {
			t.Errorf("test %s is listed as a difference but is none", id)
		}
	}
}
