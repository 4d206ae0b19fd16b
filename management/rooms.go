package management

import (
	"context"
	"iter"
	"time"
)

// Domains, People and Aliases are what is asked of the accounts room. Errors are *Error where they can be told to
// whoever asked.
type Domains interface {
	AddDomain(ctx context.Context, name string) (Domain, error)
	Domain(ctx context.Context, name string) (Domain, error)
	Domains(ctx context.Context) iter.Seq2[Domain, error]
	RemoveDomain(ctx context.Context, name string) error
}

// People are the accounts.
type People interface {
	AddAccount(ctx context.Context, a AccountArgs) (Account, error)
	Account(ctx context.Context, address string) (Account, error)
	Accounts(ctx context.Context, domain string) iter.Seq2[Account, error] // "": of all domains
	SetAccount(ctx context.Context, a SetArgs) (Account, error)
	RemoveAccount(ctx context.Context, address string) (Account, error)
}

// Aliases are addresses that lead to others.
type Aliases interface {
	AddAlias(ctx context.Context, address string, targets []string) (Alias, error)
	RemoveAlias(ctx context.Context, address string, targets []string) error
	Aliases(ctx context.Context, domain string) iter.Seq2[Alias, error]
}

// Queue is what is asked of the queue manager.
type Queue interface {
	// Entries yields what matches, in the order of arrival.
	Entries(ctx context.Context, f Filter) iter.Seq2[Entry, error]
	Entry(ctx context.Context, id string) (Entry, error)
	Do(ctx context.Context, act Action, id string) error
	QueueStats(ctx context.Context, f Filter) (QueueStats, error) // of what the filter chooses; its IDs, All and Limit say nothing
}

// House is what is asked about the whole.
type House interface {
	Status(ctx context.Context) (Status, error)
	Stores(ctx context.Context) ([]Store, error)
	// Verify reads everything. Found is called for each fault, progress from time to time.
	Verify(ctx context.Context, found func(Fault) error, progress func(store string, done, total int64) error) error
	Records(ctx context.Context, domain string) ([]Record, error)
	// CheckRecords also looks whether they are live.
	CheckRecords(ctx context.Context, a CheckArgs) ([]Record, error)
}

// AccountArgs is account/add.
type AccountArgs struct {
	Address  string `json:"address"`
	Password string `json:"password,omitempty"` // "": one is made, and told in the answer
	Admin    bool   `json:"admin,omitempty"`
	Quota    int64  `json:"quota,omitempty"`

	QuotaMessages int64 `json:"quota_messages,omitempty"`
	PlusFolders   bool  `json:"plus_folders,omitempty"`
}

// SetArgs is account/set, and account/password with only Password; what is nil stays.
type SetArgs struct {
	Address  string  `json:"address"`
	Password *string `json:"password,omitempty"`
	Admin    *bool   `json:"admin,omitempty"`
	Enabled  *bool   `json:"enabled,omitempty"`
	Quota    *int64  `json:"quota,omitempty"`

	QuotaMessages *int64 `json:"quota_messages,omitempty"`
	PlusFolders   *bool  `json:"plus_folders,omitempty"`
}

// AliasArgs is alias/add and alias/remove; no targets removes the whole alias.
type AliasArgs struct {
	Address string   `json:"address"`
	Targets []string `json:"targets,omitempty"`
}

// NameArgs names a domain, an account, or nothing.
type NameArgs struct {
	Name string `json:"name,omitempty"`
}

// Action is what may be done to a message in the queue.
type Action string

const (
	Retry   Action = "retry"
	Hold    Action = "hold"
	Release Action = "release"
	Remove  Action = "remove" // without a word
	Bounce  Action = "bounce" // and tell the sender
)

// Filter chooses messages of the queue. What is set must match all together.
type Filter struct {
	IDs         []string      `json:"ids,omitempty"`
	All         bool          `json:"all,omitempty"` // asked for by changes that name nothing else
	Sender      string        `json:"sender,omitempty"`
	Recipient   string        `json:"recipient,omitempty"`
	Destination string        `json:"destination,omitempty"`
	State       string        `json:"state,omitempty"`
	OlderThan   time.Duration `json:"older_than_ns,omitempty"`
	Limit       int           `json:"limit,omitempty"` // of a list; 0: all
}

// Empty reports whether nothing was chosen.
func (f Filter) Empty() bool {
	return len(f.IDs) == 0 && !f.All && f.Sender == "" && f.Recipient == "" && f.Destination == "" && f.State == "" && f.OlderThan == 0
}

// ActArgs is queue/retry, hold, release and remove.
type ActArgs struct {
	Filter
	Bounce bool `json:"bounce,omitempty"` // remove: tell the sender
}

// Acted is the answer to a change of the queue, and its item the id of each message changed.
type Acted struct {
	Changed int `json:"changed"`
	Gone    int `json:"gone,omitempty"` // delivered or removed meanwhile
}

// Verified is the answer to verify; each fault is an item.
type Verified struct {
	Faults int `json:"faults"`
}

// NewPassword is the answer to account/add and account/password.
type NewPassword struct {
	Account
	Password string `json:"password,omitempty"` // only if it was made here
}
