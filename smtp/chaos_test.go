package smtp_test

import (
	"context"
	"flag"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/smtp"
	"github.com/samotop/samotop/smtp/smtptest"
)

var update = flag.Bool("update", false, "write the transcripts anew")

func TestTranscripts(t *testing.T) {
	for _, lmtp := range []bool{false, true} {
		for _, noChunking := range []bool{false, true} {
			name := map[bool]string{false: "smtp", true: "lmtp"}[lmtp] + map[bool]string{false: "-bdat", true: "-data"}[noChunking]
			t.Run(name, func(t *testing.T) {
				srv := &smtp.Server{Door: recorder(), Hostname: "mx.test", LMTP: lmtp, Extensions: allExtensions &^ smtp.ExtFutureRelease, Trusted: trustAll}
				smtptest.Transcript(t, "testdata/transcripts/"+name+".txt", *update, srv, nil, func(conn net.Conn) error {
					d := smtp.Dialer{Hello: "me.test", LMTP: lmtp, NoChunking: noChunking, Trusted: true}
					c, err := d.Client(t.Context(), conn, "")
					if err != nil {
						return err
					}
					env := envelope("c@d.test", "unknown@d.test", "moved@d.test")
					env.Sender.UTF8, env.Sender.Priority, env.Sender.Ret = true, 3, mail.RetFull
					env.Recipients[0].Notify = mail.NotifyNever
					env.Recipients[2].Folder, env.Recipients[2].DeliveryID = "Ü k", "17/2"
					_, err = c.Send(t.Context(), &smtp.Message{Envelope: env, Body: strings.NewReader("Subject: ü\r\n\r\n.\r\nx\r\n"), Session: &mail.Session{ID: "s1", Hello: "h.test"},
						Trace: []mail.Field{{Name: "Received", Value: "from h.test"}}})
					if err != nil {
						return err
					}
					return c.Quit(t.Context())
				})
			})
		}
	}
}

// TestCutAnywhere breaks the connection after each octet, in both directions. Who was told yes has the message, and who
// was told no has it at most where the answer was lost.
func TestCutAnywhere(t *testing.T) {
	for _, noChunking := range []bool{false, true} {
		for n := 1; ; n++ {
			done := 0
			for _, chaos := range []smtptest.Chaos{{CutRead: n}, {CutWrite: n}} {
				rec := recorder()
				srv := &smtp.Server{Door: rec, Hostname: "mx.test", Extensions: smtp.ExtPipelining | smtp.ExtChunking}
				d := smtp.Dialer{Hello: "me.test", NoChunking: noChunking}
				c, err := d.Client(t.Context(), chaos.Conn(connect(t, srv)), "")
				if err != nil {
					continue
				}
				res, err := c.Send(t.Context(), &smtp.Message{Envelope: envelope("c@d.test"), Body: strings.NewReader("x\r\n")})
				c.Close()
				if err == nil {
					done++
				}
				got := len(rec.Messages())
				if yes := res.Recipients[0].Reply.Positive(); yes && got != 1 || got > 1 {
					t.Fatalf("%+v: told %v, and there are %d messages", chaos, res.Recipients[0].Reply, got)
				} else if !yes && got == 1 && !res.Uncertain {
					t.Fatalf("%+v: told %v, not uncertain, and there is a message", chaos, res.Recipients[0].Reply)
				}
			}
			if done == 2 {
				break
			}
			if n > 2000 {
				t.Fatal("never gets through")
			}
		}
	}
}

// TestSlow: octet by octet, ten a second; nothing but patience is needed.
func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := recorder()
		client, server := smtptest.Pipe()
		go (&smtp.Server{Door: rec, Hostname: "mx.test"}).ServeConn(context.Background(), smtptest.Chaos{Piece: 1, Delay: 100 * time.Millisecond}.Conn(server))
		d := smtp.Dialer{Hello: "me.test"}
		c, err := d.Client(t.Context(), client, "")
		if err != nil {
			t.Fatal(err)
		}
		if res, err := c.Send(t.Context(), &smtp.Message{Envelope: envelope("c@d.test"), Body: strings.NewReader("x\r\n")}); err != nil || len(rec.Messages()) != 1 {
			t.Error(res, err)
		}
		c.Close()
		time.Sleep(time.Minute) // the server's end
	})
}

// TestWrongReplies puts a wrong line in the place of each reply: nobody who was told so by mistake is taken for
// delivered, and nothing hangs.
func TestWrongReplies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, wrong := range []string{"", "x", "999 what", "200-", "250-", "354 go", "334 ", "550 no", "421 gone", "250", "220 hello again"} {
			for n := range 8 {
				rec := recorder()
				client, server := smtptest.Pipe()
				chaos := smtptest.Chaos{Replies: map[int]string{n: wrong}}
				ctx, cancel := context.WithCancel(context.Background())
				go (&smtp.Server{Door: rec, Hostname: "mx.test", Extensions: smtp.ExtPipelining}).ServeConn(ctx, chaos.Conn(server))
				d := smtp.Dialer{Hello: "me.test"}
				c, err := d.Client(ctx, client, "")
				if err == nil {
					res, _ := c.Send(ctx, &smtp.Message{Envelope: envelope("c@d.test"), Body: strings.NewReader("x\r\n")})
					if res.Recipients[0].Reply.Code == 0 {
						t.Errorf("%d %q: no answer", n, wrong)
					}
					if res.Recipients[0].Reply.Positive() && len(rec.Messages()) != 1 {
						t.Errorf("%d %q: taken for delivered", n, wrong)
					}
					c.Close()
				}
				client.Close()
				cancel()
				synctest.Wait()
			}
		}
	})
}
