package imap

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// name appends a mailbox name in the form of the session's mode.
func (c *conn) name(name string) {
	if c.mode&(modeUTF8|modeRev2) != 0 {
		c.out = appendUTF8(c.out, name)
		return
	}
	c.out = appendString(c.out, string(AppendUTF7(nil, name)))
}

// appendUTF8 appends a quoted string that may hold UTF-8 (RFC 6855 section 3).
func appendUTF8(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(s); i++ {
		if s[i] == '"' || s[i] == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, s[i])
	}
	return append(dst, '"')
}

// cmdSelect: RFC 9051 section 6.3.2 and 6.3.3.
func (c *conn) cmdSelect(ctx context.Context, p *parser, readOnly bool) error {
	name, err := p.mailbox()
	if err != nil {
		if e, ok := err.(*Error); ok && !e.Bad { // an impossible name: the mailbox is not selected any more either
			c.closeSelected()
		}
		return err
	}
	var opts selectOptions
	if p.accept(' ') {
		if opts, err = c.selectOptions(p); err != nil {
			return err
		}
	}
	if err := p.end(); err != nil {
		return err
	}
	c.closeSelected()
	box, err := c.account.Select(ctx, name, readOnly)
	if err != nil {
		return err
	}
	snap, err := box.Snapshot(ctx)
	if err != nil {
		_ = box.Close()
		return err
	}
	c.sel = &selected{
		box: box, name: name, readOnly: readOnly || snap.ReadOnly, validity: snap.UIDValidity,
		uids: snap.UIDs.Clone(), recent: snap.RecentUIDs.Clone(), modseq: snap.HighestModSeq, uidNext: snap.UIDNext,
		keywords: append([]string(nil), snap.Keywords...), limited: snap.MaxKeywords, rights: snap.Rights,
	}
	c.state = stateSelected
	c.tellSelected(snap, p.asked)
	if opts.qresync {
		if err := c.resync(ctx, &opts); err != nil {
			return err
		}
	}
	c.code, c.text = "READ-WRITE", "selected"
	if c.sel.readOnly || !c.sel.writable() {
		c.code, c.text = "READ-ONLY", "selected, read-only"
	}
	return nil
}

// closeSelected leaves the mailbox that was selected, if any, before another one is (RFC 7162 section 3.2.11).
func (c *conn) closeSelected() {
	if c.sel != nil {
		c.unselect()
		c.say("* OK [CLOSED] previous mailbox is closed")
	}
}

// tellSelected writes the untagged answers to SELECT.
func (c *conn) tellSelected(snap *Snapshot, asked string) {
	c.tellFlagsLine()
	c.exists()
	if snap.FirstUnseen != 0 && c.mode&(modeRev2|modeUIDOnly) == 0 { // it is a message number
		c.say("* OK [UNSEEN ", strconv.Itoa(snap.UIDs.Rank(snap.FirstUnseen)), "] first unseen")
	}
	c.say("* OK [UIDVALIDITY ", strconv.FormatUint(uint64(snap.UIDValidity), 10), "] UIDs valid")
	c.say("* OK [UIDNEXT ", strconv.FormatUint(uint64(snap.UIDNext), 10), "] next UID")
	if c.offers("CONDSTORE") {
		c.say("* OK [HIGHESTMODSEQ ", strconv.FormatUint(uint64(max(snap.HighestModSeq, 1)), 10), "] highest")
	}
	if snap.ID != "" && c.offers("OBJECTID") {
		c.say("* OK [MAILBOXID (", snap.ID, ")] id")
	}
	if c.offersURLAuth() { // RFC 4467 section 8
		c.say("* OK [URLMECH ", mechInternal, "] mechanisms of URLAUTH")
	}
	if c.mode&modeRev2 != 0 { // RFC 9051 section 6.3.2
		c.out = append(c.out, `* LIST () "/" `...)
		c.name(c.sel.name)
		c.oldName(asked, c.sel.name)
		c.say()
	}
}

