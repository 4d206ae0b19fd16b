package mailbox

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store/mem"
)

// A model of shared mailboxes: who may do what by the words of RFC 4314, and what is in the mailboxes.
type (
	modelBox struct {
		owner int
		name  string
		acl   map[string]rights // by identifier: "2", "-2", "anyone", "-anyone"
		msgs  []*modelMsg
		next  int
	}
	modelMsg struct {
		uid   int
		flags imap.SystemFlags // \Seen is the owner's
		seen  map[int]bool     // of others
		word  bool
	}
	shareModel struct {
		t     *rapid.T
		m     *Mailbox
		views []imap.Account // of user n at n
		boxes []*modelBox
		held  []*heldBox
	}
	// heldBox is a mailbox that a session has selected for long.
	heldBox struct {
		user int
		box  *modelBox
		rep  replica
	}
)

func (b *modelBox) rights(u int) rights {
	if u == b.owner {
		return rightsAll
	}
	have := b.acl[fmt.Sprint(u)] | b.acl[anyoneName]
	return have &^ (b.acl[fmt.Sprint("-", u)] | b.acl["-"+anyoneName])
}

func (b *modelBox) nameFor(u int) string {
	if u == b.owner {
		return b.name
	}
	return othersPrefix + user(b.owner) + "/" + b.name
}

// refusal is the code of the answer to who needs some rights; "" is OK.
func (b *modelBox) refusal(u int, need rights) string {
	switch have := b.rights(u); {
	case need&^have == 0:
		return ""
	case have&rightLookup == 0:
		return "NONEXISTENT"
	}
	return "NOPERM"
}

// shows is a message's flags for a user.
func (b *modelBox) shows(u int, m *modelMsg) string {
	f := m.flags
	if u != b.owner {
		if f &^= imap.FlagSeen; m.seen[u] {
			f |= imap.FlagSeen
		}
	}
	fl := imap.Flags{System: f}
	if m.word {
		fl.Keywords = []string{"word"}
	}
	return flagText(fl)
}

func (b *modelBox) all(u int) string {
	var out []string
	for _, m := range b.msgs {
		out = append(out, fmt.Sprint(m.uid, b.shows(u, m)))
	}
	return strings.Join(out, " ")
}

// add puts a message with flags as user u sees them into the box, with those that u may set.
func (b *modelBox) add(u int, f imap.SystemFlags, word bool) {
	have := b.rights(u)
	m := &modelMsg{uid: b.next, flags: f, word: word && have&rightWrite != 0, seen: map[int]bool{}}
	if u != b.owner {
		m.flags = f & have.flags()
		m.seen[u] = f&imap.FlagSeen != 0 && have&rightSeen != 0
	}
	b.next++
	b.msgs = append(b.msgs, m)
}

func (s *shareModel) box(owner int, name string) *modelBox {
	for _, b := range s.boxes {
		if b.owner == owner && b.name == name {
			return b
		}
	}
	return nil
}

// above is the nearest box above a name.
func (s *shareModel) above(owner int, name string) *modelBox {
	for i := strings.LastIndex(name, "/"); i > 0; i = strings.LastIndex(name[:i], "/") {
		if b := s.box(owner, name[:i]); b != nil {
			return b
		}
	}
	return nil
}

var modelNames = []string{"INBOX", "Work", "Work/Sub", "Work/Sub/Deep", "Trash"}

func (s *shareModel) user() int { return rapid.IntRange(1, 3).Draw(s.t, "user") }

// target draws a name, which may be that of no box.
func (s *shareModel) target(u int, label string) (*modelBox, string) {
	b := &modelBox{owner: s.user(), name: rapid.SampledFrom(modelNames).Draw(s.t, label)}
	return s.box(b.owner, b.name), b.nameFor(u)
}

func (s *shareModel) rights(label string) rights {
	if rapid.IntRange(0, 3).Draw(s.t, "many") == 0 {
		return rightsAll
	}
	return rights(rapid.IntRange(0, rightsAll).Draw(s.t, label))
}

// expect compares the answer with what the model says; got nil is OK.
func (s *shareModel) expect(what string, got error, code string) bool {
	s.t.Helper()
	have := ""
	if got != nil {
		have = codeOf(got)
	}
	if have != code {
		s.t.Fatalf("%s: %q (%v), the model says %q", what, have, got, code)
	}
	return code == ""
}

func codeOf(err error) string {
	if c := code(err); c != "" {
		return c
	}
	return err.Error()
}

