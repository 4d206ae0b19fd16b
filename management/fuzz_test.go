package management

import (
	"reflect"
	"testing"
)

// FuzzEvent: a row of the journal is read or refused; what was read comes back the same when it is written again.
func FuzzEvent(f *testing.F) {
	for _, s := range []string{
		`{"time":"2026-11-23T00:00:00Z","trace":"A","room":"mta","kind":"accepted","to":["a@b.test"],"facts":[["spf","pass"]],"code":250}`,
		`{}`, `{"facts":[["a"]]}`, `{"facts":[["a","b","c"]]}`, `{"to":null}`, `[]`, ``, `{"time":"x"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeEvent(b)
		if err != nil {
			return
		}
		again, err := decodeEvent(b)
		if err != nil || !reflect.DeepEqual(s, again) {
			t.Errorf("%+v, then %+v, %v", s, again, err)
		}
	})
}