// oldName adds under which name the client knows a mailbox, where it is another one (RFC 9051 section 6.3.9.7).
func (c *conn) oldName(asked, name string) {
	if asked == name {
		return
	}
	c.out = append(c.out, ` ("OLDNAME" (`...)
	c.name(asked)
	c.out = append(c.out, "))"...)
}

// tellOldName tells the new name of a mailbox, or the one that was made of what the client asked for.
func (c *conn) tellOldName(asked, name string) {
	if asked == name || c.mode&modeRev2 == 0 {
		return
	}
	c.begin()
	c.out = append(c.out, `* LIST () "/" `...)
	c.name(name)
	c.oldName(asked, name)
	c.say()
}

// cmdClose: RFC 9051 section 6.4.1. No EXPUNGE is told.
func (c *conn) cmdClose(ctx context.Context) error {
	if !c.sel.readOnly && c.sel.may("e") {
		if _, err := c.sel.box.Expunge(ctx, nil); err != nil && !isNoPerm(err) && !hasCode(err, "INUSE") { // RFC 4314 section 4
			return err
		}
	}
	if c.mode&modeQresync != 0 { // RFC 7162 section 3.2.8
		if ch, err := c.sel.box.Changes(ctx, c.sel.modseq); err == nil {
			c.code = "HIGHESTMODSEQ " + strconv.FormatUint(uint64(max(ch.ModSeq, c.sel.modseq)), 10)
		}
	}
	c.unselect()
	return nil
}

// cmdCreate: RFC 9051 section 6.3.4. A separator at the end only says that there will be children.
func (c *conn) cmdCreate(ctx context.Context, p *parser) error {
	name, err := p.mailbox()
	var use []SpecialUse
	if err == nil && p.accept(' ') {
		use, err = c.createUse(p)
	}
	if err == nil {
		err = p.end()
	}
	if err == nil {
		name = strings.TrimSuffix(name, "/")
		err = validName(name)
	}
	if err != nil {
		return err
	}
	if name == "INBOX" {
		return no("ALREADYEXISTS", "INBOX always exists")
	}
	id, err := c.account.Create(ctx, name, use)
	if err == nil {
		c.tellOldName(strings.TrimSuffix(p.asked, "/"), name)
	}
	if err == nil && id != "" && c.offers("OBJECTID") { // RFC 8474 section 4.1
		c.code = "MAILBOXID (" + id + ")"
	}
	return err
}

// createUse reads the USE parameter of CREATE (RFC 6154 section 3).
func (c *conn) createUse(p *parser) ([]SpecialUse, error) {
	if err := p.expect('('); err != nil {
		return nil, err
	}
	if !p.acceptWord("USE") || !p.accept(' ') || !p.accept('(') {
		return nil, bad("CREATE takes the parameter USE (...) only")
	}
	var use []SpecialUse
	for n := 0; !p.accept(')'); n++ {
		if n > 0 {
			if err := p.sp(); err != nil {
				return nil, err
			}
		}
		if err := p.expect('\\'); err != nil {
			return nil, err
		}
		w := p.word()
		u := specialUse(w)
		if u == "" || len(use) > 10 {
			return nil, no("USEATTR", "there is no special use "+clip(w))
		}
		use = append(use, u)
	}
	return use, p.expect(')')
}

// specialUse finds a special use by its name in upper case; \All and \Flagged are views that cannot be created.
func specialUse(name string) SpecialUse {
	for _, u := range [...]SpecialUse{UseArchive, UseDrafts, UseJunk, UseSent, UseTrash, UseImportant} {
		if strings.EqualFold(string(u[1:]), name) {
			return u
		}
	}
	return ""
}

// validName refuses names that cannot be created.
func validName(name string) error {
	if name == "" || strings.HasPrefix(name, "/") || strings.HasSuffix(name, "/") || strings.Contains(name, "//") {
		return no("CANNOT", "a level of the mailbox name is empty")
	}
	return nil
}

