package imap

import "testing"

func TestParseURL(t *testing.T) {
	const account = "anna@example.test"
	for _, c := range []struct {
		url     string
		mailbox string
		uid     UID
		valid   uint32
		ok      bool
	}{
		{"/INBOX/;UID=20", "INBOX", 20, 0, true},
		{"/inbox/;uid=20", "INBOX", 20, 0, true},
		{"/Sent%20Items;UIDVALIDITY=385759045/;UID=20/;SECTION=1.2", "Sent Items", 20, 385759045, true},
		{"/a/b/;UID=1/;SECTION=HEADER/;PARTIAL=0.1024", "a/b", 1, 0, true},
		{"/a/;UID=1/;PARTIAL=7", "a", 1, 0, true},
		{"/gr%C3%BCn/;UID=1", "gr\u00fcn", 1, 0, true},
		{";UID=3", "", 3, 0, true},
		{"/;UID=3/;SECTION=TEXT", "", 3, 0, true},
		{"imap://anna%40example.test@localhost/INBOX/;UID=1", "INBOX", 1, 0, true},
		{"IMAP://anna%40example.test;AUTH=*@localhost:143/INBOX/;UID=1", "INBOX", 1, 0, true},
		{"imap://localhost/INBOX/;UID=1", "", 0, 0, false},
		{"imap://bob@localhost/INBOX/;UID=1", "", 0, 0, false},
		{"imap://anna%40example.test@localhost", "", 0, 0, false},
		{"/INBOX", "", 0, 0, false},
		{"/INBOX/;UID=0", "", 0, 0, false},
		{"/INBOX/;UID=4294967296", "", 0, 0, false},
		{"/INBOX;UIDVALIDITY=0/;UID=1", "", 0, 0, false},
		{"/INBOX/;UID=1/;UID=2", "", 0, 0, false},
		{"/INBOX/;UID=1/;PARTIAL=1.2/;SECTION=1", "", 0, 0, false},
		{"/INBOX/;UID=1/;SECTION=1]", "", 0, 0, false},
		{"/INBOX/;UID=1/;PARTIAL=-1.2", "", 0, 0, false},
		{"/INBOX/;UID=1/;PARTIAL=1.0", "", 0, 0, false},
		{"/INBOX/;UID=1;URLAUTH=anonymous:INTERNAL:00", "", 0, 0, false},
		{"/%zz/;UID=1", "", 0, 0, false},
		{"", "", 0, 0, false},
	} {
		u, ok := parseURL(c.url, account)
		if ok != c.ok || ok && (u.mailbox != c.mailbox || u.uid != c.uid || u.validity != c.valid) {
			t.Errorf("%s: %+v, %v", c.url, u, ok)
		}
	}
}

func FuzzURL(f *testing.F) {
	for _, s := range []string{"/INBOX/;UID=20", "imap://a@b/INBOX;UIDVALIDITY=1/;UID=2/;SECTION=HEADER.FIELDS%20(A%20B)/;PARTIAL=1.2", ";UID=3"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if u, ok := parseURL(s, "a"); ok && u.uid == 0 {
			t.Error("a URL of no message")
		}
	})
}
