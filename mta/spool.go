package mta

import (
	"io"
	"os"
)

// spool keeps a copy of a message that has several targets, so that what one of them did not take can still be
// queued. It is not durable and need not be: the answer is given after the queue has the message. The first octets
// stay in memory, the rest goes to a file without a name.
type spool struct {
	memory int
	dir    string
	buf    []byte
	file   *os.File
}

func (s *spool) Write(p []byte) (int, error) {
	if s.file == nil && len(s.buf)+len(p) <= s.memory {
		s.buf = append(s.buf, p...)
		return len(p), nil
	}
	if s.file == nil {
		f, err := os.CreateTemp(s.dir, "mta-spool-*")
		if err != nil {
			return 0, err
		}
		s.file = f
		if err := os.Remove(f.Name()); err != nil {
			return 0, err
		}
	}
	return s.file.Write(p)
}

// copyTo writes the whole message to w.
func (s *spool) copyTo(w io.Writer) error {
	if _, err := w.Write(s.buf); err != nil {
		return err
	}
	if s.file == nil {
		return nil
	}
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err := io.Copy(w, s.file)
	return err
}

func (s *spool) close() {
	s.buf = nil
	if s.file != nil {
		s.file.Close()
		s.file = nil
	}
}