// cmdName: DELETE, SUBSCRIBE, UNSUBSCRIBE.
func (c *conn) cmdName(ctx context.Context, p *parser, verb string) error {
	name, err := p.mailbox()
	if err == nil {
		err = p.end()
	}
	if err != nil {
		return err
	}
	name = strings.TrimSuffix(name, "/")
	switch verb {
	case "DELETE":
		if name == "INBOX" {
			return no("CANNOT", "INBOX cannot be deleted")
		}
		if c.sel != nil && c.sel.name == name {
			c.closeSelected() // it would be gone under our feet
		}
		return c.account.Delete(ctx, name)
	case "SUBSCRIBE":
		if err := validName(name); err != nil {
			return err
		}
		return c.account.Subscribe(ctx, name, true)
	}
	return c.account.Subscribe(ctx, name, false)
}

// cmdRename: RFC 9051 section 6.3.6.
func (c *conn) cmdRename(ctx context.Context, p *parser) error {
	from, err := p.mailbox()
	if err == nil {
		err = p.sp()
	}
	if err != nil {
		return err
	}
	to, err := p.mailbox()
	if err == nil {
		err = p.end()
	}
	if err == nil {
		from, to = strings.TrimSuffix(from, "/"), strings.TrimSuffix(to, "/")
		err = validName(to)
	}
	switch {
	case err != nil:
		return err
	case to == "INBOX":
		return no("ALREADYEXISTS", "INBOX always exists")
	case to == from:
		return no("ALREADYEXISTS", "mailbox has this name already")
	case from != "INBOX" && strings.HasPrefix(to, from+"/"): // INBOX stays, its messages move (RFC 9051 section 6.3.6)
		return no("CANNOT", "a mailbox cannot be moved below itself")
	}
	if err := c.account.Rename(ctx, from, to); err != nil {
		return err
	}
	if c.sel != nil && from != "INBOX" && (c.sel.name == from || strings.HasPrefix(c.sel.name, from+"/")) {
		c.sel.name = to + c.sel.name[len(from):]
	}
	if from != "INBOX" { // which stays
		c.tellOldName(from, to)
	}
	return nil
}

// listOptions are the options of LIST (RFC 5258).
type listOptions struct {
	extended  bool // the extended syntax was used
	ref       string
	patterns  []string
	subscribe bool // selection SUBSCRIBED
	special   bool // selection SPECIAL-USE
	recursive bool // selection RECURSIVEMATCH
	retSub    bool // return SUBSCRIBED
	status    statusItem
	rights    bool     // return MYRIGHTS (RFC 8440)
	metadata  []string // return METADATA (RFC 9590)
	metaOpts  metadataOptions
}

// cmdList: RFC 9051 section 6.3.9, RFC 5258.
func (c *conn) cmdList(ctx context.Context, p *parser) error {
	o, err := c.listArgs(p)
	if err != nil {
		return err
	}
	if !o.extended && o.patterns[0] == "" { // asks for the separator
		c.say(`* LIST (\Noselect) "/" ""`)
		return nil
	}
	folders, err := c.account.List(ctx)
	if err != nil {
		return err
	}
	return c.tellList(ctx, newTree(folders), o)
}

// tellList writes the mailboxes that LIST selects.
func (c *conn) tellList(ctx context.Context, t *tree, o *listOptions) error {
	var matched []bool
	if o.recursive {
		matched = make([]bool, len(t.nodes))
		for i := range t.nodes {
			matched[i] = o.matches(t.nodes[i].Name)
		}
		t.markBelow(o, matched)
	}
	for i := range t.nodes {
		n := &t.nodes[i]
		if !o.matches(n.Name) {
			continue
		}
		chosen := o.chooses(n)
		if !chosen && !n.below {
			continue
		}
		c.tellFolder("LIST", n, o)
		if o.status != 0 && chosen && !n.NonExistent && !n.NoSelect {
			if st, err := c.account.Status(ctx, n.Name); err == nil { // RFC 5819 section 2: else it is left out
				c.tellStatus(n.Name, o.status, &st)
			}
		}
		if chosen && !n.NonExistent {
			c.tellMore(ctx, n.Name, o)
		}
		if err := c.spill(); err != nil {
			return err
		}
	}
	return nil
}

