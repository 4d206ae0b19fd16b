package imap

import "testing"

func TestURLOwner(t *testing.T) {
	for _, x := range []struct {
		url, account string
		is           bool
	}{
		{"imap://alice%40example.test@mx.test/INBOX", "alice@example.test", true},
		{"imap://Alice%40example.test@mx.test:143/INBOX", "alice@example.test", true},
		{"imap://alice;AUTH=*@example.test/INBOX", "alice@example.test", true}, // the user of a domain
		{"imap://alice@example.test:143/INBOX", "alice@example.test", true},
		{"imap://fred@mx.test/INBOX", "fred", true},
		{"imap://alice@mx.test/INBOX", "alice@example.test", false},
		{"imap://bob@example.test/INBOX", "alice@example.test", false},
		{"imap://alice%40example.test@/INBOX", "alice@example.test", true},
		{"imap://example.test/INBOX", "alice@example.test", false},
	} {
		o, path, ok := splitServer(x.url)
		if !ok || path != "/INBOX" || o.isOf(x.account) != x.is {
			t.Errorf("%s: %+v, %q, %v; of %s: %v", x.url, o, path, ok, x.account, o.isOf(x.account))
		}
	}
	for _, bad := range []string{"imap:/x", "http://a@b/c", "imap://%zz@b/c"} {
		if _, _, ok := splitServer(bad); ok {
			t.Errorf("%s is read", bad)
		}
	}
}
