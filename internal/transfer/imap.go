package transfer

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/url"
	"os"
	"strings"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// IMAP reads from a server. What was imported before is not fetched again: a message is known by UIDVALIDITY and UID.
type IMAP struct {
	where string // for ids
	c     *imapclient.Client
}

var _ Source = (*IMAP)(nil)

// DialIMAP logs in to imaps://USER@HOST[:PORT], or imap://USER@HOST[:PORT] with STARTTLS, which is left out only on a
// loopback address that does not offer it.
func DialIMAP(where, password string, conf *tls.Config) (*IMAP, error) {
	u, err := url.Parse(where)
	if err != nil || u.Scheme != "imap" && u.Scheme != "imaps" || u.Hostname() == "" || u.User == nil || u.User.Username() == "" {
		return nil, fmt.Errorf("%q is not a server and a user: write imaps://USER@HOST, in USER %%40 for @", where)
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"imap": "143", "imaps": "993"}[u.Scheme]
	}
	addr := net.JoinHostPort(u.Hostname(), port)
	if conf == nil {
		conf = &tls.Config{}
	}
	conf = conf.Clone()
	conf.ServerName = u.Hostname()
	o := &imapclient.Options{TLSConfig: conf}
	var c *imapclient.Client
	if u.Scheme == "imaps" {
		c, err = imapclient.DialTLS(addr, o)
	} else {
		c, err = imapclient.DialStartTLS(addr, o)
		if ip := net.ParseIP(u.Hostname()); err != nil && ip != nil && ip.IsLoopback() {
			c, err = dialClear(addr, err)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", addr, err)
	}
	if err := c.Login(u.User.Username(), password).Wait(); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("%s: log in: %w", addr, err)
	}
	return &IMAP{where: u.User.Username() + "@" + u.Hostname(), c: c}, nil
}

// dialClear connects without TLS to a server that does not offer it; one that does has failed by cause.
func dialClear(addr string, cause error) (*imapclient.Client, error) {
	c, err := imapclient.DialInsecure(addr, &imapclient.Options{})
	if err != nil {
		return nil, err
	}
	if c.Caps().Has(imap.CapStartTLS) {
		_ = c.Close()
		return nil, cause
	}
	return c, nil
}

// Close logs out.
func (s *IMAP) Close() error {
	_ = s.c.Logout().Wait()
	_ = s.c.Close() // it is closed by the server
	return nil
}

// Folders lists what can be selected.
func (s *IMAP) Folders(context.Context) ([]Folder, error) {
	list, err := s.c.List("", "*", nil).Collect()
	if err != nil {
		return nil, fmt.Errorf("list folders: %w", err)
	}
	var out []Folder
	for _, l := range list {
		f := Folder{Name: l.Mailbox, path: l.Mailbox}
		skip := false
		for _, a := range l.Attrs {
			switch a {
			case imap.MailboxAttrNoSelect, imap.MailboxAttrNonExistent, imap.MailboxAttrAll: // \All shows what is elsewhere too
				skip = true
			case imap.MailboxAttrSent, imap.MailboxAttrDrafts, imap.MailboxAttrTrash, imap.MailboxAttrJunk, imap.MailboxAttrArchive:
				f.Use = string(a)
			}
		}
		if skip {
			continue
		}
		if l.Delim != 0 && l.Delim != '/' {
			f.Name = strings.ReplaceAll(strings.ReplaceAll(f.Name, "/", "_"), string(l.Delim), "/")
		}
		st, err := s.c.Status(l.Mailbox, &imap.StatusOptions{NumMessages: true}).Wait()
		if err != nil {
			return nil, fmt.Errorf("folder %s: %w", l.Mailbox, err)
		}
		if st.NumMessages != nil {
			f.Messages = int(*st.NumMessages)
		}
		out = append(out, f)
	}
	return out, nil
}

// fetchMessages are asked for at once.
const fetchMessages = 100

