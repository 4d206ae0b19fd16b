package imap

import (
	"strconv"
	"strings"
)

// itemKind is a data item of FETCH.
type itemKind uint8

const (
	itemUID itemKind = iota
	itemFlags
	itemDate
	itemSize
	itemEnvelope
	itemBody      // BODY
	itemStructure // BODYSTRUCTURE
	itemModSeq    // RFC 7162
	itemEmailID   // RFC 8474
	itemThreadID
	itemSaveDate // RFC 8514
	itemPreview  // RFC 8970
	itemBinary   // BINARY[...] (RFC 3516)
	itemBinarySize
	itemSection // BODY[...], RFC822 and its kin
)

// partText is which part of a part a section names.
type partText uint8

const (
	textAll    partText = iota // the part: its body, or for the root everything
	textHeader                 // HEADER
	textFields                 // HEADER.FIELDS
	textNot                    // HEADER.FIELDS.NOT
	textBody                   // TEXT
	textMIME                   // MIME
)

// fetchItem is one data item.
type fetchItem struct {
	kind  itemKind
	label string // as it stands in the answer

	path   []int
	text   partText
	fields []string // lower case
	from   int64    // partial: first octet, -1 if there is none
	octets int64
	peek   bool
}

// fetchPlan is what a FETCH does for each message.
type fetchPlan struct {
	items []fetchItem
	need  Need
	seen  bool // sets \Seen
	flags bool // FLAGS is among the items
	uid   bool

	changedSince ModSeq // RFC 7162 section 3.1.4.1; 0: not asked
	conditional  bool   // CHANGEDSINCE was given
	vanished     bool   // RFC 7162 section 3.2.6
	partial      *partialRange
	modseq       bool
}

// fetchArgs reads the items of FETCH (RFC 9051 section 6.4.5).
func (c *conn) fetchArgs(p *parser, uid bool) (*fetchPlan, error) {
	plan := &fetchPlan{}
	if c.tellsUID(uid) {
		plan.add(fetchItem{kind: itemUID, label: "UID "})
	}
	if !p.accept('(') {
		if err := c.fetchItem(p, plan, true); err != nil {
			return nil, err
		}
		return plan, c.fetchModifiers(p, plan, uid)
	}
	for n := 1; ; n++ {
		if err := c.fetchItem(p, plan, false); err != nil {
			return nil, err
		}
		if err := p.tooMany(n * 20); err != nil { // each is looked at for every message
			return nil, err
		}
		if p.accept(')') {
			return plan, c.fetchModifiers(p, plan, uid)
		}
		if err := p.sp(); err != nil {
			return nil, err
		}
	}
}

func (f *fetchPlan) add(it fetchItem) {
	switch it.kind {
	case itemUID:
		if f.uid {
			return
		}
		f.uid = true
	case itemFlags:
		if f.flags {
			return
		}
		f.flags = true
	case itemModSeq:
		if f.modseq {
			return
		}
		f.modseq = true
	case itemEmailID, itemThreadID:
		f.need |= NeedIDs
	case itemSaveDate:
		f.need |= NeedDates
	case itemPreview:
		f.need |= NeedPreview
	case itemBinary, itemBinarySize:
		f.need |= NeedParts | NeedContent
		f.seen = f.seen || !it.peek
	case itemDate:
		f.need |= NeedDates
	case itemSize:
		f.need |= NeedSize
	case itemEnvelope:
		f.need |= NeedEnvelope
	case itemBody, itemStructure:
		f.need |= NeedStructure
	case itemSection:
		f.need |= it.need()
		f.seen = f.seen || !it.peek
	}
	f.items = append(f.items, it)
}

// need is what a section needs of the message.
func (it *fetchItem) need() Need {
	switch {
	case len(it.path) == 0 && (it.text == textHeader || it.text == textFields || it.text == textNot):
		return NeedHeader | NeedContent // the content where the backend keeps part of the header only
	case len(it.path) == 0 && it.text == textAll:
		return NeedContent
	}
	return NeedParts | NeedContent
}

