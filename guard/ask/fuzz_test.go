package ask

import (
	"math"
	"strings"
	"testing"
)

// FuzzRspamd: whatever answers in rspamd's place, the opinion is a number within bounds and its reasons are one short line.
func FuzzRspamd(f *testing.F) {
	f.Add([]byte(`{"action":"add header","score":7.5,"required_score":15,"symbols":{"R_SPF_FAIL":{"name":"R_SPF_FAIL","score":1.0},"X\r\nY":{"score":1e308}}}`))
	f.Add([]byte(`{"action":"reject","score":-1e400}`))
	f.Add([]byte(`{"is_skipped":true}`))
	f.Add([]byte(`{"error":"no\u0000","symbols":null}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		v, err := parseRspamd(raw)
		if err != nil {
			return
		}
		o := New(Config{Name: "rspamd", URL: "http://x.test/"}).opinionOf(&v)
		if math.IsNaN(o.Score) || o.Score < -5 || o.Score > pointsReject {
			t.Errorf("%v points", o.Score)
		}
		for _, r := range o.Reasons {
			if len(r) > 400 || strings.ContainsAny(r, "\r\n\x00") {
				t.Errorf("%q", r)
			}
		}
	})
}
