package smtp_test

import (
	"testing"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mail/mailtest"
	"github.com/samotop/samotop/smtp/smtptest"
)

func TestSuite(t *testing.T) {
	mailtest.Run(t, mailtest.Suite{
		New: func(t *testing.T) (mail.Door, mailtest.Probe) {
			r := &mailtest.Recorder{}
			return r, r.Probe
		},
		Forms: []mailtest.Form{{Name: "pipe", Wrap: smtptest.OverPipe}, {Name: "unix", Wrap: smtptest.OverUnix}},
		Known: []mail.Address{{Local: "a", Domain: "example.test"}, {Local: "b", Domain: "example.test"}},
	})
}
