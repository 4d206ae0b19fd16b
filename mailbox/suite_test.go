package mailbox

import (
	"context"
	"fmt"
	"testing"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mail/mailtest"
	"github.com/samotop/samotop/smtp/smtptest"
)

// TestDoorSuite runs what every Door must do, directly, over a pipe and over a Unix socket.
func TestDoorSuite(t *testing.T) {
	mailtest.Run(t, mailtest.Suite{
		New: func(t *testing.T) (mail.Door, mailtest.Probe) {
			m := newBox(t, Config{})
			return m.Door(), func(ctx context.Context, to mail.Address) ([][]byte, error) { return inboxOf(ctx, t, m, to) }
		},
		Known:       []mail.Address{{Local: "user1", Domain: "example.test"}, {Local: "user2", Domain: "example.test"}},
		Unknown:     mail.Address{Local: "nobody", Domain: "example.test"},
		DeliveryIDs: true,
		Forms:       []mailtest.Form{{Name: "pipe", Wrap: smtptest.OverPipe}, {Name: "unix", Wrap: smtptest.OverUnix}},
	})
}

// inboxOf reads all messages of an INBOX, whole.
func inboxOf(ctx context.Context, t *testing.T, m *Mailbox, who mail.Address) ([][]byte, error) {
	var n int
	if _, err := fmt.Sscanf(who.Local, "user%d", &n); err != nil {
		return nil, err
	}
	box, snap := choose(t, login(t, m, n), "INBOX")
	var all [][]byte
	for msg, err := range box.Fetch(ctx, snap.UIDs, imap.NeedContent) {
		if err != nil {
			return nil, err
		}
		b, err := msg.Content.Append(ctx, nil, 0, msg.Content.Size())
		if err != nil {
			return nil, err
		}
		all = append(all, b)
	}
	return all, nil
}
