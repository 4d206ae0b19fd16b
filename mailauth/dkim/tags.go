package dkim

import (
	"encoding/base64"
	"errors"
	"strings"
)

var errTags = errors.New("not a list of tags (RFC 6376 section 3.2)")

// tag is one tag=value of a tag-list, white space around both taken off.
type tag struct{ name, value string }

// parseTags reads a tag-list. A tag that comes twice makes all of it void.
func parseTags(s string) ([]tag, error) {
	var tags []tag
	for part := range strings.SplitSeq(s, ";") {
		name, value, ok := strings.Cut(part, "=")
		name = strings.Trim(name, wsp)
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
			if t.name == name {
				return nil, errTags
			}
		}
		tags = append(tags, tag{name, strings.Trim(value, wsp)})
	}
	return tags, nil
}

const wsp = " \t\r\n"

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
func get(tags []tag, name string) (string, bool) {
	for _, t := range tags {
		if t.name == name {
			return t.value, true
		}
	}
	return "", false
}

// colonList splits a list such as h= and takes the white space off its members.
func colonList(s string) []string {
	parts := strings.Split(s, ":")
	for i := range parts {
		parts[i] = strings.Trim(parts[i], wsp)
	}
	return parts
}

// unspace takes folding white space out of base64.
func unspace(s string) string {
	if !strings.ContainsAny(s, wsp) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(wsp, r) {
			return -1
		}
		return r
	}, s)
}

func decodeBase64(s string) ([]byte, error) { return base64.StdEncoding.DecodeString(unspace(s)) }
