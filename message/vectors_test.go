package message

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"
)

// shared finds a folder of the shared vectors, which are not part of the project.
func shared(t testing.TB, name string) string {
	t.Helper()
	root := os.Getenv("SAMOTOP_SHARED")
	if root == "" {
		root = filepath.Join("..", "..", "shared")
	}
	dir := filepath.Join(root, "vectors", name)
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("the vectors are not here: %v (SAMOTOP_SHARED says where they are)", err)
	}
	return dir
}

func readJSON(t *testing.T, path string, v any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// differ reports a difference unless it is a known one, and known ones that are no more.
type differ struct {
	t     *testing.T
	known map[string]string // what is compared to why it is different, and stays so
	seen  map[string]bool
	same  int
}

func newDiffer(t *testing.T, known map[string]string) *differ {
	d := &differ{t: t, known: known, seen: map[string]bool{}}
	t.Cleanup(func() {
		for k := range known {
			if !d.seen[k] {
				t.Errorf("%q is listed as a difference but is none", k)
			}
		}
		t.Logf("%d agree, %d deliberate differences", d.same, len(d.seen))
	})
	return d
}

func (d *differ) compare(key, got, want string) {
	if got == want {
		d.same++
		return
	}
	if d.known[key] != "" {
		d.seen[key] = true
		return
	}
	d.t.Errorf("%q:\n got %s\nwant %s", key, got, want)
}

// fieldValue is what of a vector is the field: some have another one after it.
func fieldValue(s string) []byte {
	h := ParseHeader([]byte("X:" + s))
	return h.Field(0).Value
}

type vecAddr struct {
	Name, Address *string
}

type vecGroup struct {
	Name      *string
	Addresses []vecAddr
}

type vecAddress struct {
	List  []vecAddr
	Group []vecGroup
}

func (v vecAddr) String() string {
	s := ""
	if v.Name != nil {
		s = fmt.Sprintf("%q ", *v.Name)
	}
	if v.Address != nil {
		s += "<" + *v.Address + ">"
	}
	return strings.TrimSpace(s)
}

func (v vecAddress) String() string {
	var out []string
	for _, a := range v.List {
		out = append(out, a.String())
	}
	for _, g := range v.Group {
		var m []string
		for _, a := range g.Addresses {
			m = append(m, a.String())
		}
		if g.Name == nil { // their way to mix both: addresses outside of any group
			out = append(out, m...)
			continue
		}
		out = append(out, fmt.Sprintf("%q:[%s]", *g.Name, strings.Join(m, ", ")))
	}
	return strings.Join(out, ", ")
}

func plainAddress(a AddressOrGroup) string {
	s := a.Address.Local
	if a.Address.Domain != "" {
		s += "@" + a.Address.Domain
	}
	return s
}

func showAddresses(list []AddressOrGroup) string {
	var out []string
	for _, a := range list {
		if a.Group {
			out = append(out, fmt.Sprintf("%q:[%s]", a.Name, showAddresses(a.Members)))
			continue
		}
		s := ""
		if a.Name != "" {
			s = fmt.Sprintf("%q ", a.Name)
		}
		if addr := plainAddress(a); addr != "" {
			s += "<" + addr + ">"
		}
		out = append(out, strings.TrimSpace(s))
	}
	return strings.Join(out, ", ")
}

func TestMailParserAddresses(t *testing.T) {
	var cases []struct {
		Header   string
		Expected vecAddress
	}
	readJSON(t, filepath.Join(shared(t, "mime-mailparser"), "address.json"), &cases)
	d := newDiffer(t, addressDifferences)
	for _, c := range cases {
		d.compare(c.Header, showAddresses(ParseAddressList(fieldValue(c.Header))), c.Expected.String())
	}
}

func TestMailParserDates(t *testing.T) {
	var cases []struct {
		Header   string
		Expected *struct {
			Year, Month, Day, Hour, Minute, Second int
			Before                                 bool `json:"tz_before_gmt"`
			TzHour                                 int  `json:"tz_hour"`
			TzMinute                               int  `json:"tz_minute"`
		}
	}
	readJSON(t, filepath.Join(shared(t, "mime-mailparser"), "date.json"), &cases)
	d := newDiffer(t, dateDifferences)
	for _, c := range cases {
		want := "none"
		if e := c.Expected; e != nil {
			zone := e.TzHour*3600 + e.TzMinute*60
			if e.Before {
				zone = -zone
			}
			want = time.Date(e.Year, time.Month(e.Month), e.Day, e.Hour, e.Minute, e.Second, 0, time.FixedZone("", zone)).Format(time.RFC3339)
		}
		got := "none"
		if at, ok := ParseDate(fieldValue(c.Header)); ok {
			_, off := at.Zone()
			got = at.In(time.FixedZone("", off)).Format(time.RFC3339)
		}
		d.compare(c.Header, strings.Replace(got, "Z", "+00:00", 1), strings.Replace(want, "Z", "+00:00", 1))
	}
}

func TestMailParserText(t *testing.T) {
	var cases []struct {
		Header   string
		Expected *string
	}
	readJSON(t, filepath.Join(shared(t, "mime-mailparser"), "unstructured.json"), &cases)
	d := newDiffer(t, textDifferences)
	for _, c := range cases {
		want := ""
		if c.Expected != nil {
			want = *c.Expected
		}
		got := DecodeText(fieldValue(c.Header))
		d.compare(c.Header, strings.Join(strings.Fields(got), " "), strings.Join(strings.Fields(want), " "))
	}
}

func TestMailParserIDs(t *testing.T) {
	var cases []struct {
		Header   string
		Expected any
	}
	readJSON(t, filepath.Join(shared(t, "mime-mailparser"), "id.json"), &cases)
	d := newDiffer(t, idDifferences)
	for _, c := range cases {
		var want []string
		switch e := c.Expected.(type) {
		case string:
			want = []string{e}
		case []any:
			for _, x := range e {
				want = append(want, x.(string))
			}
		}
		d.compare(c.Header, fmt.Sprint(MessageIDs(fieldValue(c.Header))), fmt.Sprint(want))
	}
}

func showParams(ps []Param) string {
	var out []string
	for _, p := range ps {
		out = append(out, fmt.Sprintf("%s=%q", p.Name, p.Value))
	}
	sort.Strings(out)
	return strings.Join(out, "; ")
}

type vecContentType struct {
	Type       string `json:"c_type"`
	Subtype    string `json:"c_subtype"`
	Attributes any    // a list of {name, value}, or of [name, value]
}

func (e *vecContentType) params() []Param {
	var ps []Param
	list, _ := e.Attributes.([]any)
	add := func(name, value any) {
		if s := fmt.Sprint(name); !strings.HasSuffix(s, "-language") { // we do not give the language of a parameter
			ps = append(ps, Param{s, fmt.Sprint(value)})
		}
	}
	for _, a := range list {
		switch a := a.(type) {
		case map[string]any:
			add(a["name"], a["value"])
		case []any:
			add(a[0], a[1])
		}
	}
	return ps
}

func TestMailParserContentTypes(t *testing.T) {
	var cases []struct {
		Header   string
		Expected *vecContentType
	}
	readJSON(t, filepath.Join(shared(t, "mime-mailparser"), "content_type.json"), &cases)
	d := newDiffer(t, contentTypeDifferences)
	for _, c := range cases {
		want := "none"
		if e := c.Expected; e != nil && e.Subtype != "" { // RFC 2045 section 5.2: without one it is no type
			want = e.Type + "/" + e.Subtype + " " + showParams(e.params())
		}
		got := "none"
		if m := ParseMediaType(fieldValue(c.Header)); m.Type != "" {
			got = m.Type + "/" + m.Subtype + " " + showParams(m.Params)
		}
		d.compare(c.Header, got, want)
	}
}
