package middleware_test

import (
	"testing"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mail/mailtest"
	"github.com/samotop/samotop/smtp/middleware"
)

func TestNoSoliciting(t *testing.T) {
	for content, want := range map[string]int{
		"Subject: x\r\n\r\nSolicitation: net.example:ADV\r\n":           250,
		"Solicitation: org.example:OTHER\r\n\r\nx\r\n":                  250,
		"Solicitation: org.example:OTHER,\r\n net.example:adv\r\n\r\nx": 550,
		"Subject: x\r\nsolicitation: net.example:ADV":                   550,
	} {
		for _, prepares := range []bool{false, true} {
			rec := &mailtest.Recorder{Prepares: prepares}
			tx := begin(t, middleware.NoSoliciting{Keywords: []string{"net.example:ADV"}}.Wrap(rec))
			var err error
			for i := 0; i < len(content) && err == nil; i++ {
				_, err = tx.Write([]byte{content[i]})
			}
			if p, ok := tx.(mail.Preparer); ok && err == nil {
				_, err = p.Prepare(t.Context())
			}
			if err == nil {
				_, err = tx.Commit(t.Context())
			}
			code := 250
			if err != nil {
				code = mail.AsReply(err).Code
			}
			if code != want {
				t.Errorf("%q: %d, %v", content, code, err)
			}
		}
	}
}
