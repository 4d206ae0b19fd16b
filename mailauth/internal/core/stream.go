package core

import "crypto/sha256"

// Stream is a message that passes once before all who verify or make signatures of it: its header is kept, once, and
// its body goes through one hash for each kind of body that anybody asked for. The zero value is ready for use.
type Stream struct {
	Fields []Field // of the header, once that has ended

	head    Head
	readers []Reader
	bodies  []*BodyHash
	begun   bool
	closed  bool
}

// Reader is told when the header has ended. It then looks at Fields, and asks for the bodies that it will need.
type Reader interface{ Begin(s *Stream) }

// Tell lets a reader know. It must be called before the first octet.
func (s *Stream) Tell(r Reader) { s.readers = append(s.readers, r) }

// Header returns the header as far as it was written; nil if it is longer than MaxHeaderOctets. It must not be changed.
func (s *Stream) Header() []byte { return s.head.Buf }

// TooLarge reports whether the header is longer than MaxHeaderOctets: then there are no Fields.
func (s *Stream) TooLarge() bool { return s.head.TooLarge }

// Body returns the hash of the body in one canonical form, cut off after limit octets if that is not negative. Who asks
// for the same gets the same.
func (s *Stream) Body(c Canonicalization, limit int64) *BodyHash {
	for _, h := range s.bodies {
		if h.Canon == c && h.Limit == limit {
			return h
		}
	}
	h := NewBodyHash(c, sha256.New(), limit)
	s.bodies = append(s.bodies, h)
	return h
}

// Write takes the next octets of the message. It never fails.
func (s *Stream) Write(p []byte) (int, error) {
	n := len(p)
	p = s.head.Write(p)
	if s.head.Done && !s.begun {
		s.begin()
	}
	if len(p) == 0 {
		return n, nil
	}
	for _, h := range s.bodies {
		h.Write(p)
	}
	return n, nil
}

func (s *Stream) begin() {
	s.begun = true
	s.Fields = SplitHeader(s.head.Buf)
	for _, r := range s.readers {
		r.Begin(s)
	}
}

// Close ends the message and its hashes. It may come more than once.
func (s *Stream) Close() {
	if s.closed {
		return
	}
	s.closed = true
	if !s.begun { // there is no empty line: all of it is header
		s.head.Done = true
		s.begin()
	}
	for _, h := range s.bodies {
		h.Close()
	}
}
