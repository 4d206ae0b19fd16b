package junk

import (
	"math/bits"
	"strconv"
	"strings"

	"github.com/samotop/samotop/message"
)

// shape is how a message is built.
type shape struct {
	words, caps, links, chars int
	plain, html               bool
}

// text notes a text part.
func (x *shape) text(p *message.Part, s string) {
	x.html = x.html || p.Subtype == "html"
	x.plain = x.plain || p.Subtype == "plain"
	x.chars += len(s)
}

// header tells what the header shows but its words.
func (x *shape) header(s *sink, h *message.Header, from, reply []message.AddressOrGroup) {
	for _, name := range []string{"From", "To", "Subject", "Date", "Message-ID"} {
		if !h.Has(name) {
			s.add("is:no-", strings.ToLower(name))
		}
	}
	for _, name := range []string{"List-Id", "List-Unsubscribe", "In-Reply-To", "References", "Precedence", "X-Priority", "Auto-Submitted", "Organization"} {
		if h.Has(name) {
			s.add("is:", strings.ToLower(name))
		}
	}
	to := len(message.ParseAddressList(h.Get("To"))) + len(message.ParseAddressList(h.Get("Cc")))
	if to > 1 {
		s.add("is:recipients-", strconv.Itoa(1<<bits.Len(uint(to-1))))
	}
	if subject := h.Text("Subject"); len(subject) > 5 && strings.ToUpper(subject) == subject && strings.ToLower(subject) != subject {
		s.add("is:subject-shouts")
	}
	if len(from) > 0 && len(reply) > 0 && !strings.EqualFold(from[0].Address.Domain, reply[0].Address.Domain) {
		s.add("is:answers-elsewhere")
	}
	if len(from) > 0 && strings.Contains(from[0].Name, "@") && !strings.Contains(from[0].Name, from[0].Address.Domain) {
		s.add("is:other-address-in-name")
	}
}

// tell tells the rest when the message is complete.
func (x *shape) tell(s *sink, root *message.Part) {
	switch {
	case x.html && !x.plain:
		s.add("is:html-only")
	case x.plain && !x.html:
		s.add("is:plain-only")
	case !x.plain && !x.html:
		s.add("is:no-text")
	}
	s.add("is:words-", strconv.Itoa(1<<bits.Len(uint(x.words))))
	if x.links > 0 {
		s.add("is:links-", strconv.Itoa(1<<bits.Len(uint(x.links))))
	}
	if x.caps > 20 && x.chars < 4*x.caps {
		s.add("is:shouting")
	}
	for p := range root.All() {
		if p.Type == "text" && p.Params != nil {
			s.add("charset:", p.Charset())
		}
		if p.Type == "text" && p.Encoding == "base64" {
			s.add("is:text-in-base64")
		}
	}
}
