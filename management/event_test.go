package management

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/samotop/samotop/mail"
)

// TestEncodeEvent compares with what encoding/json makes of the same row.
func TestEncodeEvent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", "a", `a"b`, `\`, "\x00", "\x7f", "\xff", "é", "\u2028", "<a&b>"}))
		e := mail.Event{Time: time.UnixMicro(rapid.Int64Range(0, 1<<52).Draw(t, "time")), Trace: text.Draw(t, "trace"), Room: text.Draw(t, "room"), Kind: text.Draw(t, "kind"),
			ID: text.Draw(t, "id"), MessageID: text.Draw(t, "message id"), From: text.Draw(t, "from"), To: text.Draw(t, "to"), Peer: text.Draw(t, "peer"),
			Code: rapid.IntRange(0, 600).Draw(t, "code"), Text: text.Draw(t, "text")}
		for range rapid.IntRange(0, 3).Draw(t, "facts") {
			e.Facts = append(e.Facts, mail.Fact{Name: text.Draw(t, "name"), Value: text.Draw(t, "value")})
		}
		row := eventRow{e.Time.UTC(), e.Trace, e.Room, e.Kind, e.ID, e.MessageID, e.From, e.To, e.Peer, e.Code, e.Text, nil}
		for _, f := range e.Facts {
			if f.Value != "" {
				row.Facts = append(row.Facts, [2]string{f.Name, f.Value})
			}
		}
		want, err := json.Marshal(row)
		if err != nil {
			t.Fatal(err)
		}
		var a, b eventRow
		if err := json.Unmarshal(want, &a); err != nil {
			t.Fatal(err)
		}
		got := encodeEvent(nil, &e)
		if err := json.Unmarshal(got, &b); err != nil {
			t.Fatalf("%s: %v", got, err)
		}
		if !reflect.DeepEqual(a, b) {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	})
}
