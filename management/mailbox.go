package management

import "context"

// Mailboxes is what is asked of the mailbox room.
type Mailboxes interface {
	// Reindex makes the text index of an account anew. Progress is called from time to time.
	Reindex(ctx context.Context, address string, progress func(done, total int64) error) (Reindexed, error)
	// Grants lists who may do what with a folder, its owner first.
	Grants(ctx context.Context, address, folder string) ([]FolderGrant, error)
	// Grant replaces what somebody may do with a folder: letters of RFC 4314; "" takes him off the list.
	Grant(ctx context.Context, address, folder, who, rights string) error
}

// FolderGrant is what one identifier may do with a folder; one that begins with "-" is what it may not.
type FolderGrant struct {
	Folder string `json:"folder"`
	Who    string `json:"who"`
	Rights string `json:"rights"`
}

// FolderGrantArgs is mailbox/acl-list and mailbox/acl-set.
type FolderGrantArgs struct {
	Address string `json:"address"`
	Folder  string `json:"folder"`
	Who     string `json:"who,omitempty"`
	Rights  string `json:"rights,omitempty"`
}

// Reindexed is the answer to mailbox/reindex.
type Reindexed struct {
	Address  string  `json:"address"`
	Messages int64   `json:"messages"` // of the account, copies of one counted once, those that went meanwhile too
	Seconds  float64 `json:"seconds"`
}

func (h *Handler) mailboxVerbs(t map[string]verb) {
	x := h.cfg.Mailboxes
	if x == nil {
		return
	}
	t["mailbox/reindex"] = on(func(ctx context.Context, a NameArgs, out *sender) (any, error) {
		return x.Reindex(ctx, a.Name, func(done, total int64) error {
			return out.send(line{Progress: &Progress{"indexed", done, total}})
		})
	})
	t["mailbox/acl-list"] = on(func(ctx context.Context, a FolderGrantArgs, out *sender) (any, error) {
		list, err := x.Grants(ctx, a.Address, a.Folder)
		return sendAll(list, err, out)
	})
	t["mailbox/acl-set"] = on(func(ctx context.Context, a FolderGrantArgs, _ *sender) (any, error) {
		return nil, x.Grant(ctx, a.Address, a.Folder, a.Who, a.Rights)
	})
}
