package smtp_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/smtp"
	"github.com/samotop/samotop/smtp/delivery"
	"github.com/samotop/samotop/smtp/middleware"
)

// A server in ten lines. Every limit has a default, every service that was not asked for is off.
func Example() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	srv := &smtp.Server{Door: delivery.Null{}, Hostname: "mx.example.org"}
	go srv.Serve(context.Background(), l)
	defer srv.Shutdown(context.Background())

	sendOne("tcp", l.Addr().String(), smtp.Dialer{})
	// Output: <bob@example.org>: 250 2.0.0 OK
}

// sendOne is what a client does.
func sendOne(network, address string, d smtp.Dialer) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := d.Dial(ctx, network, address)
	if err != nil {
		fmt.Println(err)
		return
	}
	m := &smtp.Message{Body: strings.NewReader("Subject: hello\r\n\r\nbody\r\n")}
	m.Sender.Address = mail.Address{Local: "alice", Domain: "example.org"}
	m.Recipients = []mail.Recipient{{Address: mail.Address{Local: "bob", Domain: "example.org"}}}
	res, err := c.Send(ctx, m)
	if err != nil {
		fmt.Println(err)
		return
	}
	for i, r := range res.Recipients {
		fmt.Printf("%s: %s\n", m.Recipients[i].Address.Path(), r.Reply)
	}
	if err := c.Quit(ctx); err != nil {
		fmt.Println(err)
	}
}

// The same server on a Unix socket, by LMTP.
func ExampleServer_Serve_unix() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "lmtp.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		fmt.Println(err)
		return
	}
	srv := &smtp.Server{Door: delivery.Null{}, LMTP: true}
	go srv.Serve(context.Background(), l)
	defer srv.Shutdown(context.Background())

	sendOne("unix", path, smtp.Dialer{LMTP: true})
	// Output: <bob@example.org>: 250 2.0.0 OK
}

// A server on standard input and output, as inetd or a parent process starts it. Here two pipes stand for both.
func ExampleStdio() {
	inR, inW, err := os.Pipe()
	if err != nil {
		fmt.Println(err)
		return
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		fmt.Println(err)
		return
	}
	go func() {
		fmt.Fprint(inW, "HELO me\r\nNOOP\r\nQUIT\r\n")
		inW.Close()
	}()
	srv := &smtp.Server{Door: delivery.Null{}, Hostname: "mx.example.org"}
	srv.ServeConn(context.Background(), smtp.Stdio(inR, outW)) // in a program: os.Stdin, os.Stdout
	said, _ := io.ReadAll(outR)
	fmt.Print(strings.ReplaceAll(string(said), "\r", ""))
	// Output:
	// 220 mx.example.org ESMTP ready
	// 250 mx.example.org
	// 250 OK
	// 221 mx.example.org closing connection
}

// A prudent server: strangers who talk before the banner are sent away, all is logged, mail goes to a directory.
func Example_prudent() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	door, err := mail.Chain(&delivery.Maildir{Dir: filepath.Join(dir, "Maildir")},
		middleware.Log{}.Wrap,
		middleware.Prudence{Delay: 10 * time.Millisecond}.Wrap,
		middleware.Size{MaxOctets: 1 << 20}.Wrap,
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	srv := &smtp.Server{Door: door, CommandTimeout: time.Minute, MaxErrors: 5}
	go srv.Serve(context.Background(), l)
	defer srv.Shutdown(context.Background())

	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	fmt.Fprint(conn, "EHLO spammer\r\n")
	said, err := textproto.NewReader(bufio.NewReader(conn)).ReadLine()
	fmt.Println(said, err)

	sendOne("tcp", l.Addr().String(), smtp.Dialer{})
	files, err := filepath.Glob(filepath.Join(dir, "Maildir", "new", "*"))
	fmt.Println(len(files), err)
	// Output:
	// 554 5.5.1 You talk before it is your turn <nil>
	// <bob@example.org>: 250 2.0.0 OK
	// 1 <nil>
}

// A Link is another server as a Door. This one is a relay: what it takes by SMTP, it hands on by LMTP, and the answer
// for each recipient is the other server's. Network may be "tcp", too, or Connect a child process.
func ExampleLink() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "lmtp.sock")
	back, err := net.Listen("unix", path)
	if err != nil {
		fmt.Println(err)
		return
	}
	store := &smtp.Server{Door: delivery.Null{}, LMTP: true}
	go store.Serve(context.Background(), back)
	defer store.Shutdown(context.Background())

	link := &smtp.Link{Dialer: smtp.Dialer{LMTP: true}, Network: "unix", Address: path}
	defer link.Close()
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	relay := &smtp.Server{Door: link}
	go relay.Serve(context.Background(), front)
	defer relay.Shutdown(context.Background())

	sendOne("tcp", front.Addr().String(), smtp.Dialer{})
	// Output: <bob@example.org>: 250 2.0.0 OK
}

// The same over TCP: each recipient is answered for by the other server.
func ExampleLink_tcp() {
	back, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	store := &smtp.Server{Door: delivery.Null{}, LMTP: true}
	go store.Serve(context.Background(), back)
	defer store.Shutdown(context.Background())

	link := &smtp.Link{Dialer: smtp.Dialer{LMTP: true}, Network: "tcp", Address: back.Addr().String()}
	defer link.Close()
	ctx, s := context.Background(), &mail.Session{}
	r, err := link.Open(ctx, s)
	if err != nil {
		fmt.Println(err)
		return
	}
	tx, err := r.Begin(ctx, s, mail.Sender{Address: mail.Address{Local: "alice", Domain: "example.org"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer tx.Abort()
	for _, local := range []string{"bob", "carol"} {
		if err := tx.Recipient(ctx, &mail.Recipient{Address: mail.Address{Local: local, Domain: "example.org"}}); err != nil {
			fmt.Println(err)
		}
	}
	if _, err := io.WriteString(tx, "Subject: hello\r\n\r\nbody\r\n"); err != nil {
		fmt.Println(err)
	}
	replies, err := tx.Commit(ctx)
	for _, r := range replies {
		fmt.Println(r, err)
	}
	// Output:
	// 250 2.0.0 OK <nil>
	// 250 2.0.0 OK <nil>
}

// A Link to a child process that speaks LMTP on its standard input and output.
func ExampleChild() {
	link := &smtp.Link{
		Dialer: smtp.Dialer{LMTP: true},
		Connect: func(context.Context) (net.Conn, error) {
			return smtp.Child(exec.Command("/usr/local/bin/keep-mail", "--lmtp"))
		},
	}
	fmt.Println(link.Check())
	// Output: <nil>
}

// The parser alone.
func ExampleParseCommand() {
	c, err := smtp.ParseCommand("MAIL FROM:<alice@example.org> SIZE=1000 BODY=8BITMIME")
	fmt.Println(c.Verb, c.Sender.Address.String(), c.Sender.Size, c.Sender.Body == mail.Body8Bit, err)
	_, err = smtp.ParseCommand("RCPT TO:<nobody>")
	fmt.Print(string(smtp.AppendReply(nil, *mail.AsReply(err))[:9]), "\n")
	// Output:
	// MAIL alice@example.org 1000 true <nil>
	// 501 5.1.3
}
