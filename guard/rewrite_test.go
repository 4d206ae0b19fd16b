package guard

import (
	"context"
	"strings"
	"testing"

	"github.com/samotop/samotop/mail"
)

type heard struct{ events []mail.Event }

func (h *heard) Record(_ context.Context, e mail.Event) { h.events = append(h.events, e) }

// TestRewritten: what a rule made of an address is told to the journal, also where it leads to nobody, and not to the peer.
func TestRewritten(t *testing.T) {
	r := testRules(t)
	alice := r["alice@example.test"].Targets
	step := []Rewrite{{From: address(t, "old@example.test"), To: address(t, "alice@example.test"), Text: "<old@example.test> is now <alice@example.test>, by rule 1 of example.test"}}
	r["old@example.test"] = Resolution{OurDomain: true, Targets: alice, Rewritten: step}
	r["dead@example.test"] = Resolution{OurDomain: true, Rewritten: step}
	for to, want := range map[string]string{"old@example.test": "", "dead@example.test": "550 5.1.1 <dead@example.test>: no such user here"} {
		h := &heard{}
		tx := begin(t, New(Config{Rules: r, Journal: h}))
		got := ""
		if err := tx.Recipient(t.Context(), &mail.Recipient{Address: address(t, to)}); err != nil {
			got = mail.AsReply(err).String()
		}
		if got != want {
			t.Errorf("%s: %s", to, got)
		}
		if len(h.events) == 0 || h.events[0].Kind != "judged" || h.events[0].Code != 251 || h.events[0].To != to || !strings.Contains(h.events[0].Text, "by rule 1") {
			t.Errorf("%s: %+v", to, h.events)
		}
	}
}
