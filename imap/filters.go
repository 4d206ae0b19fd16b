package imap

import (
	"context"
	"errors"
	"strings"
)

// filterSource gives searches the filters that are kept as annotations of the server (RFC 5466 section 3), the user's own
// before those of all; nil: there is none of that name.
func (c *conn) filterSource(ctx context.Context) func(name string) ([]byte, error) {
	var entries []MetadataEntry
	read := false
	return func(name string) ([]byte, error) {
		md, ok := c.account.(Metadata)
		if !ok || !c.offers("FILTERS") {
			return nil, errNoExtension
		}
		if !read {
			var err error
			if entries, err = md.Entries(ctx, ""); err != nil {
				return nil, err
			}
			read = true
		}
		for _, kind := range [...]string{"/private", "/shared"} {
			for _, e := range entries {
				if strings.EqualFold(e.Name, kind+"/filters/values/"+name) {
					return e.Value, nil
				}
			}
		}
		return nil, nil
	}
}

// filterKey reads the name of a filter and, in its place, the keys that the filter stands for (RFC 5466 section 2). A
// filter may name others; the limits of depth and of keys hold for all of them together.
func (s *searchReader) filterKey(out *Criteria) error {
	raw, err := s.atom()
	if err != nil {
		return err
	}
	name := string(raw)
	if strings.Contains(name, "/") {
		return bad("the name of a filter has no slash (RFC 5466 section 4)")
	}
	value, err := s.filter(name)
	if err != nil {
		return err
	}
	if value == nil {
		return no("UNDEFINED-FILTER "+clip(name), "there is no such filter")
	}
	outer, charset := s.parser, s.charset
	s.parser, s.charset = &parser{b: value, l: outer.l, utf8: true, depth: outer.depth}, ""
	defer func() { s.parser, s.charset = outer, charset }()
	if err := s.nest(); err != nil {
		return err
	}
	if err := s.charsetArg(); err != nil {
		return err
	}
	also, err := s.criteria()
	var e *Error
	if errors.As(err, &e) && e.Bad { // it is the filter that is wrong, not the command
		return no(e.Code, "filter "+clip(name)+": "+e.Text)
	}
	if err != nil {
		return err
	}
	out.Not = append(out.Not, Criteria{Not: []Criteria{*also}})
	return nil
}
