package delivery

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/samotop/samotop/mail"
)

const bufferOctets = 64 << 10

// spool takes trace fields and content into one file, in the order in which they stand in a message.
type spool struct {
	dir     string
	f       *os.File
	w       *bufio.Writer
	fields  []mail.Field
	started bool // content has begun
	early   int  // octets of the fields that were written in front of it
	late    bool // a field came after that: the file has to be written again
	kept    bool // has become another file
	err     error
}

// newSpool makes the file in dir; "" is the directory for temporary files.
func newSpool(dir string) (*spool, error) {
	f, err := os.CreateTemp(dir, "samotop-*")
	if err != nil {
		return nil, fmt.Errorf("delivery: spool: %w", err)
	}
	return &spool{dir: dir, f: f, w: bufio.NewWriterSize(f, bufferOctets)}, nil
}

func (s *spool) Trace(fields ...mail.Field) {
	s.fields = append(s.fields, fields...)
	s.late = s.late || s.started
}

func (s *spool) prefix() []byte {
	var b []byte
	for i := len(s.fields) - 1; i >= 0; i-- {
		b = s.fields[i].Append(b)
	}
	return b
}

// start writes the fields that are known when the content begins.
func (s *spool) start() {
	if !s.started {
		s.started = true
		s.early, s.err = s.w.Write(s.prefix())
	}
}

func (s *spool) Write(p []byte) (int, error) {
	s.start()
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.w.Write(p)
	s.err = err
	return n, err
}

// finish completes the file and leaves it open at its beginning.
func (s *spool) finish() error {
	s.start()
	if s.err == nil {
		s.err = s.w.Flush()
	}
	if s.err == nil && s.late {
		s.err = s.again()
	}
	if s.err == nil {
		_, s.err = s.f.Seek(0, io.SeekStart)
	}
	return s.err
}

// again writes the file anew with all its fields in front.
func (s *spool) again() error {
	fresh, err := newSpool(s.dir)
	if err != nil {
		return err
	}
	fresh.fields = s.fields
	old := s.f
	if _, err = old.Seek(int64(s.early), io.SeekStart); err == nil {
		if _, err = io.Copy(fresh, old); err == nil {
			fresh.start()
			err = fresh.w.Flush()
		}
	}
	if err != nil {
		return errors.Join(err, fresh.remove())
	}
	s.f, s.w = fresh.f, fresh.w
	return errors.Join(old.Close(), os.Remove(old.Name()))
}

// remove closes the file and, unless it became another, deletes it.
func (s *spool) remove() error {
	if s == nil || s.f == nil {
		return nil
	}
	err := s.f.Close()
	if !s.kept {
		err = errors.Join(err, os.Remove(s.f.Name()))
	}
	s.f = nil
	return err
}

// become syncs the file and gives it a name in the same directory, under which it stays.
func (s *spool) become(name string) error {
	if err := s.f.Sync(); err != nil {
		return err
	}
	err := os.Rename(s.f.Name(), name)
	s.kept = err == nil
	return err
}

// copyTo writes and syncs another file with the same content.
func (s *spool) copyTo(name string) error {
	if _, err := s.f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	to, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err = io.Copy(to, s.f); err == nil {
		err = to.Sync()
	}
	return errors.Join(err, to.Close())
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// lfWriter turns CRLF into LF, as files and programs on this system want it.
type lfWriter struct {
	w  io.Writer
	cr bool
}

func (l *lfWriter) Write(p []byte) (int, error) {
	out := make([]byte, 0, len(p)+1)
	for _, c := range p {
		if l.cr && c != '\n' {
			out = append(out, '\r')
		}
		if l.cr = c == '\r'; !l.cr {
			out = append(out, c)
		}
	}
	if _, err := l.w.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}

// all gives n times the same reply.
func all(n int, r mail.Reply) []mail.Reply {
	rs := make([]mail.Reply, n)
	for i := range rs {
		rs[i] = r
	}
	return rs
}

func failed(op string, err error) error {
	return mail.NewReply(451, mail.Enhanced{4, 3, 0}, "Message could not be stored, please try again later").
		Because(fmt.Errorf("delivery: %s: %w", op, err))
}
