package message

// maxLanguages is the most tags of Content-Language that are read (RFC 3282).
const maxLanguages = 64

// describe fills in what the MIME fields say (RFC 2045, 2183, 2557, 3282). The first field of a name counts.
func (p *Part) describe(digest bool) {
	p.Type, p.Subtype, p.Encoding = "text", "plain", "7bit"
	if digest {
		p.Type, p.Subtype = "message", "rfc822"
	}
	var seen uint
	for i := range p.Header.index {
		x := p.Header.index[i]
		name := p.Header.raw[x.start:x.nameEnd]
		if len(name) < 10 || len(name) > 25 || !equalFold(name[:8], "content-") {
			continue
		}
		bit := mimeField(name[8:])
		if bit == 0 || seen&bit != 0 {
			continue
		}
		seen |= bit
		p.set(bit, p.Header.value(i))
	}
}

const (
	fieldType uint = 1 << iota
	fieldEncoding
	fieldDisposition
	fieldID
	fieldDescription
	fieldMD5
	fieldLocation
	fieldLanguage
)

func mimeField(name []byte) uint {
	var buf [17]byte
	if len(name) > len(buf) {
		return 0
	}
	for i, c := range name {
		buf[i] = lower(c)
	}
	switch string(buf[:len(name)]) {
	case "type":
		return fieldType
	case "transfer-encoding":
		return fieldEncoding
	case "disposition":
		return fieldDisposition
	case "id":
		return fieldID
	case "description":
		return fieldDescription
	case "md5":
		return fieldMD5
	case "location":
		return fieldLocation
	case "language":
		return fieldLanguage
	}
	return 0
}

func (p *Part) set(field uint, value []byte) {
	switch field {
	case fieldType:
		m := ParseMediaType(value)
		if m.Type != "" { // RFC 2045 section 5.2: what cannot be read counts as not there
			p.Type, p.Subtype = m.Type, m.Subtype
		}
		p.Params = m.Params
	case fieldEncoding:
		if e, _ := ParseRawParams(value); e != "" {
			p.Encoding = e
		}
	case fieldDisposition:
		p.Disposition, p.DispositionParams = ParseParams(value)
	case fieldID:
		p.ID = string(value)
	case fieldDescription:
		p.Description = string(value)
	case fieldMD5:
		p.MD5 = string(value)
	case fieldLocation:
		p.Location = string(value)
	case fieldLanguage:
		p.Language = languages(value)
	}
}

func languages(value []byte) []string {
	var tags []string
	s := scanner{b: value}
	for s.i < len(s.b) && len(tags) < maxLanguages {
		s.skip()
		start := s.i
		s.token()
		if s.i > start {
			tags = append(tags, string(s.b[start:s.i]))
		} else {
			s.i++
		}
	}
	return tags
}