// Messages fetches what is not known.
func (s *IMAP) Messages(ctx context.Context, f Folder, known func(string) bool, skipped func(int)) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		stop := context.AfterFunc(ctx, func() { _ = s.c.Close() }) // ends what waits for the server
		defer stop()
		sel, err := s.c.Select(f.path, &imap.SelectOptions{ReadOnly: true}).Wait()
		if err != nil {
			yield(Item{}, err)
			return
		}
		if sel.NumMessages == 0 {
			return
		}
		found, err := s.c.UIDSearch(&imap.SearchCriteria{}, nil).Wait()
		if err != nil {
			yield(Item{}, err)
			return
		}
		id := func(uid imap.UID) string {
			return fmt.Sprintf("imap\x00%s\x00%s\x00%d\x00%d", s.where, f.path, sel.UIDValidity, uid)
		}
		var want []imap.UID
		for _, uid := range found.AllUIDs() {
			if known(id(uid)) {
				skipped(1)
			} else {
				want = append(want, uid)
			}
		}
		for len(want) > 0 && ctx.Err() == nil {
			n := min(fetchMessages, len(want))
			if !s.fetch(imap.UIDSetNum(want[:n]...), id, yield) {
				return
			}
			want = want[n:]
		}
		if err := ctx.Err(); err != nil {
			yield(Item{}, err)
		}
	}
}

func (s *IMAP) fetch(uids imap.UIDSet, id func(imap.UID) string, yield func(Item, error) bool) bool {
	cmd := s.c.Fetch(uids, &imap.FetchOptions{UID: true, Flags: true, InternalDate: true, BodySection: []*imap.FetchItemBodySection{{Peek: true}}})
	for m := cmd.Next(); m != nil; m = cmd.Next() {
		item, uid, err := s.item(m)
		if err != nil {
			_ = cmd.Close()
			yield(Item{}, err)
			return false
		}
		if item.Write == nil || uid == 0 { // an unsolicited FETCH
			continue
		}
		item.ID = id(uid)
		if !yield(item, nil) {
			_ = cmd.Close()
			return false
		}
	}
	if err := cmd.Close(); err != nil {
		yield(Item{}, err)
		return false
	}
	return true
}

// spoolOctets is how much of a message is kept in memory; larger ones wait in a file.
const spoolOctets = 1 << 20

func (s *IMAP) item(m *imapclient.FetchMessageData) (item Item, uid imap.UID, err error) {
	for d := m.Next(); d != nil; d = m.Next() {
		switch d := d.(type) {
		case imapclient.FetchItemDataUID:
			uid = d.UID
		case imapclient.FetchItemDataFlags:
			for _, f := range d.Flags {
				item.Flags = append(item.Flags, string(f))
			}
		case imapclient.FetchItemDataInternalDate:
			item.Date = d.Time
		case imapclient.FetchItemDataBodySection:
			if d.Literal == nil {
				continue
			}
			item.Size = d.Literal.Size()
			if item.Write, err = spool(d.Literal); err != nil {
				return item, uid, err
			}
		}
	}
	return item, uid, nil
}

// spool keeps a content until it is written.
func spool(r io.Reader) (func(io.Writer) error, error) {
	var b bytes.Buffer
	if _, err := io.CopyN(&b, r, spoolOctets); errors.Is(err, io.EOF) {
		return func(w io.Writer) error {
			_, err := w.Write(b.Bytes())
			return err
		}, nil
	} else if err != nil {
		return nil, err
	}
	f, err := os.CreateTemp("", "samotop-import")
	if err != nil {
		return nil, err
	}
	_ = os.Remove(f.Name()) // it lives until it is closed, by the collector at the latest
	if _, err := io.Copy(f, io.MultiReader(&b, r)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func(w io.Writer) error {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return err
		}
		_, err := io.Copy(w, f)
		return err
	}, nil
}
