package smtp

import (
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"time"
)

// stdio is two files as a connection.
type stdio struct {
	in, out *os.File
	close   func() error
}

type stdioAddr struct{}

func (stdioAddr) Network() string { return "stdio" }
func (stdioAddr) String() string  { return "stdio" }

// Stdio makes a connection of two files, such as os.Stdin and os.Stdout: a server that inetd starts, or a child that
// speaks LMTP to its parent. Deadlines work where the files allow them (pipes made non-blocking, sockets); elsewhere
// they are passed over.
func Stdio(in, out *os.File) net.Conn {
	return &stdio{in: in, out: out, close: func() error { return errors.Join(in.Close(), out.Close()) }}
}

func (s *stdio) Read(p []byte) (int, error)         { return s.in.Read(p) }
func (s *stdio) Write(p []byte) (int, error)        { return s.out.Write(p) }
func (s *stdio) Close() error                       { return s.close() }
func (s *stdio) CloseWrite() error                  { return s.out.Close() }
func (s *stdio) LocalAddr() net.Addr                { return stdioAddr{} }
func (s *stdio) RemoteAddr() net.Addr               { return stdioAddr{} }
func (s *stdio) SetReadDeadline(t time.Time) error  { return deadline(s.in.SetReadDeadline(t)) }
func (s *stdio) SetWriteDeadline(t time.Time) error { return deadline(s.out.SetWriteDeadline(t)) }
func (s *stdio) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}

func deadline(err error) error {
	if errors.Is(err, os.ErrNoDeadline) {
		return nil
	}
	return err
}

// killAfter is how long a child may take to end once its input is closed.
const killAfter = 5 * time.Second

// Child starts a program and makes a connection of its standard input and output, for a Dialer or a Link that speaks to
// it. Closing the connection closes both; a program that does not end within 5 seconds is killed. Cmd.Stdin and
// Cmd.Stdout must not be set.
func Child(cmd *exec.Cmd) (net.Conn, error) {
	inR, inW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, inR.Close(), inW.Close())
	}
	cmd.Stdin, cmd.Stdout = inR, outW
	err = cmd.Start()
	closeAll(inR, outW)
	if err != nil {
		closeAll(inW, outR)
		return nil, err
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // what it says of itself is in its replies
		close(ended)
	}()
	return &stdio{in: outR, out: inW, close: func() error {
		closeAll(inW, outR)
		t := time.NewTimer(killAfter)
		defer t.Stop()
		select {
		case <-ended:
		case <-t.C:
			_ = cmd.Process.Kill()
			<-ended
		}
		return nil
	}}, nil
}

func closeAll(cs ...io.Closer) {
	for _, c := range cs {
		_ = c.Close()
	}
}
