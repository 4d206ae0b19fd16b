package imap

import "strings"

// defaultLanguage is that of all our texts (RFC 5255 section 3.1, RFC 2277 section 4.5).
const defaultLanguage = "i-default"

// cmdLanguage: RFC 5255 section 3.2. Without arguments it tells the languages there are.
func (c *conn) cmdLanguage(p *parser) error {
	known := p.atEnd()
	for n := 0; !p.atEnd(); n++ {
		if err := p.sp(); err != nil {
			return err
		}
		lang, err := p.astring()
		if err == nil {
			err = p.tooMany(n * 100)
		}
		if err != nil {
			return err
		}
		known = known || isDefaultLanguage(string(lang))
	}
	if !known {
		return no("", "texts are in "+defaultLanguage+" only")
	}
	c.say("* LANGUAGE (", defaultLanguage, ")")
	return nil
}

// isDefaultLanguage reports whether a language range (RFC 4647 section 3.3.1) takes i-default.
func isDefaultLanguage(s string) bool {
	return s == "*" || strings.EqualFold(s, "default") || strings.EqualFold(s, defaultLanguage) || strings.EqualFold(s, "i")
}
