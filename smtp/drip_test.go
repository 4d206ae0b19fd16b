package smtp_test

import (
	"bufio"
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samotop/samotop/smtp"
	"github.com/samotop/samotop/smtp/smtptest"
)

// TestDrip: a command that comes an octet a second is not waited for longer than one that does not come.
func TestDrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &smtp.Server{Door: recorder()}
		c, s := smtptest.Pipe()
		ended := make(chan struct{})
		go func() {
			srv.ServeConn(context.Background(), s)
			close(ended)
		}()
		r := bufio.NewReader(c)
		say(t, c, r, "EHLO a\r\n", "220", "250")
		start, open := time.Now(), true
		for open && time.Since(start) < 2*time.Hour {
			_, _ = c.Write([]byte("x"))
			select {
			case <-ended:
				open = false
			case <-time.After(time.Second):
			}
		}
		if took := time.Since(start); took < 5*time.Minute || took > 5*time.Minute+10*time.Second {
			t.Errorf("the session ended after %v", took)
		}
		say(t, c, r, "", "421 4.4.2")
		_ = c.Close()
	})
}
