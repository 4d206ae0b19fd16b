package filter

import (
	"context"
	"fmt"
	"strings"

	"github.com/samotop/samotop/guard"
	"github.com/samotop/samotop/junk"
	"github.com/samotop/samotop/mail"
)

var _ guard.Chooser = (*Filter)(nil)

// Wants is of guard.Chooser.
func (f *Filter) Wants(ctx context.Context, _ *guard.Message, to mail.Address) bool {
	shared, err := f.sumsOf(ctx, Shared)
	if err != nil || f.knows(shared, shared) {
		return true
	}
	owner, err := f.c.Owner(ctx, to)
	if err != nil {
		return true
	}
	own, err := f.sumsOf(ctx, owner)
	return err != nil || f.knows(own, shared)
}

// Read is of guard.Reader. While too little was learned by all and by each recipient, there is nothing to be said, and
// the content is not looked at.
func (f *Filter) Read(ctx context.Context, m *guard.Message) (guard.Reading, error) {
	shared, err := f.sumsOf(ctx, Shared)
	if err != nil {
		return nil, fmt.Errorf("filter: %w", err)
	}
	knows := f.knows(shared, shared)
	for _, to := range m.To {
		if knows {
			break
		}
		owner, err := f.c.Owner(ctx, to)
		if err != nil {
			return nil, fmt.Errorf("filter: whose mail it is: %w", err)
		}
		own, err := f.sumsOf(ctx, owner)
		if err != nil {
			return nil, fmt.Errorf("filter: %w", err)
		}
		knows = f.knows(own, shared)
	}
	if !knows {
		return nil, nil
	}
	return &reading{f: f, t: junk.NewTokenizer(f.c.Limits)}, nil
}

func (f *Filter) knows(own, shared sums) bool {
	return f.c.Classifier.Knows(junk.Knowledge{Ham: own.Ham, Spam: own.Spam}, junk.Knowledge{Ham: shared.Ham, Spam: shared.Spam})
}

// reading is one message. It holds its tokens, not its text.
type reading struct {
	f      *Filter
	t      *junk.Tokenizer
	tokens *junk.Tokens
	shared junk.Knowledge
}

func (r *reading) Write(p []byte) (int, error) { return r.t.Write(p) }

func (r *reading) Close() { r.t = nil }

// Opinion is of guard.Reading.
func (r *reading) Opinion(ctx context.Context, to mail.Address) (o guard.Opinion, err error) {
	if r.tokens == nil {
		r.tokens = r.t.Close()
		if r.shared, err = r.f.knowledge(ctx, Shared, r.tokens); err != nil {
			return o, fmt.Errorf("filter: %w", err)
		}
	}
	owner, err := r.f.c.Owner(ctx, to)
	if err != nil {
		return o, fmt.Errorf("filter: whose mail it is: %w", err)
	}
	var own junk.Knowledge
	if owner != Shared {
		if own, err = r.f.knowledge(ctx, owner, r.tokens); err != nil {
			return o, fmt.Errorf("filter: %w", err)
		}
	}
	v := r.f.c.Classifier.Classify(r.tokens, own, r.shared)
	if points := r.f.points(&v); points != 0 {
		o.Say(points, "%s", describe(&v))
	}
	return o, nil
}

// points of a verdict: all of Weight for what is surely unwanted, a fraction while it is not sure, and up to a third of it
// in favour of what is wanted. In between nothing is said.
func (f *Filter) points(v *junk.Verdict) float64 {
	switch {
	case !v.Known:
		return 0
	case v.Score >= junk.DefaultSpam:
		return f.c.Weight
	case v.Score > 0.6:
		return f.c.Weight * (v.Score - 0.5)
	case v.Score < 0.05:
		return -f.c.Weight / 3
	}
	return 0
}

// describe says why.
func describe(v *junk.Verdict) string {
	var b strings.Builder
	fmt.Fprintf(&b, "learned %.2f", v.Score)
	for i, r := range v.Reasons {
		if i == 5 {
			break
		}
		b.WriteString(map[bool]string{true: " by ", false: " "}[i == 0])
		b.WriteString(quote(r.Text))
	}
	return b.String()
}

// quote keeps what a stranger wrote from looking like something else in a log or header.
func quote(s string) string {
	return "'" + strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || strings.ContainsRune(`'",;()\`, r) {
			return '_'
		}
		return r
	}, s) + "'"
}
