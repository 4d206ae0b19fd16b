package imap

import (
	"cmp"
	"context"
	"hash/maphash"
	"slices"
	"time"

	"github.com/samotop/samotop/message"
)

// Names of threading algorithms (RFC 5256 section 3).
const (
	ThreadOrderedSubject = "ORDEREDSUBJECT"
	ThreadReferences     = "REFERENCES"
)

// ThreadEntry is what THREAD looks at in one message.
type ThreadEntry struct {
	UID       UID
	Sent      time.Time
	Subject   string   // base subject, folded
	Reply     bool     // the subject said so
	MessageID string   // without brackets; "" if there is none
	Refs      []string // References, or the first id of In-Reply-To where there are none
}

// ThreadNeeds is what ThreadEntryOf must find in a Message.
const ThreadNeeds = NeedDates | NeedHeader | NeedContent

var threadFields = []string{"date", "subject", "message-id", "references", "in-reply-to"}

// maxReferences is how many ids of one message are followed, the last ones.
const maxReferences = 1000

// ThreadEntryOf reads an entry out of a message.
func ThreadEntryOf(ctx context.Context, m *Message) (ThreadEntry, error) {
	e := ThreadEntry{UID: m.UID}
	h, err := (&candidate{Message: m}).header(ctx, threadFields)
	if err != nil {
		return e, err
	}
	e.Fill(h, m.InternalDate)
	return e, nil
}

// Fill fills in everything but the UID out of a header.
func (e *ThreadEntry) Fill(h *message.Header, internal time.Time) {
	e.Sent = SentDate(h.Get("Date"), internal)
	base, reply := message.BaseSubject(h.Text("Subject"))
	e.Subject, e.Reply = Fold(base), reply
	if ids := message.MessageIDs(h.Get("Message-ID")); len(ids) > 0 {
		e.MessageID = ids[0]
	}
	e.Refs = message.MessageIDs(h.Get("References"))
	if len(e.Refs) == 0 {
		if ids := message.MessageIDs(h.Get("In-Reply-To")); len(ids) > 0 {
			e.Refs = ids[:1]
		}
	}
	if n := len(e.Refs); n > maxReferences {
		e.Refs = e.Refs[n-maxReferences:]
	}
}

// ThreadLink is a ThreadEntry whose ids are numbers: equal ones stand for the same Message-ID, 0 for none.
type ThreadLink struct {
	UID     UID
	Sent    int64  // unix seconds
	Subject string // base subject, folded
	Reply   bool
	ID      uint64
	Refs    []uint64
}

// Threads puts messages into threads by an algorithm of RFC 5256 section 3; entries are reordered. An unknown
// algorithm gives nil.
func Threads(algorithm string, entries []ThreadEntry) []Thread {
	numbers := make(map[string]uint64, len(entries))
	number := func(id string) uint64 {
		if id == "" {
			return 0
		}
		n, ok := numbers[id]
		if !ok {
			n = uint64(len(numbers) + 1)
			numbers[id] = n
		}
		return n
	}
	links := make([]ThreadLink, len(entries))
	for i := range entries {
		e := &entries[i]
		l := ThreadLink{UID: e.UID, Sent: e.Sent.Unix(), Subject: e.Subject, Reply: e.Reply, ID: number(e.MessageID)}
		for _, r := range e.Refs {
			l.Refs = append(l.Refs, number(r))
		}
		links[i] = l
	}
	return ThreadsOf(algorithm, links)
}

// ThreadsOf is Threads for links.
func ThreadsOf(algorithm string, links []ThreadLink) []Thread {
	switch algorithm {
	case ThreadOrderedSubject:
		return orderedSubject(links)
	case ThreadReferences:
		return newThreader(links).run()
	}
	return nil
}

// orderedSubject: the first message of a subject is the parent of the others.
func orderedSubject(entries []ThreadLink) []Thread {
	slices.SortFunc(entries, func(a, b ThreadLink) int {
		return cmp.Or(cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.Sent, b.Sent), cmp.Compare(a.UID, b.UID))
	})
	type dated struct {
		Thread
		sent int64
	}
	var all []dated
	for i := range entries {
		if i > 0 && entries[i].Subject == entries[i-1].Subject {
			t := &all[len(all)-1]
			t.Children = append(t.Children, Thread{UID: entries[i].UID})
			continue
		}
		all = append(all, dated{Thread{UID: entries[i].UID}, entries[i].Sent})
	}
	slices.SortStableFunc(all, func(a, b dated) int { return cmp.Or(cmp.Compare(a.sent, b.sent), cmp.Compare(a.UID, b.UID)) })
	out := make([]Thread, len(all))
	for i := range all {
		out[i] = all[i].Thread
	}
	return out
}

