package junk

import (
	"net/netip"
	"strings"
)

// maxLinks is how many links of one part are looked at.
const maxLinks = 200

// links finds hosts in text or markup: what stands after "://", and after "www." and "mailto:".
func (t *Tokenizer) links(s string) {
	for n := 0; n < maxLinks; n++ {
		i := strings.Index(s, "://")
		if i < 0 {
			return
		}
		end := i + 3
		for end < len(s) && inLink(s[end]) && end < i+512 {
			end++
		}
		t.link(s[i+3 : end])
		s = s[end:]
	}
}

func inLink(c byte) bool {
	return c > ' ' && c != '"' && c != '\'' && c != '<' && c != '>' && c != ')' && c != ']'
}

func (t *Tokenizer) link(s string) {
	t.shape.links++
	end := strings.IndexAny(s, "/?#")
	if end < 0 {
		end = len(s)
	}
	host, path := s[:end], s[end:]
	if at := strings.LastIndexByte(host, '@'); at >= 0 {
		t.sink.add("is:name-in-link")
		host = host[at+1:]
	}
	if name, port, ok := strings.Cut(host, ":"); ok && port != "" {
		t.sink.add("is:port-in-link")
		host = name
	}
	if _, err := netip.ParseAddr(host); err == nil {
		t.sink.add("is:address-in-link")
		return
	}
	if strings.Contains(host, "xn--") || strings.IndexFunc(host, func(r rune) bool { return r > 127 }) >= 0 {
		t.sink.add("is:foreign-letters-in-host")
	}
	t.host("host:", host)
	if dot := strings.LastIndexByte(path, '.'); dot >= 0 && len(path)-dot <= 5 {
		t.sink.add("link:", strings.ToLower(path[dot:]))
	}
	if len(path) > 100 {
		t.sink.add("is:long-link")
	}
}

// tricks are pieces of markup that tell how a message is made.
var tricks = []struct{ find, tell string }{
	{"<form", "is:form"}, {"<script", "is:script"}, {"<iframe", "is:frame"}, {"display:none", "is:hidden-text"},
	{"font-size:0", "is:tiny-text"}, {"font-size:1px", "is:tiny-text"}, {"color:#fff", "is:white-text"}, {"visibility:hidden", "is:hidden-text"},
	{"cid:", "is:image-inside"}, {"<img", "is:image"}, {"width=\"1\"", "is:pixel"}, {"<table", "is:table"}, {"<blockquote", "is:quote"},
	{"<style", "is:style"}, {"javascript:", "is:script"}, {"data:text/html", "is:script"}, {"<center", "is:center"}, {"<font", "is:font"},
}

// markup looks at HTML.
func (t *Tokenizer) markup(s string) {
	low := strings.ToLower(s)
	for _, x := range tricks {
		if strings.Contains(low, x.find) {
			t.sink.add(x.tell)
		}
	}
}