// tellMore writes what LIST returns of a mailbox by options that the backend may support; errors leave it out.
func (c *conn) tellMore(ctx context.Context, name string, o *listOptions) {
	if a, ok := c.account.(ACLs); ok && o.rights {
		if rights, err := a.MyRights(ctx, name); err == nil {
			c.tellRights("MYRIGHTS", name, oldRights(rights))
		}
	}
	if md, ok := c.account.(Metadata); ok && o.metadata != nil {
		if entries, err := md.Entries(ctx, name); err == nil {
			c.tellMetadata(name, o.metadata, entries, &o.metaOpts)
		}
	}
}

// tellFolder writes one LIST or LSUB.
func (c *conn) tellFolder(verb string, n *node, o *listOptions) {
	c.begin()
	c.out = append(c.out, "* "...)
	c.out = append(c.out, verb...)
	c.out = append(c.out, " ("...)
	start := len(c.out)
	attr := func(on bool, name string) {
		if !on {
			return
		}
		if len(c.out) > start {
			c.out = append(c.out, ' ')
		}
		c.out = append(c.out, name...)
	}
	attr(n.NonExistent && o.extended, `\NonExistent`)
	attr(n.NoSelect && !n.NonExistent || n.NonExistent && !o.extended, `\Noselect`)
	attr(n.noAccess, `\NoAccess`)
	attr(n.NoInferiors, `\Noinferiors`)
	attr(n.children, `\HasChildren`)
	attr(!n.children && !n.NoInferiors, `\HasNoChildren`)
	attr(n.Subscribed && (o.retSub || o.subscribe), `\Subscribed`)
	for _, u := range n.Use {
		attr(true, string(u))
	}
	c.out = append(c.out, `) "/" `...)
	c.name(n.Name)
	if n.oldName != "" {
		c.oldName(n.oldName, n.Name)
	}
	if n.below {
		var by []string
		if o.subscribe {
			by = append(by, `"SUBSCRIBED"`)
		}
		if o.special {
			by = append(by, `"SPECIAL-USE"`)
		}
		c.out = append(c.out, fmt.Sprintf(` ("CHILDINFO" (%s))`, strings.Join(by, " "))...)
	}
	c.say()
}

// chooses reports whether the selection options take the mailbox.
func (o *listOptions) chooses(n *node) bool {
	switch {
	case o.subscribe && !n.Subscribed, o.special && len(n.Use) == 0:
		return false
	case o.subscribe:
		return true
	}
	return !n.NonExistent || n.children // a name that is only subscribed does not exist
}

func (o *listOptions) matches(name string) bool {
	for _, pat := range o.patterns {
		if matchPattern(o.ref+pat, name) {
			return true
		}
	}
	return false
}

// cmdLsub: RFC 3501 section 6.3.9.
func (c *conn) cmdLsub(ctx context.Context, p *parser) error {
	o, err := c.listArgs(p)
	if err != nil {
		return err
	}
	if o.extended {
		return bad("LSUB takes a reference and one pattern")
	}
	folders, err := c.account.List(ctx)
	if err != nil {
		return err
	}
	t := newTree(folders)
	percent := strings.Contains(o.patterns[0], "%")
	for i := range t.nodes {
		n := &t.nodes[i]
		if !o.matches(n.Name) || !n.Subscribed && !(percent && n.subscribedBelow) {
			continue
		}
		out := node{Folder: Folder{Name: n.Name, NoSelect: n.NoSelect || !n.Subscribed, NoInferiors: n.NoInferiors}, children: n.children}
		c.tellFolder("LSUB", &out, o)
		if err := c.spill(); err != nil {
			return err
		}
	}
	return c.spill()
}