// fetchItem reads one item. A macro stands alone.
func (c *conn) fetchItem(p *parser, plan *fetchPlan, macro bool) error {
	start := p.i
	w := p.word()
	switch {
	case macro && (w == "ALL" || w == "FAST" || w == "FULL"):
		for _, k := range []fetchItem{
			{kind: itemFlags, label: "FLAGS "}, {kind: itemDate, label: "INTERNALDATE "}, {kind: itemSize, label: "RFC822.SIZE "},
		} {
			plan.add(k)
		}
		if w != "FAST" {
			plan.add(fetchItem{kind: itemEnvelope, label: "ENVELOPE "})
		}
		if w == "FULL" {
			plan.add(fetchItem{kind: itemBody, label: "BODY "})
		}
		return nil
	case (w == "BODY" || w == "BODY.PEEK") && p.accept('['):
		it := fetchItem{kind: itemSection, from: -1, peek: w == "BODY.PEEK"}
		if err := p.section(&it); err != nil {
			return err
		}
		plan.add(it)
		return nil
	case strings.HasPrefix(w, "BINARY") && p.accept('['):
		return p.binaryItem(plan, w)
	}
	it := fetchItem{kind: itemSection, label: w + " ", from: -1}
	switch w {
	case "UID":
		it.kind = itemUID
	case "FLAGS":
		it.kind = itemFlags
	case "INTERNALDATE":
		it.kind = itemDate
	case "RFC822.SIZE":
		it.kind = itemSize
	case "ENVELOPE":
		it.kind = itemEnvelope
	case "BODY":
		it.kind = itemBody
	case "BODYSTRUCTURE":
		it.kind = itemStructure
	case "MODSEQ":
		it.kind = itemModSeq
		c.mode |= modeCondstore
	case "EMAILID":
		it.kind = itemEmailID
	case "THREADID":
		it.kind = itemThreadID
	case "SAVEDATE":
		it.kind = itemSaveDate
	case "PREVIEW":
		it.kind = itemPreview
		if err := p.previewModifier(); err != nil {
			return err
		}
	case "RFC822":
	case "RFC822.HEADER":
		it.text, it.peek = textHeader, true
	case "RFC822.TEXT":
		it.text = textBody
	default:
		return bad("there is no FETCH item %s at octet %d", clip(w), start+1)
	}
	plan.add(it)
	return nil
}

// section reads a section and partial behind "BODY[" (RFC 9051 section 6.4.5.1), and makes the label.
func (p *parser) section(it *fetchItem) error {
	label := "BODY["
	for {
		if c := p.peek(); c < '1' || c > '9' {
			break
		}
		n, err := p.number()
		if err != nil {
			return err
		}
		if it.path = append(it.path, int(n)); len(it.path) > maxSectionDepth {
			return bad("section is deeper than %d levels", maxSectionDepth)
		}
		label += strconv.Itoa(int(n))
		if p.peek() != '.' {
			break
		}
		p.i++
		label += "."
	}
	if err := p.sectionText(it, &label); err != nil {
		return err
	}
	if err := p.expect(']'); err != nil {
		return err
	}
	it.label = label + "] "
	if p.peek() == '<' {
		return p.partial(it, label)
	}
	return nil
}

// maxSectionDepth is more than a parsed message ever has.
const maxSectionDepth = 200

func (p *parser) partial(it *fetchItem, label string) error {
	p.i++
	from, err := p.number64()
	if err == nil {
		err = p.expect('.')
	}
	if err != nil {
		return err
	}
	n, err := p.number64()
	if err == nil && n == 0 {
		err = bad("partial asks for no octets")
	}
	if err == nil {
		err = p.expect('>')
	}
	if err != nil {
		return err
	}
	it.from, it.octets = from, n
	it.label = label + "]<" + strconv.FormatInt(from, 10) + "> "
	return nil
}

// sectionText reads what stands behind the part numbers.
func (p *parser) sectionText(it *fetchItem, label *string) error {
	if p.peek() == ']' {
		if strings.HasSuffix(*label, ".") {
			return bad("section ends in a dot")
		}
		return nil
	}
	if len(it.path) > 0 && !strings.HasSuffix(*label, ".") {
		return bad("section is malformed at octet %d", p.i+1)
	}
	w := p.word()
	*label += w
	switch w {
	case "HEADER":
		it.text = textHeader
	case "TEXT":
		it.text = textBody
	case "HEADER.FIELDS", "HEADER.FIELDS.NOT":
		it.text = textFields
		if w == "HEADER.FIELDS.NOT" {
			it.text = textNot
		}
		return p.fieldNames(it, label)
	case "MIME":
		if it.text = textMIME; len(it.path) == 0 {
			return bad("MIME needs a part number")
		}
	default:
		return bad("there is no section %s", clip(w))
	}
	return nil
}

func (p *parser) fieldNames(it *fetchItem, label *string) error {
	if err := p.sp(); err != nil {
		return err
	}
	if err := p.expect('('); err != nil {
		return err
	}
	l := append([]byte(*label), " ("...)
	for n := 0; n == 0 || !p.accept(')'); n++ {
		if n > 0 {
			if err := p.sp(); err != nil {
				return err
			}
			l = append(l, ' ')
		}
		name, err := p.astring()
		if err == nil {
			err = p.tooMany(n * 20)
		}
		if err != nil {
			return err
		}
		it.fields = append(it.fields, strings.ToLower(string(name)))
		l = appendAString(l, name)
	}
	*label = string(append(l, ')'))
	return nil
}

// appendAString appends an atom where it can, else a string.
func appendAString(dst, s []byte) []byte {
	for _, c := range s {
		if !isAtomChar(c) {
			return appendString(dst, s)
		}
	}
	if len(s) == 0 || strings.EqualFold(string(s), "NIL") {
		return appendString(dst, s)
	}
	return append(dst, s...)
}
