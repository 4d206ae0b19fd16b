// Package spool keeps content that has to be read again: the beginning in memory, the rest in a file without a name.
//
//	s := spool.Buffer{MemoryOctets: 256 << 10}
//	defer s.Close()
//	_, err := io.Copy(&s, content)
//	...
//	err = s.CopyTo(w)
//
// It is not durable and need not be: whoever sent the content has no answer yet. A Buffer is for one goroutine.
package spool

import (
	"bytes"
	"io"
	"os"
)

// Buffer holds content. The zero Buffer keeps all of it in a file in the directory for temporary files.
type Buffer struct {
	MemoryOctets int    // so many are kept in memory, as long as there are not more
	Dir          string // of the file; "": the directory for temporary files

	memory []byte
	file   *os.File
}

// Write adds to the content. An error is that of the file.
func (s *Buffer) Write(p []byte) (int, error) {
	if s.file == nil && len(s.memory)+len(p) <= s.MemoryOctets {
		s.memory = append(s.memory, p...)
		return len(p), nil
	}
	if s.file == nil {
		f, err := os.CreateTemp(s.Dir, "samotop-spool-*")
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

// Reader reads all of the content from its beginning. Nothing must be written while it is read.
func (s *Buffer) Reader() (io.Reader, error) {
	if s.file == nil {
		return bytes.NewReader(s.memory), nil
	}
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return io.MultiReader(bytes.NewReader(s.memory), s.file), nil
}

// CopyTo writes all of the content to w.
func (s *Buffer) CopyTo(w io.Writer) error {
	if s.file == nil {
		_, err := w.Write(s.memory)
		return err
	}
	r, err := s.Reader()
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	return err
}

// Close lets go of the content, and of the file.
func (s *Buffer) Close() {
	s.memory = nil
	if s.file != nil {
		s.file.Close() // it has no name: nothing is left of it
		s.file = nil
	}
}
