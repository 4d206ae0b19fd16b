package smtp_test

import (
	"fmt"
	"testing"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mail/mailtest"
	"github.com/samotop/samotop/smtp/smtptest"
)

func TestSuite(t *testing.T) {
	for n := range 4 {
		amends, prepares := n&1 != 0, n&2 != 0
		t.Run(fmt.Sprintf("amends %v, prepares %v", amends, prepares), func(t *testing.T) {
			mailtest.Run(t, mailtest.Suite{
				New: func(t *testing.T) (mail.Door, mailtest.Probe) {
					r := &mailtest.Recorder{Amends: amends, Prepares: prepares}
					return r, r.Probe
				},
				Forms: []mailtest.Form{{Name: "pipe", Wrap: smtptest.OverPipe}, {Name: "unix", Wrap: smtptest.OverUnix}},
				Known: []mail.Address{{Local: "a", Domain: "example.test"}, {Local: "b", Domain: "example.test"}},
			})
		})
	}
}
