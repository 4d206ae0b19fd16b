package mailbox

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

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
		t     *testing.T
		rnd   *rand.Rand
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

func (s *shareModel) pick(lo, hi int) int { return lo + s.rnd.IntN(hi-lo+1) }

func (s *shareModel) user() int { return s.pick(1, 3) }

// target draws a name, which may be that of no box.
func (s *shareModel) target(u int) (*modelBox, string) {
	b := &modelBox{owner: s.user(), name: modelNames[s.rnd.IntN(len(modelNames))]}
	return s.box(b.owner, b.name), b.nameFor(u)
}

func (s *shareModel) rights() rights {
	if s.pick(0, 3) == 0 {
		return rightsAll
	}
	return rights(s.pick(0, rightsAll))
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
	b, name := s.target(u)
	who := s.user()
	ident, id := user(who), fmt.Sprint(who)
	if s.pick(0, 3) == 0 {
		ident, id = anyoneName, anyoneName
	}
	if s.pick(0, 4) == 0 {
		ident, id = "-"+ident, "-"+id
	}
	r := s.rights()
	mode := imap.StoreMode(s.pick(0, 2))
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
	b, name := s.target(u)
	want := refusalOf(b, u, rightInsert)
	if want == "NONEXISTENT" {
		want = "TRYCREATE"
	}
	ap, err := s.views[u].Append(ctx, name)
	if !s.expect("append", err, want) {
		return
	}
	f := imap.SystemFlags(s.pick(0, 31))
	w, err := ap.Next(ctx, imap.AppendOptions{Flags: imap.Flags{System: f, Keywords: []string{"word"}}})
	if err == nil {
		_, err = fmt.Fprint(w, letter(s.pick(0, 3)))
	}
	if err == nil {
		_, err = ap.Commit(ctx)
	}
	s.expect("append", err, "")
	b.add(u, f, true)
}

// open selects a box, for one command.
func (s *shareModel) open(ctx context.Context, u int) (*modelBox, imap.Mailbox) {
	b, name := s.target(u)
	box, err := s.views[u].Select(ctx, name, false)
	if !s.expect("select", err, refusalOf(b, u, rightRead)) {
		return nil, nil
	}
	return b, box
}

