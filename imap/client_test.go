package imap_test

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// dialClient logs in with a client that somebody else wrote.
func dialClient(t *testing.T, addr string, o *imapclient.Options) *imapclient.Client {
	t.Helper()
	c, err := imapclient.DialInsecure(addr, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.Login("alice@example.test", "secret").Wait(); err != nil {
		t.Fatal(err)
	}
	return c
}

func appendMessages(t *testing.T, c *imapclient.Client, n int) {
	t.Helper()
	for i := range n {
		msg := fmt.Sprintf("From: a%d <a%d@b.test>\r\nSubject: message %d\r\nDate: Mon, 7 Feb 1994 21:52:%02d -0800\r\n\r\ntext %d\r\n", i, i, i, i%60, i)
		cmd := c.Append("INBOX", int64(len(msg)), &goimap.AppendOptions{Flags: []goimap.Flag{goimap.FlagFlagged}})
		if _, err := io.WriteString(cmd, msg); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Close(); err != nil {
			t.Fatal(err)
		}
		if d, err := cmd.Wait(); err != nil || d.UID != goimap.UID(i+1) {
			t.Fatal(d, err)
		}
	}
}

// TestIndependentClient: go-imap's client understands what the server says, command by command.
func TestIndependentClient(t *testing.T) {
	c := dialClient(t, newServer(t, nil), nil)
	appendMessages(t, c, 10)
	if err := c.Create("Archive", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	if l, err := c.List("", "*", nil).Collect(); err != nil || len(l) != 2 || l[0].Mailbox != "Archive" || l[0].Delim != '/' {
		t.Fatal(l, err)
	}
	sel, err := c.Select("INBOX", nil).Wait()
	if err != nil || sel.NumMessages != 10 || sel.UIDNext != 11 {
		t.Fatal(sel, err)
	}
	fetched, err := c.Fetch(goimap.SeqSetNum(3), &goimap.FetchOptions{
		UID: true, Flags: true, Envelope: true, InternalDate: true, RFC822Size: true, BodyStructure: &goimap.FetchItemBodyStructure{Extended: true},
		BodySection: []*goimap.FetchItemBodySection{{Peek: true}},
	}).Collect()
	if err != nil || len(fetched) != 1 {
		t.Fatal(fetched, err)
	}
	m := fetched[0]
	text := string(m.BodySection[0].Bytes)
	if m.UID != 3 || m.Envelope.Subject != "message 2" || m.Envelope.From[0].Addr() != "a2@b.test" || !strings.HasSuffix(text, "text 2\r\n") ||
		m.RFC822Size != int64(len(text)) || m.BodyStructure.MediaType() != "text/plain" || !slices.Contains(m.Flags, goimap.FlagFlagged) {
		t.Errorf("%+v", m)
	}
	if r, err := c.UIDSearch(&goimap.SearchCriteria{Header: []goimap.SearchCriteriaHeaderField{{Key: "Subject", Value: "message 7"}}}, nil).Wait(); err != nil || !slices.Equal(r.AllUIDs(), []goimap.UID{8}) {
		t.Error(r, err)
	}
	if r, err := c.Search(&goimap.SearchCriteria{}, &goimap.SearchOptions{ReturnCount: true, ReturnMax: true}).Wait(); err != nil || r.Count != 10 || r.Max != 10 {
		t.Error(r, err)
	}
	order, err := c.Sort(&imapclient.SortOptions{SortCriteria: []imapclient.SortCriterion{{Key: imapclient.SortKeyDate, Reverse: true}}, SearchCriteria: &goimap.SearchCriteria{}}).Wait()
	if err != nil || len(order) != 10 || order[0] != 10 {
		t.Error(order, err)
	}
	if err := c.Store(goimap.SeqSetNum(1, 2), &goimap.StoreFlags{Op: goimap.StoreFlagsAdd, Flags: []goimap.Flag{goimap.FlagDeleted}}, nil).Close(); err != nil {
		t.Error(err)
	}
	if seqs, err := c.Expunge().Collect(); err != nil || len(seqs) != 2 {
		t.Error(seqs, err)
	}
	if d, err := c.Move(goimap.SeqSetNum(1), "Archive").Wait(); err != nil || fmt.Sprint(d.SourceUIDs) != "3" || fmt.Sprint(d.DestUIDs) != "1" {
		t.Errorf("%+v %v", d, err)
	}
	st, err := c.Status("Archive", &goimap.StatusOptions{NumMessages: true, UIDNext: true, Size: true}).Wait()
	if err != nil || *st.NumMessages != 1 || st.UIDNext != 2 {
		t.Error(st, err)
	}
	if ns, err := c.Namespace().Wait(); err != nil || len(ns.Personal) != 1 {
		t.Error(ns, err)
	}
	if err := c.Logout().Wait(); err != nil {
		t.Error(err)
	}
}

// TestIndependentClientIdles: it hears of mail that another session brings.
func TestIndependentClientIdles(t *testing.T) {
	addr := newServer(t, nil)
	count := make(chan uint32, 10)
	a := dialClient(t, addr, &imapclient.Options{UnilateralDataHandler: &imapclient.UnilateralDataHandler{
		Mailbox: func(d *imapclient.UnilateralDataMailbox) {
			if d.NumMessages != nil {
				count <- *d.NumMessages
			}
		},
	}})
	if _, err := a.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	idle, err := a.Idle()
	if err != nil {
		t.Fatal(err)
	}
	appendMessages(t, dialClient(t, addr, nil), 1)
	select {
	case n := <-count:
		if n != 1 {
			t.Errorf("%d messages", n)
		}
	case <-time.After(30 * time.Second):
		t.Error("nothing was told")
	}
	if err := idle.Close(); err != nil {
		t.Error(err)
	}
	if err := idle.Wait(); err != nil {
		t.Error(err)
	}
}
