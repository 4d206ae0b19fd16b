package core

import (
	"encoding/base64"
	"errors"
	"strings"
)

var errTags = errors.New("not a list of tags (RFC 6376 section 3.2)")

// tag is one tag=value of a tag-list, white space around both taken off.
type Tag struct{ Name, Value string }

// ParseTags reads a tag-list. A tag that comes twice makes all of it void.
func ParseTags(s string) ([]Tag, error) {
	tags := make([]Tag, 0, min(strings.Count(s, ";")+1, 16))
	for part := range strings.SplitSeq(s, ";") {
		name, value, ok := strings.Cut(part, "=")
		name = strings.Trim(name, WSP)
		if !ok {
			if name != "" {
				return nil, errTags
			}
			continue // a semicolon at the end, or two in a row
		}
		if !isTagName(name) {
			return nil, errTags
		}
		for _, t := range tags {
			if t.Name == name {
				return nil, errTags
			}
		}
		tags = append(tags, Tag{name, strings.Trim(value, WSP)})
	}
	return tags, nil
}

// ParseTagList reads a tag-list by the letter: an empty tag is only allowed at the end.
func ParseTagList(s string) ([]Tag, error) {
	s = strings.TrimSuffix(strings.TrimRight(s, WSP), ";")
	for part := range strings.SplitSeq(s, ";") {
		if strings.Trim(part, WSP) == "" {
			return nil, errTags
		}
	}
	return ParseTags(s)
}

const WSP = " \t\r\n"

func isTagName(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c != '_' && (c < '0' || c > '9')) {
			return false
		}
	}
	return s != ""
}

// get returns a tag's value.
func Get(tags []Tag, name string) (string, bool) {
	for _, t := range tags {
		if t.Name == name {
			return t.Value, true
		}
	}
	return "", false
}

// ColonList splits a list such as h= and takes the white space off its members.
func ColonList(s string) []string {
	parts := strings.Split(s, ":")
	for i := range parts {
		parts[i] = strings.Trim(parts[i], WSP)
	}
	return parts
}

// Unspace takes folding white space out of base64.
func Unspace(s string) string {
	if !strings.ContainsAny(s, WSP) {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if c := s[i]; c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			b = append(b, c)
		}
	}
	return string(b)
}

func DecodeBase64(s string) ([]byte, error) { return base64.StdEncoding.DecodeString(Unspace(s)) }