// threadNode is a message, or an id that others refer to.
type threadNode struct {
	entry    *ThreadLink // nil: only referred to
	parent   *threadNode
	children []*threadNode
	id       uint64 // 0: none that others could refer to
	at       int32  // in the order of export
	referred bool   // is or was the parent of another: only then can it close a loop
}

// threader runs the REFERENCES algorithm of RFC 5256 section 3; the steps are numbered as there.
type threader struct {
	byID  probe         // places in nodes
	nodes []*threadNode // in the order in which they came up
	slab  []threadNode
}

func newThreader(links []ThreadLink) *threader {
	byUID := func(a, b ThreadLink) int { return cmp.Compare(a.UID, b.UID) }
	if !slices.IsSortedFunc(links, byUID) {
		slices.SortFunc(links, byUID)
	}
	t := &threader{byID: newProbe(len(links)), nodes: make([]*threadNode, 0, len(links))}
	for i := range links {
		t.add(&links[i])
	}
	return t
}

// threadSlab is how many nodes are made at once.
const threadSlab = 512

func (t *threader) fresh() *threadNode {
	if len(t.slab) == 0 {
		t.slab = make([]threadNode, threadSlab)
	}
	n := &t.slab[0]
	t.slab = t.slab[1:]
	t.nodes = append(t.nodes, n)
	return n
}

func (t *threader) node(id uint64) *threadNode {
	slot, at := t.byID.find(id*fibonacci, func(at int) bool { return t.nodes[at].id == id })
	if at >= 0 {
		return t.nodes[at]
	}
	t.byID.put(slot, len(t.nodes))
	n := t.fresh()
	n.id = id
	if t.byID.full() {
		t.byID.grow(func(at int) uint64 { return t.nodes[at].id * fibonacci })
	}
	return n
}

// add is step 1 for one message.
func (t *threader) add(e *ThreadLink) {
	var n *threadNode
	if e.ID != 0 {
		n = t.node(e.ID)
	}
	if n == nil || n.entry != nil { // no id, or one that another message has: it stands under an id of its own
		n = t.fresh()
	}
	n.entry = e
	var prev *threadNode
	for _, id := range e.Refs { // (A)
		ref := t.node(id)
		if prev != nil && ref.parent == nil && !ref.above(prev) {
			ref.parent, prev.referred = prev, true
		}
		prev = ref
	}
	if prev != nil && n.above(prev) { // (B): a loop
		prev = nil
	}
	if n.parent = prev; prev != nil {
		prev.referred = true
	}
}

// above reports whether n is x or above it, so that x cannot become its parent.
func (n *threadNode) above(x *threadNode) bool {
	if n == x {
		return true
	}
	for steps := 0; n.referred && x != nil; x = x.parent {
		if steps++; x == n || steps > maxThreadWalk {
			return true
		}
	}
	return false
}

// maxThreadWalk is how far up a loop is looked for; beyond it one is assumed, so that no mail can make THREAD take a time that
// grows with the square of the mailbox.
const maxThreadWalk = 2000

func (t *threader) run() []Thread {
	roots := make([]*threadNode, 0, len(t.nodes)) // step 2
	for _, n := range t.nodes {
		if n.parent == nil {
			roots = append(roots, n)
		} else {
			n.parent.children = append(n.parent.children, n)
		}
	}
	most := len(t.nodes)
	roots = prune(roots, most)
	sortNodes(roots, most) // step 4, and the children at once: step 6
	if joined := bySubject(roots); len(joined) < len(roots) {
		roots, most = joined, 2*most // each that went may have made another
		sortNodes(roots, most)
	}
	return export(roots, most)
}

// prune is step 3: nodes without a message go, their children take their place; at the top only if there is one. It
// works from the bottom up, without recursion: a thread may be as deep as the mailbox is long.
func prune(roots []*threadNode, most int) []*threadNode {
	for _, n := range postorder(roots, most) {
		if len(n.children) > 0 {
			n.children = pruneList(n.children, false)
		}
	}
	return pruneList(roots, true)
}