func (s *shareModel) some(b *modelBox) (set imap.UIDSet, msgs []*modelMsg) {
	for _, m := range b.msgs {
		if s.rnd.IntN(2) == 0 {
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
	f := imap.SystemFlags(s.pick(0, 31))
	word := s.rnd.IntN(2) == 0
	mode := imap.StoreMode(s.pick(0, 2))
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
			s.t.Fatalf("user %d, %s of user %d, rights %s: %d stored as %q, not %q", u, b.name, b.owner, have, m.uid, got, b.shows(u, m))
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
	to, name := s.target(u)
	move := s.rnd.IntN(2) == 0
	want := refusalOf(to, u, rightInsert)
	if want == "NONEXISTENT" {
		want = "TRYCREATE"
	}
	_, err := box.Copy(ctx, set, name, move)
	if lacks := move && b.rights(u)&(rightDelete|rightExpunge) != rightDelete|rightExpunge; lacks {
		if c := code(err); err == nil || c != "NOPERM" && c != "TRYCREATE" {
			s.t.Fatalf("moved out of %s: %v", b.name, err)
		}
		return
	}
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
	owner, name := s.user(), modelNames[s.rnd.IntN(len(modelNames))]
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
	b, name := s.target(u)
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
	b, name := s.target(u)
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

// rename moves a box within the account of its owner.
func (s *shareModel) rename(ctx context.Context, u int) {
	owner := s.user()
	from, to := modelNames[s.rnd.IntN(len(modelNames))], modelNames[s.rnd.IntN(len(modelNames))]
	var move []*modelBox
	for _, b := range s.boxes {
		if b.owner == owner && (b.name == from || strings.HasPrefix(b.name, from+"/")) {
			move = append(move, b)
		}
	}
	taken := func(name string) *modelBox {
		if b := s.box(owner, name); b != nil && !slices.Contains(move, b) {
			return b
		}
		return nil
	}
	if from == to || from == "INBOX" || strings.HasPrefix(to, from+"/") || strings.HasPrefix(from, to+"/") {
		return
	}
	up := s.above(owner, to)
	want := ""
	switch {
	case owner != u && !s.reaches(u, othersPrefix+user(owner)+"/x"):
		want = "NONEXISTENT"
	case owner != u && (up == nil || up.rights(u)&rightCreate == 0):
		want = "NOPERM"
	case len(move) == 0:
		want = "NONEXISTENT"
	}
	for _, b := range move {
		if want == "" {
			want = b.refusal(u, rightDeleteBox)
		}
	}
	first := []*modelBox{taken(to)}
	for _, b := range move {
		first = append(first, taken(to+b.name[len(from):]))
	}
	for _, b := range first {
		if want == "" && b != nil {
			if want = "ALREADYEXISTS"; b.rights(u)&rightLookup == 0 {
				want = "NOPERM"
			}
		}
	}
	a, b := &modelBox{owner: owner, name: from}, &modelBox{owner: owner, name: to}
	err := s.views[u].Rename(ctx, a.nameFor(u), b.nameFor(u))
	if want == "NONEXISTENT" && owner != u && codeOf(err) == "NOPERM" { // he had something of the owner before
		return
	}
	if want == "NOPERM" || want == "ALREADYEXISTS" { // which of several faults is told is of no matter
		if c := codeOf(err); err != nil && (c == "NOPERM" || c == "ALREADYEXISTS" || c == "NONEXISTENT" && s.blind(u, owner, move)) {
			return
		}
	}
	if s.expect("rename", err, want) {
		for _, b := range move {
			b.name = to + b.name[len(from):]
		}
	}
}

// blind tells whether there is one of some boxes that a user cannot look up.
func (s *shareModel) blind(u, owner int, boxes []*modelBox) bool {
	return slices.ContainsFunc(boxes, func(b *modelBox) bool { return b.rights(u)&rightLookup == 0 })
}

// renameInbox makes a box of what was in INBOX, which nobody else sees.
func (s *shareModel) renameInbox(ctx context.Context, u int) {
	b := s.box(u, "INBOX")
	name := fmt.Sprint("Old", len(s.boxes), b.next)
	if !s.expect("rename inbox", s.views[u].Rename(ctx, "INBOX", name), "") {
		return
	}
	old := &modelBox{owner: u, name: name, acl: map[string]rights{}, msgs: b.msgs, next: b.next}
	for _, m := range old.msgs {
		m.seen = map[int]bool{}
	}
	b.msgs = nil
	s.boxes = append(s.boxes, old)
}

// TestShared: three users do random things with each other's mailboxes; nobody sees or changes anything that he may not,
// and everybody sees all that he may, at once.
func TestShared(t *testing.T) {
	seeds := 25
	if os.Getenv("SAMOTOP_NIGHTLY") != "" {
		seeds = 1500
	}
	for seed := range seeds {
		playShared(t, uint64(seed), 200)
	}
}

func playShared(t *testing.T, seed uint64, steps int) {
	ctx := context.Background()
	m, err := Open(ctx, Config{Engine: mem.New(mem.Options{}), Directory: people{}, Limits: Limits{StoreMessages: 3, LogRows: 10, BodyGrace: -1}})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	defer func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	}()
	s := &shareModel{t: t, m: m, rnd: rand.New(rand.NewPCG(seed, 0)), views: make([]imap.Account, 4)}
	for u := 1; u <= 3; u++ {
		if s.views[u], err = m.Backend().Open(ctx, &mail.Session{Login: mail.Identity{Account: user(u)}}); err != nil {
			t.Fatal(err)
		}
		for _, n := range []string{"INBOX", "Trash"} {
			s.boxes = append(s.boxes, &modelBox{owner: u, name: n, acl: map[string]rights{}, next: 1})
		}
	}
	ops := []func(context.Context, int){s.setACL, s.setACL, s.setACL, s.append, s.append, s.append, s.store, s.store, s.store,
		s.expunge, s.copy, s.copy, s.copy, s.create, s.create, s.remove, s.rename, s.lists, s.looks, s.looks, s.hold}
	for n := range steps {
		ops[s.rnd.IntN(len(ops))](ctx, s.user())
		if n == steps/2 {
			s.renameInbox(ctx, s.user())
		}
		s.follows(ctx)
	}
	for u := 1; u <= 3; u++ {
		s.lists(ctx, u)
	}
	if err := m.Sweep(ctx); err != nil {
		t.Fatal(err)
	}
	verify(t, m)
	s.purge(ctx)
	for _, h := range s.held {
		s.drop(h)
	}
	for u := 1; u <= 3; u++ {
		_ = s.views[u].Close()
	}
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
