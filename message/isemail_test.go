package message

import (
	"encoding/xml"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What RFC 5322 allows in a header must be read as one address, comments, folding and obsolete forms included.
func TestIsemailInHeader(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(shared(t, "isemail"), "tests.xml"))
	if err != nil {
		t.Fatal(err)
	}
	var suite struct {
		Tests []struct {
			ID       string `xml:"id,attr"`
			Address  string `xml:"address"`
			Category string `xml:"category"`
		} `xml:"test"`
	}
	if err := xml.Unmarshal(b, &suite); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, c := range suite.Tests {
		if c.Category == "ISEMAIL_ERR" || c.ID == "43" || c.ID == "134" { // not, an empty local part, a quoted line end (unfolded before)
			continue
		}
		n++
		address := strings.Map(func(r rune) rune {
			if r >= 0x2400 && r <= 0x2421 {
				return r - 0x2400
			}
			return r
		}, c.Address)
		list := ParseAddressList([]byte(address))
		if len(list) != 1 || list[0].Address.Local == "" || list[0].Address.Domain == "" || strings.ContainsAny(list[0].Address.Domain, "()") {
			t.Errorf("%s %q: %+v", c.ID, address, list)
		}
	}
	if n < 60 {
		t.Errorf("only %d addresses", n)
	}
}
