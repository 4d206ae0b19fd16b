package smtptest

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/samotop/samotop/smtp"
	"github.com/samotop/samotop/smtp/middleware"
)

// Transcript runs a client against srv and compares the whole dialogue with the one kept in a file. With update set it
// writes the file instead; a test package has its own flag for that:
//
//	var update = flag.Bool("update", false, "write the transcripts anew")
//
// Scrub, if it is not nil, takes out what differs from run to run.
func Transcript(t testing.TB, file string, update bool, srv *smtp.Server, scrub func([]byte) []byte, client func(net.Conn) error) {
	t.Helper()
	var b record
	c, s := Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		srv.ServeConn(context.Background(), middleware.Recorder{}.Conn(s, &b))
	}()
	if err := client(c); err != nil {
		t.Errorf("smtptest: client: %v", err)
	}
	c.Close()
	<-done
	got := b.Bytes()
	if scrub != nil {
		got = scrub(got)
	}
	if update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("smtptest: %s: the dialogue is\n%s\nand was\n%s", file, got, want)
	}
}

type record struct{ bytes.Buffer }

func (*record) Close() error { return nil }