func refusalOf(b *modelBox, u int, need rights) string {
	if b == nil {
		return "NONEXISTENT"
	}
	return b.refusal(u, need)
}

func (s *shareModel) setACL(ctx context.Context, u int) {
	b, name := s.target(u, "of")
	who := s.user()
	ident, id := user(who), fmt.Sprint(who)
	if rapid.IntRange(0, 3).Draw(s.t, "who") == 0 {
		ident, id = anyoneName, anyoneName
	}
	if rapid.IntRange(0, 4).Draw(s.t, "negative") == 0 {
		ident, id = "-"+ident, "-"+id
	}
	r := s.rights("rights")
	mode := imap.StoreMode(rapid.IntRange(0, 2).Draw(s.t, "mode"))
	want := refusalOf(b, u, rightAdmin)
	if want == "" && strings.TrimPrefix(id, "-") == fmt.Sprint(b.owner) {
		if id[0] != '-' && (mode == imap.StoreAdd || mode == imap.StoreReplace && r == rightsAll) {
			s.expect("setacl owner", s.views[u].(imap.ACLs).SetACL(ctx, name, ident, mode, r.String()), "")
			return
		}
		want = "CANNOT"
	}
	if !s.expect("setacl", s.views[u].(imap.ACLs).SetACL(ctx, name, ident, mode, r.String()), want) {
		return
	}
	was := map[int]bool{}
	for v := 1; v <= 3; v++ {
		was[v] = b.listed(v)
	}
	switch mode {
	case imap.StoreAdd:
		r |= b.acl[id]
	case imap.StoreRemove:
		r = b.acl[id] &^ r
	}
	if b.acl[id] = r; r == 0 {
		delete(b.acl, id)
	}
	for v := 1; v <= 3; v++ { // what one has seen goes with the last that one was given
		if was[v] && !b.listed(v) {
			for _, m := range b.msgs {
				delete(m.seen, v)
			}
		}
	}
}

func (b *modelBox) listed(u int) bool { return b.acl[fmt.Sprint(u)] != 0 || b.acl[anyoneName] != 0 }

func (s *shareModel) append(ctx context.Context, u int) {
	b, name := s.target(u, "into")
	want := refusalOf(b, u, rightInsert)
	if want == "NONEXISTENT" {
		want = "TRYCREATE"
	}
	ap, err := s.views[u].Append(ctx, name)
	if !s.expect("append", err, want) {
		return
	}
	f := imap.SystemFlags(rapid.IntRange(0, 31).Draw(s.t, "flags"))
	w, err := ap.Next(ctx, imap.AppendOptions{Flags: imap.Flags{System: f, Keywords: []string{"word"}}})
	if err == nil {
		_, err = fmt.Fprint(w, letter(rapid.IntRange(0, 3).Draw(s.t, "letter")))
	}
	if err == nil {
		_, err = ap.Commit(ctx)
	}
	s.expect("append", err, "")
	b.add(u, f, true)
}

// open selects a box, for one command.
func (s *shareModel) open(ctx context.Context, u int) (*modelBox, imap.Mailbox) {
	b, name := s.target(u, "open")
	box, err := s.views[u].Select(ctx, name, false)
	if !s.expect("select", err, refusalOf(b, u, rightRead)) {
		return nil, nil
	}
	return b, box
}

func (s *shareModel) some(b *modelBox) (set imap.UIDSet, msgs []*modelMsg) {
	for _, m := range b.msgs {
		if rapid.Bool().Draw(s.t, "this") {
			set.Add(imap.UID(m.uid))
			msgs = append(msgs, m)
		}
	}
	return set, msgs
}

