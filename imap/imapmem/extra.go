package imapmem

import (
	"context"
	"slices"
	"strings"

	"github.com/samotop/samotop/imap"
)

var (
	_ imap.Quotas   = (*account)(nil)
	_ imap.Metadata = (*account)(nil)
	_ imap.ACLs     = (*account)(nil)
)

// root is the one quota root of an account.
const root = "account"

func (a *account) QuotaRoots(_ context.Context, mailbox string) ([]string, error) {
	return []string{root}, nil
}

func (a *account) Quota(_ context.Context, name string) ([]imap.QuotaResource, error) {
	defer a.lock()()
	if name != root {
		return nil, &imap.Error{Code: "NONEXISTENT", Text: "there is no such quota root"}
	}
	out := slices.Clone(a.user.quota)
	for i := range out {
		for _, b := range a.user.boxes {
			if st := b.status(); out[i].Name == "STORAGE" {
				out[i].Usage += (st.Size + 1023) / 1024
			} else {
				out[i].Usage += int64(st.Messages)
			}
		}
	}
	return out, nil
}

func (a *account) SetQuota(_ context.Context, name string, limits []imap.QuotaResource) error {
	defer a.lock()()
	if name != root {
		return &imap.Error{Code: "NONEXISTENT", Text: "there is no such quota root"}
	}
	for _, l := range limits {
		if l.Name != "STORAGE" && l.Name != "MESSAGE" {
			return &imap.Error{Bad: true, Text: "there is no such resource"}
		}
	}
	a.user.quota = slices.Clone(limits)
	return nil
}

// overQuota tells whether so many messages of so many octets have no room; the lock is held.
func (u *user) overQuota(messages int, octets int64) error {
	for _, q := range u.quota {
		used := int64(0)
		for _, b := range u.boxes {
			if st := b.status(); q.Name == "STORAGE" {
				used += st.Size
			} else {
				used += int64(st.Messages)
			}
		}
		if q.Name == "STORAGE" && (used+octets+1023)/1024 > q.Limit || q.Name == "MESSAGE" && used+int64(messages) > q.Limit {
			return &imap.Error{Code: "OVERQUOTA", Text: "there is no room for it"}
		}
	}
	return nil
}

func (a *account) Entries(_ context.Context, mailbox string) ([]imap.MetadataEntry, error) {
	defer a.lock()()
	if mailbox != "" && a.user.boxes[mailbox] == nil {
		return nil, nonexistent(mailbox)
	}
	return slices.Clone(a.user.metadata[mailbox]), nil
}

func (a *account) SetEntries(_ context.Context, mailbox string, entries []imap.MetadataEntry) error {
	defer a.lock()()
	if mailbox != "" && a.user.boxes[mailbox] == nil {
		return nonexistent(mailbox)
	}
	list := slices.Clone(a.user.metadata[mailbox])
	event := imap.Event{Kind: imap.EventMetadata, Mailbox: mailbox}
	for _, e := range entries {
		event.Entries = append(event.Entries, e.Name)
		list = slices.DeleteFunc(list, func(x imap.MetadataEntry) bool { return x.Name == e.Name })
		if e.Value != nil {
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(a, b imap.MetadataEntry) int { return strings.Compare(a.Name, b.Name) })
	a.user.metadata[mailbox] = list
	a.user.emit(a, event)
	return nil
}

// allRights are those of the owner, the only one who ever comes here.
const (
	owner     = "owner"
	allRights = "lrswipkxtea"
)

func (a *account) ACL(_ context.Context, mailbox string) ([]imap.ACLEntry, error) {
	defer a.lock()()
	b, err := a.box(mailbox)
	if err != nil {
		return nil, err
	}
	return append([]imap.ACLEntry{{Identifier: owner, Rights: allRights}}, b.acl...), nil
}

func (a *account) SetACL(_ context.Context, mailbox, id string, mode imap.StoreMode, rights string) error {
	defer a.lock()()
	b, err := a.box(mailbox)
	if err != nil {
		return err
	}
	if id == owner {
		return &imap.Error{Code: "CANNOT", Text: "the owner has all rights, always"}
	}
	have := ""
	for _, e := range b.acl {
		if e.Identifier == id {
			have = e.Rights
		}
	}
	var out []rune
	for _, r := range allRights {
		in, named := strings.ContainsRune(have, r), strings.ContainsRune(rights, r)
		if mode == imap.StoreReplace && named || mode == imap.StoreAdd && (in || named) || mode == imap.StoreRemove && in && !named {
			out = append(out, r)
		}
	}
	b.acl = slices.DeleteFunc(slices.Clone(b.acl), func(e imap.ACLEntry) bool { return e.Identifier == id })
	if len(out) > 0 {
		b.acl = append(b.acl, imap.ACLEntry{Identifier: id, Rights: string(out)})
	}
	return nil
}

func (a *account) MyRights(_ context.Context, mailbox string) (string, error) {
	defer a.lock()()
	_, err := a.box(mailbox)
	return allRights, err
}

func (a *account) ListRights(_ context.Context, mailbox, id string) (string, []string, error) {
	defer a.lock()()
	_, err := a.box(mailbox)
	if id == owner {
		return allRights, nil, err
	}
	return "", strings.Split(allRights, ""), err
}
