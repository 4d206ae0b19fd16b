package middleware

import (
	"bytes"
	"io"
	"os"
)

// spool keeps content that has to be read again: the beginning in memory, the rest in a file without a name. It is not
// durable and need not be.
type spool struct {
	memory int // octets
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
		f, err := os.CreateTemp(s.dir, "samotop-recode-*")
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

// content reads all of it from the beginning.
func (s *spool) content() (io.Reader, error) {
	if s.file == nil {
		return bytes.NewReader(s.buf), nil
	}
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return io.MultiReader(bytes.NewReader(s.buf), s.file), nil
}

func (s *spool) close() {
	s.buf = nil
	if s.file != nil {
		s.file.Close()
		s.file = nil
	}
}