func (s *shareModel) store(ctx context.Context, u int) {
	b, box := s.open(ctx, u)
	if b == nil {
		return
	}
	defer box.Close()
	set, msgs := s.some(b)
	f := imap.SystemFlags(rapid.IntRange(0, 31).Draw(s.t, "flags"))
	word := rapid.Bool().Draw(s.t, "word")
	mode := imap.StoreMode(rapid.IntRange(0, 2).Draw(s.t, "mode"))
	have := b.rights(u)
	mask := have.flags()
	if have&rightSeen != 0 {
		mask |= imap.FlagSeen
	}
	want := ""
	switch {
	case len(set) == 0 || u == b.owner:
	case mode == imap.StoreReplace || f == 0 && !word:
		if have&(rightSeen|rightWrite|rightDelete) == 0 {
			want = "NOPERM"
		}
	case f&mask == 0 && !(word && have&rightWrite != 0):
		want = "NOPERM"
	}
	change := imap.StoreChange{Mode: mode, Flags: imap.Flags{System: f}}
	if word {
		change.Flags.Keywords = []string{"word"}
	}
	res, err := box.Store(ctx, set, change)
	if !s.expect("store", err, want) || len(set) == 0 {
		return
	}
	for i, m := range msgs {
		now := m.flags
		if u != b.owner {
			if now &^= imap.FlagSeen; m.seen[u] {
				now |= imap.FlagSeen
			}
		}
		next, w := f, word
		switch mode {
		case imap.StoreAdd:
			next, w = now|f, m.word || word
		case imap.StoreRemove:
			next, w = now&^f, m.word && !word
		}
		next = now&^mask | next&mask
		if have&rightWrite != 0 {
			m.word = w
		}
		if u == b.owner {
			m.flags = next
		} else {
			m.flags = m.flags&imap.FlagSeen | next&^imap.FlagSeen
			m.seen[u] = next&imap.FlagSeen != 0
		}
		if got := flagText(res.Stored[i].Flags); got != b.shows(u, m) {
			s.t.Fatalf("stored as %s, not %s", got, b.shows(u, m))
		}
	}
}

func (s *shareModel) expunge(ctx context.Context, u int) {
	b, box := s.open(ctx, u)
	if b == nil {
		return
	}
	defer box.Close()
	deleted := func(m *modelMsg) bool { return m.flags&imap.FlagDeleted != 0 }
	want := ""
	if b.rights(u)&rightExpunge == 0 && slices.ContainsFunc(b.msgs, deleted) {
		want = "NOPERM"
	}
	_, err := box.Expunge(ctx, nil)
	if s.expect("expunge", err, want) {
		b.msgs = slices.DeleteFunc(b.msgs, deleted)
	}
}

func (s *shareModel) copy(ctx context.Context, u int) {
	b, box := s.open(ctx, u)
	if b == nil {
		return
	}
	defer box.Close()
	set, msgs := s.some(b)
	to, name := s.target(u, "to")
	move := rapid.Bool().Draw(s.t, "move")
	want := refusalOf(to, u, rightInsert)
	if want == "NONEXISTENT" {
		want = "TRYCREATE"
	}
	if move && b.rights(u)&(rightDelete|rightExpunge) != rightDelete|rightExpunge && want != "TRYCREATE" {
		want = "NOPERM"
	} else if move && b.rights(u)&(rightDelete|rightExpunge) != rightDelete|rightExpunge && s.reaches(u, name) {
		want = "NOPERM" // the source is looked at first
	}
	_, err := box.Copy(ctx, set, name, move)
	if !s.expect("copy", err, want) {
		return
	}
	for _, m := range msgs {
		f := m.flags
		if u != b.owner {
			if f &^= imap.FlagSeen; m.seen[u] {
				f |= imap.FlagSeen
			}
		}
		to.add(u, f, m.word)
	}
	if move {
		b.msgs = slices.DeleteFunc(b.msgs, func(m *modelMsg) bool { return slices.Contains(msgs, m) })
	}
}

// reaches tells whether anything at all of a name's owner is open to a user.
func (s *shareModel) reaches(u int, name string) bool {
	for _, b := range s.boxes {
		if b.owner == u && !strings.HasPrefix(name, othersPrefix) || b.owner != u && strings.HasPrefix(name, othersPrefix+user(b.owner)+"/") &&
			(b.listed(u) || b.acl[fmt.Sprint("-", u)] != 0 || b.acl["-"+anyoneName] != 0) {
			return true
		}
	}
	return false
}

func (s *shareModel) create(ctx context.Context, u int) {
	owner, name := s.user(), rapid.SampledFrom(modelNames).Draw(s.t, "new")
	b, up := s.box(owner, name), s.above(owner, name)
	want := ""
	switch {
	case owner != u && (up == nil || up.rights(u)&rightCreate == 0):
		want = "NOPERM"
	case b != nil && b.rights(u)&rightLookup == 0:
		want = "NOPERM"
	case b != nil:
		want = "ALREADYEXISTS"
	}
	_, err := s.views[u].Create(ctx, (&modelBox{owner: owner, name: name}).nameFor(u), nil)
	if !s.expect("create", err, want) {
		return
	}
	b = &modelBox{owner: owner, name: name, acl: map[string]rights{}, next: 1}
	if up != nil {
		maps.Copy(b.acl, up.acl)
	}
	s.boxes = append(s.boxes, b)
}

