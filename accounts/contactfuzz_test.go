package accounts

import (
	"strings"
	"testing"

	"github.com/samotop/samotop/mail"
)

// FuzzParseContact: what a person writes as a contact has one name, which is its own and can be kept; SRS does not let a sender's
// proof count for another's domain.
func FuzzParseContact(f *testing.F) {
	for _, s := range []string{"bob@far.test", "@far.test", "list:news.far.test", "LIST:a.b", "@[192.0.2.1]", "\"a b\"@x.test", "SRS0=HHH=TT=far.test=bob@evil.test", "list:", "@", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, err := parseContact(s)
		if err != nil {
			return
		}
		if !validContact(name) && len(name) <= maxContactName {
			t.Errorf("%q is contact %q, which is none", s, name)
		}
		if strings.HasPrefix(name, listPrefix) || strings.HasPrefix(name, "@") {
			if again, err := parseContact(name); err != nil || again != name {
				t.Errorf("%q is %q is %q, %v", s, name, again, err)
			}
		}
	})
}

// FuzzListID: a List-Id that is taken is kept as it is, and who signed for it is among those who signed.
func FuzzListID(f *testing.F) {
	f.Add("news.list.test", "list.test", "x@evil.test")
	f.Add(" A.B ", "b", "x@sub.a.b")
	f.Add("co.uk", "uk", "x@co.uk")
	f.Fuzz(func(t *testing.T, id, by, sender string) {
		list := cleanListID(id)
		if list == "" {
			return
		}
		if cleanListID(list) != list {
			t.Errorf("%q is %q is %q", id, list, cleanListID(list))
		}
		from, err := mail.ParseAddress(sender)
		if err != nil {
			return
		}
		d, own := signedForList(&Content{Sender: from, ListSigned: []string{by}}, list)
		if d != "" && d != strings.ToLower(by) || own != (signedByList(&Content{ListSigned: []string{by}}, list) != "") {
			t.Errorf("%q for %q is signed by %q, %t", by, list, d, own)
		}
	})
}