func pruneList(list []*threadNode, top bool) []*threadNode {
	keep := func(n *threadNode) bool { return n.entry != nil || top && len(n.children) > 1 }
	if !slices.ContainsFunc(list, func(n *threadNode) bool { return !keep(n) }) {
		return list
	}
	var out []*threadNode
	for _, n := range list {
		if keep(n) {
			out = append(out, n)
			continue
		}
		for _, c := range n.children {
			c.parent = n.parent
			out = append(out, c)
		}
	}
	return out
}

// postorder lists all nodes, which are at most so many, children before parents.
func postorder(roots []*threadNode, most int) []*threadNode {
	out := make([]*threadNode, 0, most)
	stack := slices.Clone(roots)
	for len(stack) > 0 {
		n := stack[len(stack)-1]
		stack = append(stack[:len(stack)-1], n.children...)
		out = append(out, n)
	}
	slices.Reverse(out)
	return out
}

// first is the message by which a node is sorted: its own, or that of its first child.
func (n *threadNode) first() *ThreadLink {
	for n.entry == nil {
		if len(n.children) == 0 {
			return &ThreadLink{}
		}
		n = n.children[0]
	}
	return n.entry
}

func sortNodes(roots []*threadNode, most int) {
	for _, n := range postorder(roots, most) {
		if len(n.children) > 1 {
			sortList(n.children)
		}
	}
	sortList(roots)
}

func sortList(list []*threadNode) {
	byDate := func(a, b *threadNode) int {
		x, y := a.first(), b.first()
		if x.Sent != y.Sent {
			return cmp.Compare(x.Sent, y.Sent)
		}
		return cmp.Compare(x.UID, y.UID)
	}
	if !slices.IsSortedFunc(list, byDate) {
		slices.SortStableFunc(list, byDate)
	}
}

// bySubject is step 5: threads of the same base subject become one.
func bySubject(roots []*threadNode) []*threadNode {
	seed := maphash.MakeSeed()
	table := newProbe(len(roots))
	group := make([]int32, len(roots)) // of each thread, the slot of its subject
	joins := false
	for i, n := range roots { // (B)
		e := n.first()
		if e.Subject == "" {
			group[i] = -1
			continue
		}
		slot, at := table.find(maphash.String(seed, e.Subject), func(at int) bool { return roots[at].first().Subject == e.Subject })
		group[i] = int32(slot)
		if at < 0 {
			table.put(slot, i)
			continue
		}
		joins = true
		if have := roots[at]; n.entry == nil && have.entry != nil || have.first().Reply && have.entry != nil && !e.Reply {
			table.slots[slot] = int32(i + 1)
		}
	}
	if !joins {
		return roots
	}
	gone := make([]bool, len(roots))
	for i := range roots { // (C)
		if group[i] < 0 {
			continue
		}
		n, at := roots[i], int(table.slots[group[i]]-1)
		e := n.first()
		if at == i {
			continue
		}
		gone[i] = true
		switch into := roots[at]; {
		case n.entry == nil && into.entry == nil:
			into.children = append(into.children, n.children...)
		case into.entry == nil, e.Reply && !into.first().Reply:
			into.children = append(into.children, n)
		default:
			roots[at] = &threadNode{children: []*threadNode{into, n}}
		}
	}
	out := make([]*threadNode, 0, len(roots))
	for i, n := range roots {
		if !gone[i] {
			out = append(out, n)
		}
	}
	return out
}

// export turns nodes into Threads, from the bottom up.
func export(roots []*threadNode, most int) []Thread {
	order := postorder(roots, most)
	done := make([]Thread, len(order))
	for i, n := range order {
		n.at = int32(i)
		t := &done[i]
		if n.entry != nil {
			t.UID = n.entry.UID
		}
		t.Children = exported(n.children, done)
	}
	if len(roots) == 0 {
		return []Thread{}
	}
	return exported(roots, done)
}

func exported(list []*threadNode, done []Thread) []Thread {
	if len(list) == 0 {
		return nil
	}
	out := make([]Thread, len(list))
	for i, n := range list {
		out[i] = done[n.at]
	}
	return out
}
