package management

import "context"

// Junk is what is asked about the learning filter.
type Junk interface {
	// JunkStats tells of one account, or with "" of all that have learned anything.
	JunkStats(ctx context.Context, address string) ([]JunkStats, error)
	// LearnJunk learns a message, changed is false if it was known so already.
	LearnJunk(ctx context.Context, a LearnArgs) (changed bool, err error)
	ForgetJunk(ctx context.Context, address string) error
}

// Relearner teaches the filter what an account's folders hold.
type Relearner interface {
	Relearn(ctx context.Context, address string, progress func(done, total int64) error) (Relearned, error)
}

// SharedJunk is what stands for an address where the table that all accounts begin with is meant.
const SharedJunk = "shared"

// JunkStats is what one account has learned.
type JunkStats struct {
	Address   string `json:"address"` // or "shared"
	Ham       uint32 `json:"ham"`     // messages
	Spam      uint32 `json:"spam"`
	Words     uint32 `json:"words"`
	GivenHam  uint32 `json:"given_ham"` // of Ham and Spam, what the shared table has too
	GivenSpam uint32 `json:"given_spam"`
	LastDay   string `json:"last_day,omitempty"` // of the last lesson, such as 2026-07-01
	Asked     bool   `json:"asked"`              // enough was learned to judge by
}

// LearnArgs is junk/learn.
type LearnArgs struct {
	Address string `json:"address"` // or "shared"
	Kind    string `json:"kind"`    // ham, spam, or unknown to unlearn
	ID      string `json:"id"`      // a message is learned once under its id
	Content []byte `json:"content"`
}

// MaxLearnOctets is how much of a message goes into one LearnArgs.
const MaxLearnOctets = 512 << 10

// Learned is the answer.
type Learned struct {
	Changed bool `json:"changed"`
}

// Relearned is what Relearn did.
type Relearned struct {
	Address string `json:"address"`
	Ham     int64  `json:"ham"` // messages looked at
	Spam    int64  `json:"spam"`
	Changed int64  `json:"changed"` // of these, that were not known so
}

// junkVerbs adds the verbs about the filter.
func (h *Handler) junkVerbs(t map[string]verb) {
	if j := h.cfg.Junk; j != nil {
		t["junk/stats"] = on(func(ctx context.Context, a NameArgs, out *sender) (any, error) {
			s, err := j.JunkStats(ctx, a.Name)
			return sendAll(s, err, out)
		})
		t["junk/learn"] = on(func(ctx context.Context, a LearnArgs, _ *sender) (any, error) {
			changed, err := j.LearnJunk(ctx, a)
			return Learned{changed}, err
		})
		t["junk/forget"] = on(func(ctx context.Context, a NameArgs, _ *sender) (any, error) {
			err := j.ForgetJunk(ctx, a.Name)
			if err == nil {
				h.cfg.Log.Info("what the filter learned is forgotten", "address", a.Name)
			}
			return nil, err
		})
	}
	if r := h.cfg.Relearner; r != nil {
		t["mailbox/relearn"] = on(func(ctx context.Context, a NameArgs, out *sender) (any, error) {
			return r.Relearn(ctx, a.Name, func(done, total int64) error { return out.send(line{Progress: &Progress{"read", done, total}}) })
		})
	}
}
