// Package smtp_test measures package smtp beside github.com/emersion/go-smtp, in one run and with one client, so that
// the figures are ratios and the machine does not matter:
//
//	go test -run '^$' -bench . ./bench/smtp
package smtp_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	emersion "github.com/emersion/go-smtp"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/smtp"
)

// null accepts and forgets.
type null struct{}

func (null) Open(context.Context, *mail.Session) (mail.Receiver, error) { return null{}, nil }
func (null) Begin(context.Context, *mail.Session, mail.Sender) (mail.Transaction, error) {
	return &nullTx{}, nil
}

type nullTx struct{ replies [1]mail.Reply }

func (*nullTx) Recipient(context.Context, *mail.Recipient) error { return nil }
func (*nullTx) Trace(...mail.Field)                              {}
func (*nullTx) Write(p []byte) (int, error)                      { return len(p), nil }
func (*nullTx) Abort() error                                     { return nil }
func (tx *nullTx) Commit(context.Context) ([]mail.Reply, error) {
	tx.replies[0] = mail.OK()
	return tx.replies[:], nil
}

// emersionNull is the same for go-smtp.
type emersionNull struct{}

func (emersionNull) NewSession(*emersion.Conn) (emersion.Session, error) { return emersionNull{}, nil }
func (emersionNull) Reset()                                              {}
func (emersionNull) Logout() error                                       { return nil }
func (emersionNull) Mail(string, *emersion.MailOptions) error            { return nil }
func (emersionNull) Rcpt(string, *emersion.RcptOptions) error            { return nil }
func (emersionNull) Data(r io.Reader) error                              { _, err := io.Copy(io.Discard, r); return err }

// servers starts both.
func servers(b *testing.B) map[string]string {
	b.Helper()
	ours, theirs := listen(b), listen(b)
	srv := &smtp.Server{Door: null{}, Hostname: "mx.test", MaxTransactions: 1 << 30, MaxCommands: 1 << 30, MaxConnectionsPerAddress: 1 << 20, MaxConnections: 1 << 20}
	ctx, cancel := context.WithCancel(context.Background())
	go srv.Serve(ctx, ours)
	es := emersion.NewServer(emersionNull{})
	es.Domain, es.ErrorLog = "mx.test", log.New(io.Discard, "", 0)
	go es.Serve(theirs)
	b.Cleanup(func() {
		cancel()
		es.Close()
	})
	return map[string]string{"samotop": ours.Addr().String(), "emersion": theirs.Addr().String()}
}

func listen(b *testing.B) net.Listener {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	return l
}

// talker is a client that allocates nothing while it talks.
type talker struct {
	conn net.Conn
	r    *bufio.Reader
}

func dial(address string) (*talker, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	t := &talker{conn, bufio.NewReader(conn)}
	if err := t.replies(1); err != nil {
		return nil, err
	}
	return t, t.talk([]byte("EHLO bench.test\r\n"), 1)
}

// replies reads n replies.
func (t *talker) replies(n int) error {
	for n > 0 {
		line, err := t.r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if line[0] > '3' {
			return fmt.Errorf("refused: %s", line)
		}
		if line[3] == ' ' {
			n--
		}
	}
	return nil
}

func (t *talker) talk(p []byte, n int) error {
	if _, err := t.conn.Write(p); err != nil {
		return err
	}
	return t.replies(n)
}

const envelope = "MAIL FROM:<sender@example.org>\r\nRCPT TO:<recipient@example.net>\r\n"

var begin = []byte(envelope + "DATA\r\n")

func content(octets int) string {
	line := strings.Repeat("a", 76) + "\r\n"
	return strings.Repeat(line, octets/len(line))
}

// message sends one, its envelope pipelined.
func (t *talker) message(body []byte) error {
	if err := t.talk(begin, 3); err != nil {
		return err
	}
	return t.talk(body, 1)
}

// BenchmarkTransaction is a whole pipelined transaction of 4 KiB.
func BenchmarkTransaction(b *testing.B) {
	body := []byte(content(4<<10) + ".\r\n")
	for _, conns := range []int{1, 10, 100} {
		for _, who := range []string{"samotop", "emersion"} {
			b.Run(fmt.Sprintf("%d/%s", conns, who), func(b *testing.B) {
				parallel(b, servers(b)[who], conns, func(t *talker) error { return t.message(body) })
			})
		}
	}
}