func (s *shareModel) remove(ctx context.Context, u int) {
	b, name := s.target(u, "gone")
	want := refusalOf(b, u, rightDeleteBox)
	switch {
	case strings.HasSuffix(name, "INBOX") && name != "INBOX":
		want = "NONEXISTENT"
	case name == "INBOX":
		want = "CANNOT"
	case b == nil && !strings.HasPrefix(name, othersPrefix) && slices.ContainsFunc(s.boxes, func(o *modelBox) bool { return o.owner == u && strings.HasPrefix(o.name, name+"/") }):
		want = "HASCHILDREN"
	}
	if s.expect("delete", s.views[u].Delete(ctx, name), want) {
		s.boxes = slices.DeleteFunc(s.boxes, func(o *modelBox) bool { return o == b })
		s.held = slices.DeleteFunc(s.held, func(h *heldBox) bool { return h.box == b && s.drop(h) })
	}
}

// lists compares LIST with the model.
func (s *shareModel) lists(ctx context.Context, u int) {
	folders, err := s.views[u].List(ctx)
	s.expect("list", err, "")
	var got, want []string
	for _, f := range folders {
		if !f.NonExistent && !slices.Contains([]string{"Sent", "Drafts", "Junk", "Archive"}, f.Name) {
			got = append(got, f.Name)
		}
	}
	for _, b := range s.boxes {
		if b.rights(u)&rightLookup != 0 {
			want = append(want, b.nameFor(u))
		}
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		s.t.Fatalf("user %d has %q, not %q", u, got, want)
	}
}

// looks compares one box with the model, in all that a user can ask of it.
func (s *shareModel) looks(ctx context.Context, u int) {
	b, name := s.target(u, "look")
	st, err := s.views[u].Status(ctx, name)
	if s.expect("status", err, refusalOf(b, u, rightRead)) {
		unseen := 0
		for _, m := range b.msgs {
			unseen += int(one(!strings.Contains(b.shows(u, m), "S")))
		}
		if int(st.Messages) != len(b.msgs) || int(st.Unseen) != unseen {
			s.t.Fatalf("status %+v of %s", st, b.all(u))
		}
		box, err := s.views[u].Select(ctx, name, true)
		s.expect("examine", err, "")
		defer box.Close()
		var got []string
		for m, err := range box.Fetch(ctx, everything(), 0) {
			s.expect("fetch", err, "")
			got = append(got, fmt.Sprint(m.UID, flagText(m.Flags)))
		}
		if strings.Join(got, " ") != b.all(u) {
			s.t.Fatalf("user %d sees %q in %s, not %q", u, got, name, b.all(u))
		}
		res, err := box.Search(ctx, &imap.Query{Within: everything(), Criteria: &imap.Criteria{NotFlag: flags("S")}})
		if s.expect("search", err, ""); res.UIDs.Len() != unseen {
			s.t.Fatalf("user %d finds %v unseen, not %d", u, res.UIDs, unseen)
		}
	}
	mine, err := s.views[u].(imap.ACLs).MyRights(ctx, name)
	want := "NONEXISTENT"
	if b != nil && b.rights(u)&(rightLookup|rightRead|rightInsert|rightCreate|rightDeleteBox|rightAdmin) != 0 {
		want = ""
	}
	if s.expect("myrights", err, want) && mine != b.rights(u).String() {
		s.t.Fatalf("rights %s, not %s", mine, b.rights(u))
	}
	list, err := s.views[u].(imap.ACLs).ACL(ctx, name)
	if s.expect("getacl", err, refusalOf(b, u, rightAdmin)) && len(list) != len(b.acl)+1 {
		s.t.Fatalf("list %v, not %v", list, b.acl)
	}
}

// hold selects a box and keeps it.
func (s *shareModel) hold(ctx context.Context, u int) {
	b, box := s.open(ctx, u)
	if b == nil {
		return
	}
	snap, err := box.Snapshot(ctx)
	s.expect("snapshot", err, "")
	h := &heldBox{user: u, box: b, rep: replica{box: box.(*selected), at: snap.HighestModSeq, next: snap.UIDNext, msgs: map[imap.UID]seen{}}}
	for m, err := range box.Fetch(ctx, snap.UIDs, 0) {
		s.expect("fetch", err, "")
		h.rep.msgs[m.UID] = seen{m.ModSeq, flagText(m.Flags)}
	}
	s.held = append(s.held, h)
}

