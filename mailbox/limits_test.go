package mailbox

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/mail"
)

// TestTooMuch: what cannot be one batch is refused by COPY and cut by MOVE.
func TestTooMuch(t *testing.T) {
	ctx := context.Background()
	m := newBox(t, Config{})
	m.rowsOctets = 1 << 20
	a := login(t, m, 1)
	big := "To: " + strings.Repeat("a@example.org, ", 3000) + "b@example.org\r\n\r\n"
	for range 20 {
		put(t, a, "INBOX", imap.AppendOptions{}, big)
	}
	box, _ := choose(t, a, "INBOX")
	if _, err := box.Copy(ctx, everything(), "Archive", false); code(err) != "LIMIT" {
		t.Error(err)
	}
	if res, err := box.Copy(ctx, everything(), "Archive", true); err != nil || res.Source.String() != "1:20" || res.Dest.String() != "1:20" {
		t.Error(res, err)
	}
	many := make([]mail.Recipient, 100)
	for i := range many {
		many[i] = rcpt(2 + i)
	}
	for _, r := range deliver(t, m, big, many...) {
		if !r.Positive() {
			t.Error(r)
		}
	}
	verify(t, m)
}

func TestQuotaRoot(t *testing.T) {
	ctx := context.Background()
	m := newBox(t, Config{Directory: people{quota: 10 << 10}})
	a := login(t, m, 1)
	put(t, a, "INBOX", imap.AppendOptions{Flags: flags("D")}, strings.Repeat("x", 1025))
	q := a.(imap.Quotas)
	roots, err := q.QuotaRoots(ctx, "INBOX")
	if err != nil || len(roots) != 1 {
		t.Fatal(roots, err)
	}
	res, err := q.Quota(ctx, roots[0])
	if err != nil || fmt.Sprint(res) != "[{STORAGE 2 10}]" {
		t.Error(res, err)
	}
	if _, err := q.Quota(ctx, "other"); code(err) != "NONEXISTENT" {
		t.Error(err)
	}
	if err := q.SetQuota(ctx, roots[0], nil); code(err) != "NOPERM" {
		t.Error(err)
	}
	if st, err := a.Status(ctx, "INBOX"); err != nil || st.DeletedSize != 1025 {
		t.Error(st, err)
	}
	verify(t, m)
}
