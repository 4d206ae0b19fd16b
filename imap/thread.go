package imap

import (
	"cmp"
	"context"
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
	e.Sent = SentDate(h.Get("Date"), m.InternalDate)
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
	return e, nil
}

// Threads puts messages into threads by an algorithm of RFC 5256 section 3; entries are reordered. An unknown
// algorithm gives nil.
func Threads(algorithm string, entries []ThreadEntry) []Thread {
	switch algorithm {
	case ThreadOrderedSubject:
		return orderedSubject(entries)
	case ThreadReferences:
		return newThreader(entries).run()
	}
	return nil
}

// orderedSubject: the first message of a subject is the parent of the others.
func orderedSubject(entries []ThreadEntry) []Thread {
	slices.SortFunc(entries, func(a, b ThreadEntry) int {
		return cmp.Or(cmp.Compare(a.Subject, b.Subject), a.Sent.Compare(b.Sent), cmp.Compare(a.UID, b.UID))
	})
	type dated struct {
		Thread
		sent time.Time
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
	slices.SortStableFunc(all, func(a, b dated) int { return cmp.Or(a.sent.Compare(b.sent), cmp.Compare(a.UID, b.UID)) })
	out := make([]Thread, len(all))
	for i := range all {
		out[i] = all[i].Thread
	}
	return out
}

// threadNode is a message, or an id that others refer to.
type threadNode struct {
	entry    *ThreadEntry // nil: only referred to
	parent   *threadNode
	children []*threadNode
	referred bool // is or was the parent of another: only then can it close a loop
}

// threader runs the REFERENCES algorithm of RFC 5256 section 3; the steps are numbered as there.
type threader struct {
	byID  map[string]*threadNode
	nodes []*threadNode // in the order in which they came up
}

func newThreader(entries []ThreadEntry) *threader {
	slices.SortFunc(entries, func(a, b ThreadEntry) int { return cmp.Compare(a.UID, b.UID) })
	t := &threader{byID: make(map[string]*threadNode, len(entries))}
	for i := range entries {
		t.add(&entries[i])
	}
	return t
}

func (t *threader) node(id string) *threadNode {
	n := t.byID[id]
	if n == nil {
		n = &threadNode{}
		t.byID[id] = n
		t.nodes = append(t.nodes, n)
	}
	return n
}

// add is step 1 for one message.
func (t *threader) add(e *ThreadEntry) {
	var n *threadNode
	if e.MessageID != "" {
		n = t.node(e.MessageID)
	}
	if n == nil || n.entry != nil { // no id, or one that another message has: it stands under an id of its own
		n = &threadNode{}
		t.nodes = append(t.nodes, n)
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
	for ; n.referred && x != nil; x = x.parent {
		if x == n {
			return true
		}
	}
	return false
}

func (t *threader) run() []Thread {
	var roots []*threadNode // step 2
	for _, n := range t.nodes {
		if n.parent == nil {
			roots = append(roots, n)
		} else {
			n.parent.children = append(n.parent.children, n)
		}
	}
	roots = prune(roots)
	sortNodes(roots) // step 4, and the children at once: step 6
	roots = bySubject(roots)
	sortNodes(roots)
	return export(roots)
}

// prune is step 3: nodes without a message go, their children take their place; at the top only if there is one. It
// works from the bottom up, without recursion: a thread may be as deep as the mailbox is long.
func prune(roots []*threadNode) []*threadNode {
	for _, n := range postorder(roots) {
		n.children = pruneList(n.children, false)
	}
	return pruneList(roots, true)
}

func pruneList(list []*threadNode, top bool) []*threadNode {
	var out []*threadNode
	for _, n := range list {
		if n.entry != nil || top && len(n.children) > 1 {
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

// postorder lists all nodes, children before parents.
func postorder(roots []*threadNode) []*threadNode {
	var out []*threadNode
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
func (n *threadNode) first() *ThreadEntry {
	for n.entry == nil {
		if len(n.children) == 0 {
			return &ThreadEntry{}
		}
		n = n.children[0]
	}
	return n.entry
}

func sortNodes(roots []*threadNode) {
	for _, n := range postorder(roots) {
		sortList(n.children)
	}
	sortList(roots)
}

func sortList(list []*threadNode) {
	slices.SortStableFunc(list, func(a, b *threadNode) int {
		x, y := a.first(), b.first()
		return cmp.Or(x.Sent.Compare(y.Sent), cmp.Compare(x.UID, y.UID))
	})
}

// bySubject is step 5: threads of the same base subject become one.
func bySubject(roots []*threadNode) []*threadNode {
	table := map[string]int{}
	for i, n := range roots { // (B)
		e := n.first()
		if e.Subject == "" {
			continue
		}
		at, ok := table[e.Subject]
		if have := roots[at]; !ok || n.entry == nil && have.entry != nil || have.first().Reply && have.entry != nil && !e.Reply {
			table[e.Subject] = i
		}
	}
	gone := make([]bool, len(roots))
	for i := range roots { // (C)
		n := roots[i]
		e := n.first()
		at, ok := table[e.Subject]
		if e.Subject == "" || !ok || at == i {
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
	var out []*threadNode
	for i, n := range roots {
		if !gone[i] {
			out = append(out, n)
		}
	}
	return out
}

// export turns nodes into Threads, from the bottom up.
func export(roots []*threadNode) []Thread {
	done := map[*threadNode]Thread{}
	for _, n := range postorder(roots) {
		t := Thread{}
		if n.entry != nil {
			t.UID = n.entry.UID
		}
		for _, c := range n.children {
			t.Children = append(t.Children, done[c])
			delete(done, c)
		}
		done[n] = t
	}
	out := make([]Thread, 0, len(roots))
	for _, n := range roots {
		out = append(out, done[n])
	}
	return out
}