func (s *shareModel) drop(h *heldBox) bool {
	_ = h.rep.box.Close()
	return true
}

// follows lets the sessions that hold a box hear what happened: all of it, and the end when they may not read any more.
func (s *shareModel) follows(ctx context.Context) {
	s.held = slices.DeleteFunc(s.held, func(h *heldBox) bool {
		ch, err := h.rep.box.Changes(ctx, h.rep.at)
		s.expect("changes", err, "")
		if may := h.box.rights(h.user)&rightRead != 0; ch.Gone == may {
			s.t.Fatalf("gone %v, may read %v", ch.Gone, may)
		}
		if ch.Gone {
			return s.drop(h)
		}
		if ch.Rights != "" && ch.Rights != h.box.rights(h.user).String() {
			s.t.Fatalf("told the rights %q, not %q", ch.Rights, h.box.rights(h.user))
		}
		if err := h.rep.update(ctx); err != nil {
			s.t.Fatal(err)
		}
		var got []string
		for _, u := range slices.Sorted(maps.Keys(h.rep.msgs)) {
			got = append(got, fmt.Sprint(u, h.rep.msgs[u].flags))
		}
		if strings.Join(got, " ") != h.box.all(h.user) {
			s.t.Fatalf("user %d was told %q of %s, not %q", h.user, got, h.box.name, h.box.all(h.user))
		}
		return false
	})
}

// TestShared: three users do random things with each other's mailboxes; nobody sees or changes anything that he may not,
// and everybody sees all that he may, at once.
func TestShared(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ctx := context.Background()
		m, err := Open(ctx, Config{Engine: mem.New(mem.Options{}), Directory: people{}, Limits: Limits{StoreMessages: 3, LogRows: 10, BodyGrace: -1}})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		s := &shareModel{t: t, m: m, views: make([]imap.Account, 4)}
		for u := 1; u <= 3; u++ {
			if s.views[u], err = m.Backend().Open(ctx, &mail.Session{Login: mail.Identity{Account: user(u)}}); err != nil {
				t.Fatal(err)
			}
			for _, n := range []string{"INBOX", "Trash"} {
				s.boxes = append(s.boxes, &modelBox{owner: u, name: n, acl: map[string]rights{}, next: 1})
			}
		}
		ops := []func(context.Context, int){s.setACL, s.setACL, s.setACL, s.append, s.append, s.store, s.store, s.expunge, s.copy, s.create, s.create, s.remove, s.lists, s.looks, s.looks, s.hold}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			op := rapid.IntRange(0, len(ops)-1).Draw(t, "op")
			ops[op](ctx, s.user())
			s.follows(ctx)
		}
		for u := 1; u <= 3; u++ {
			s.lists(ctx, u)
		}
		if err := m.Sweep(ctx); err != nil {
			t.Fatal(err)
		}
		faults, err := m.Verify(ctx, nil)
		if err != nil || len(faults) > 0 {
			t.Fatal(err, faults)
		}
		s.purge(ctx)
		for _, h := range s.held {
			s.drop(h)
		}
		for u := 1; u <= 3; u++ {
			_ = s.views[u].Close()
		}
	})
}

// purge removes one of the three: nothing is left of him with the others.
func (s *shareModel) purge(ctx context.Context) {
	u := s.user()
	if err := s.m.Purge(ctx, uint64(u)); err != nil {
		s.t.Fatal(err)
	}
	if err := s.m.Sweep(ctx); err != nil {
		s.t.Fatal(err)
	}
	faults, err := s.m.Verify(ctx, nil)
	if err != nil || len(faults) > 0 {
		s.t.Fatal(err, faults)
	}
	for v := 1; v <= 3; v++ {
		if v == u {
			continue
		}
		folders, err := s.views[v].List(ctx)
		s.expect("list", err, "")
		for _, f := range folders {
			if strings.HasPrefix(f.Name, othersPrefix+user(u)) {
				s.t.Fatalf("%s is still there", f.Name)
			}
		}
		for _, b := range s.boxes {
			if b.owner != v {
				continue
			}
			list, err := s.views[v].(imap.ACLs).ACL(ctx, b.name)
			s.expect("getacl", err, "")
			if slices.ContainsFunc(list, func(e imap.ACLEntry) bool { return strings.TrimPrefix(e.Identifier, "-") == user(u) }) {
				s.t.Fatalf("%s still names user %d", b.name, u)
			}
		}
	}
}
