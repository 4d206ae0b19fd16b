package samotop_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/smtp"
	"os"
	"strings"

	"github.com/samotop/samotop"
)

// A house is made and run in a temporary directory, and a stranger's server brings a message for alice.
func ExampleServer() {
	dir, err := os.MkdirTemp("", "samotop")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx, stop := context.WithCancel(context.Background())
	if _, err := (samotop.Setup{Dir: dir, Address: "alice@example.test", Listen: "127.0.0.1"}).Create(ctx); err != nil {
		log.Fatal(err)
	}

	where := map[string]string{} // standard port -> where it listens in this program
	ready, ended := make(chan struct{}), make(chan error)
	srv := &samotop.Server{
		Dir: dir,
		Listen: func(_ context.Context, network, address string) (net.Listener, error) {
			l, err := net.Listen(network, "127.0.0.1:0")
			if err == nil {
				where[address[strings.LastIndex(address, ":")+1:]] = l.Addr().String()
			}
			return l, err
		},
		Ready: func() { close(ready) },
	}
	go func() { ended <- srv.Run(ctx) }()
	<-ready

	message := "From: bob@example.org\r\nTo: alice@example.test\r\nSubject: hello\r\n\r\nHello, Alice.\r\n"
	c, err := smtp.Dial(where["25"])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(c.Mail("bob@example.org"), c.Rcpt("alice@example.test"))
	w, err := c.Data()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprint(w, message)
	fmt.Println("kept:", w.Close() == nil)
	fmt.Println("nobody:", c.Reset() == nil && c.Mail("bob@example.org") == nil && c.Rcpt("carol@example.test") != nil)
	c.Quit()

	stop()
	fmt.Println("stopped:", <-ended == nil)
	// Output:
	// <nil> <nil>
	// kept: true
	// nobody: true
	// stopped: true
}
