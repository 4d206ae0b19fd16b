package qm

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/samotop/samotop/mail"
)

func waiting(sender string, id ID, priority int8, attempts int) *entry {
	return &entry{msg: &message{id: id, row: &messageRow{sender: mail.Sender{Address: addr(sender), Priority: priority}}},
		row: &recipientRow{attempts: attempts}}
}

func TestFairness(t *testing.T) {
	var q lineQueue
	for i := ID(1); i <= 5; i++ {
		q.push(waiting("much@home.test", i, 0, 0))
	}
	q.push(waiting("little@home.test", 6, 0, 0))
	q.push(waiting("much@home.test", 7, 3, 0))
	q.push(waiting("other@home.test", 8, 0, 0))
	var got []ID
	for q.len() > 0 {
		got = append(got, q.pop(10)[0].msg.id)
	}
	if want := []ID{7, 1, 6, 8, 2, 3, 4, 5}; !slices.Equal(got, want) {
		t.Errorf("%d, want %d", got, want)
	}
}

// TestLineQueue: whatever comes and goes, nothing is lost, priorities hold, and one sender's mail keeps its order.
func TestLineQueue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q lineQueue
		in := map[*entry]bool{}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			switch rapid.IntRange(0, 6).Draw(t, "what") {
			case 0, 1, 2, 3:
				e := waiting(string(rune('a'+rapid.IntRange(0, 25).Draw(t, "sender")))+"@home.test", ID(rapid.Uint64Range(1, 1000).Draw(t, "id")),
					int8(rapid.IntRange(-1, 1).Draw(t, "priority")), 0)
				q.push(e)
				in[e] = true
			case 4:
				if q.len() > 0 {
					for _, e := range q.pop(3) {
						for o := range in {
							if o.msg.row.sender.Priority > e.msg.row.sender.Priority ||
								o.msg.row.sender.Address == e.msg.row.sender.Address && o.msg.row.sender.Priority == e.msg.row.sender.Priority && o.msg.id < e.msg.id {
								t.Fatalf("%d left before %d", e.msg.id, o.msg.id)
							}
						}
						if !in[e] {
							t.Fatal("not in it")
						}
						delete(in, e)
					}
				}
			case 5:
				if e := q.yield(1); e != nil {
					if e.msg.row.sender.Priority >= 1 || !in[e] {
						t.Fatal("gave way to its equal")
					}
					delete(in, e)
				}
			case 6:
				for e := range in {
					q.drop(e.msg)
					delete(in, e)
					break
				}
			}
			if q.len() != len(in) {
				t.Fatalf("%d in it, not %d", q.len(), len(in))
			}
		}
	})
}