func parallel(b *testing.B, address string, conns int, once func(*talker) error) {
	todo := make(chan struct{}, b.N)
	for range b.N {
		todo <- struct{}{}
	}
	close(todo)
	ts := make([]*talker, conns)
	for i := range ts {
		var err error
		if ts[i], err = dial(address); err != nil {
			b.Fatal(err)
		}
		defer ts[i].conn.Close()
	}
	errs := make(chan error, conns)
	b.ReportAllocs()
	b.ResetTimer()
	for _, t := range ts {
		go func() {
			for range todo {
				if err := once(t); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	for range ts {
		if err := <-errs; err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
}

// BenchmarkMiB is 1 MiB by DATA and by BDAT, beside io.Copy of the same over the same kind of socket.
func BenchmarkMiB(b *testing.B) {
	body := content(1 << 20)
	data := []byte(body + ".\r\n")
	chunk := fmt.Appendf(nil, "%sBDAT %d LAST\r\n%s", envelope, len(body), body)
	for _, who := range []string{"samotop", "emersion"} {
		b.Run("data/"+who, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			parallel(b, servers(b)[who], 1, func(t *talker) error { return t.message(data) })
		})
		b.Run("bdat/"+who, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			parallel(b, servers(b)[who], 1, func(t *talker) error { return t.talk(chunk, 3) })
		})
	}
	b.Run("copy", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		l := listen(b)
		defer l.Close()
		go discard(l, len(body))
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close()
		t := &talker{conn, bufio.NewReader(conn)}
		plain := []byte(body)
		b.ResetTimer()
		for range b.N {
			if err := t.talk(plain, 1); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// discard answers each n octets with a line.
func discard(l net.Listener, n int) {
	conn, err := l.Accept()
	if err != nil {
		return
	}
	defer conn.Close()
	buf := make([]byte, 64<<10)
	for {
		m, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, io.LimitReader(struct{ io.Reader }{conn}, int64(n)), buf)
		if err != nil || m < int64(n) {
			return
		}
		if _, err := conn.Write([]byte("250 \r\n")); err != nil {
			return
		}
	}
}

// BenchmarkIdle reports the memory of a connection that has said EHLO, sent a message and waits.
func BenchmarkIdle(b *testing.B) {
	const conns = 1000
	for _, who := range []string{"samotop", "emersion"} {
		b.Run(who, func(b *testing.B) {
			address := servers(b)[who]
			raw := make([]net.Conn, conns)
			for range b.N {
				before := memory()
				script := []byte("EHLO bench.test\r\n" + envelope + "DATA\r\n")
				for i := range raw {
					conn, err := net.Dial("tcp", address)
					if err != nil {
						b.Fatal(err)
					}
					raw[i] = conn
					if _, err := conn.Write(script); err != nil {
						b.Fatal(err)
					}
				}
				time.Sleep(200 * time.Millisecond)
				for _, conn := range raw {
					_, _ = conn.Write([]byte("x\r\n.\r\n"))
				}
				time.Sleep(500 * time.Millisecond)
				used := memory() - before
				b.ReportMetric(float64(used)/conns, "octets/conn")
				for _, conn := range raw {
					conn.Close()
				}
				time.Sleep(200 * time.Millisecond)
			}
		})
	}
}

// memory is heap and stacks in use, including the client's sockets of the same process.
func memory() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// BenchmarkClient is one message through our client into our server.
func BenchmarkClient(b *testing.B) {
	address := servers(b)["samotop"]
	d := smtp.Dialer{Hello: "bench.test"}
	ctx := context.Background()
	c, err := d.Dial(ctx, "tcp", address)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	body := []byte(content(4 << 10))
	a := mail.Address{Local: "a", Domain: "example.org"}
	b.ReportAllocs()
	for b.Loop() {
		m := &smtp.Message{Body: bytes.NewReader(body), Size: int64(len(body))}
		m.Sender.Address, m.Recipients = a, []mail.Recipient{{Address: a}}
		if res, err := c.Send(ctx, m); err != nil || !res.Recipients[0].Reply.Positive() {
			b.Fatal(res, err)
		}
	}
}
