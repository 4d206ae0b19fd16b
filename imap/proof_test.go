package imap_test

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/samotop/samotop/imap"
)

// proof is where a capability is walked through.
type proof struct {
	rfc     string   // its number
	scripts []string // in testdata/dialogue; each names the RFC and its sections
	test    string   // a Go test instead, where a dialogue cannot tell
	why     string   // it cannot
}

// mailboxes is where dialogues are that several people take part in.
const mailboxes = "../../../mailbox/testdata/dialogue/"

// proofs has a line for each capability that the server advertises.
var proofs = map[string]proof{
	"IMAP4rev1":             {rfc: "3501", scripts: []string{"rfc3501", "base", "search", "append"}},
	"IMAP4rev2":             {rfc: "9051", scripts: []string{"rfc9051", "rev2", "fetch", "searchtext", "login"}},
	"LITERAL+":              {rfc: "7888", scripts: []string{"append"}},
	"LITERAL-":              {rfc: "7888", scripts: []string{"literalminus"}},
	"SASL-IR":               {rfc: "4959", scripts: []string{"enable", "login"}},
	"ID":                    {rfc: "2971", scripts: []string{"id"}},
	"ENABLE":                {rfc: "5161", scripts: []string{"enable"}},
	"LANGUAGE":              {rfc: "5255", scripts: []string{"language"}},
	"STARTTLS":              {rfc: "9051", test: "TestStartTLSDropsPlaintext", why: "the connection changes to TLS"},
	"LOGINDISABLED":         {rfc: "9051", test: "TestStartTLSDropsPlaintext", why: "the connection changes to TLS"},
	"AUTH=PLAIN":            {rfc: "9051", scripts: []string{"login"}},
	"AUTH=LOGIN":            {rfc: "9051", scripts: []string{"login"}},
	"IDLE":                  {rfc: "2177", scripts: []string{"idle"}},
	"NAMESPACE":             {rfc: "2342", scripts: []string{mailboxes + "namespace"}},
	"UIDPLUS":               {rfc: "4315", scripts: []string{"move"}},
	"MOVE":                  {rfc: "6851", scripts: []string{"move"}},
	"UNSELECT":              {rfc: "3691", scripts: []string{"idle"}},
	"CHILDREN":              {rfc: "3348", scripts: []string{"listextended", "list"}},
	"SPECIAL-USE":           {rfc: "6154", scripts: []string{"listextended", "list"}},
	"CREATE-SPECIAL-USE":    {rfc: "6154", scripts: []string{"listextended", "list"}},
	"ESEARCH":               {rfc: "4731", scripts: []string{"esearch"}},
	"LIST-EXTENDED":         {rfc: "5258", scripts: []string{"listextended", "list"}},
	"LIST-STATUS":           {rfc: "5819", scripts: []string{"listextended", "list"}},
	"STATUS=SIZE":           {rfc: "8438", scripts: []string{"listextended", "list"}},
	"CONDSTORE":             {rfc: "7162", scripts: []string{"rfc7162", "condstore"}},
	"QRESYNC":               {rfc: "7162", scripts: []string{"qresync"}},
	"WITHIN":                {rfc: "5032", scripts: []string{"within"}},
	"SEARCHRES":             {rfc: "5182", scripts: []string{"searchres"}},
	"SORT":                  {rfc: "5256", scripts: []string{"thread", "sort"}},
	"SORT=DISPLAY":          {rfc: "5957", scripts: []string{"sort"}},
	"ESORT":                 {rfc: "5267", scripts: []string{"sort"}},
	"THREAD=ORDEREDSUBJECT": {rfc: "5256", scripts: []string{"thread", "sort"}},
	"THREAD=REFERENCES":     {rfc: "5256", scripts: []string{"thread", "sort"}},
	"MULTIAPPEND":           {rfc: "3502", scripts: []string{"multiappend"}},
	"BINARY":                {rfc: "3516", scripts: []string{"binary", "fetch"}},
	"OBJECTID":              {rfc: "8474", scripts: []string{"objects"}},
	"SAVEDATE":              {rfc: "8514", scripts: []string{"objects"}},
	"PREVIEW":               {rfc: "8970", scripts: []string{"objects"}},
	"UTF8=ACCEPT":           {rfc: "6855", scripts: []string{"utf8", "append"}},
	"PARTIAL":               {rfc: "9394", scripts: []string{"esearch"}},
	"UIDONLY":               {rfc: "9586", scripts: []string{"uidonly"}},
	"REPLACE":               {rfc: "8508", scripts: []string{"replace"}},
	"UNAUTHENTICATE":        {rfc: "8437", scripts: []string{"unauthenticate"}},
	"INPROGRESS":            {rfc: "9585", test: "TestInProgress", why: "it tells of time, which a bubble of synctest makes"},
	"I18NLEVEL=1":           {rfc: "5255", scripts: []string{"language"}},
	"SEARCH=FUZZY":          {rfc: "6203", scripts: []string{"fuzzy"}},
	"MULTISEARCH":           {rfc: "7377", scripts: []string{"multisearch"}},
	"CATENATE":              {rfc: "4469", scripts: []string{"catenate"}},
	"CONTEXT=SEARCH":        {rfc: "5267", scripts: []string{"context"}},
	"CONTEXT=SORT":          {rfc: "5267", scripts: []string{"context"}},
	"NOTIFY":                {rfc: "5465", scripts: []string{"notify"}},
	"URLAUTH":               {rfc: "4467", scripts: []string{"urlauth"}},
	"URLAUTH=BINARY":        {rfc: "5524", scripts: []string{"urlauth"}},
	"MESSAGELIMIT=":         {rfc: "9738", scripts: []string{"messagelimit"}},
	"QUOTA":                 {rfc: "9208", scripts: []string{"quota"}},
	"QUOTA=RES-STORAGE":     {rfc: "9208", scripts: []string{"quota"}},
	"QUOTA=RES-MESSAGE":     {rfc: "9208", scripts: []string{"quota"}},
	"QUOTASET":              {rfc: "9208", scripts: []string{"quota"}},
	"ACL":                   {rfc: "4314", scripts: []string{mailboxes + "acl"}},
	"RIGHTS=kxte":           {rfc: "4314", scripts: []string{mailboxes + "acl"}},
	"LIST-MYRIGHTS":         {rfc: "8440", scripts: []string{mailboxes + "acl"}},
	"METADATA":              {rfc: "5464", scripts: []string{mailboxes + "metadata", "metadata"}},
	"METADATA-SERVER":       {rfc: "5464", scripts: []string{mailboxes + "metadata", "metadata"}},
	"LIST-METADATA":         {rfc: "9590", scripts: []string{"listmetadata"}},
	"FILTERS":               {rfc: "5466", scripts: []string{"filters"}},
	"APPENDLIMIT=":          {rfc: "7889", scripts: []string{"appendlimit"}},
	"COMPRESS=DEFLATE":      {rfc: "4978", test: "TestCompress", why: "what follows is no text"},
}

var (
	spoken  = regexp.MustCompile(`(?m)^([CDSWM]\d?[:|] ?.*|\.)$`)
	section = regexp.MustCompile(`(?i)sections? \d`)
	offered = regexp.MustCompile(`(?m)^(?:\* CAPABILITY (.*)|.*\[CAPABILITY ([^\]]*)\].*)\r$`)
	ofLimit = regexp.MustCompile(`^((?:MESSAGE|APPEND)LIMIT=)\d+$`)
)

// TestCapabilitiesAreProved: for each capability that is advertised, in whatever state and setting, a dialogue walks through
// its RFC and says which sections, or a Go test does what a dialogue cannot; and no line of the table is idle.
func TestCapabilitiesAreProved(t *testing.T) {
	used := map[string]bool{}
	for _, change := range []func(*imap.Server){
		func(*imap.Server) {},
		func(s *imap.Server) { s.LiteralMinus = true },
		func(s *imap.Server) { s.PlaintextLoopback, s.TLSConfig = false, &tls.Config{} },
	} {
		for _, m := range offered.FindAllStringSubmatch(sayTo(t, fuzzStates[1]+"c CAPABILITY\r\n", change), -1) {
			for _, name := range strings.Fields(m[1] + m[2]) {
				used[ofLimit.ReplaceAllString(name, "$1")] = true
			}
		}
	}
	if !used["NOTIFY"] || !used["LOGINDISABLED"] || !used["LITERAL-"] {
		t.Fatal("the server was not asked in all states", used)
	}
	tests := goTests(t)
	for name := range used {
		p, ok := proofs[name]
		if !ok || len(p.scripts) == 0 && (p.test == "" || p.why == "") {
			t.Errorf("%s is advertised and walked through nowhere", name)
		}
		if p.test != "" && !strings.Contains(tests, "func "+p.test+"(") {
			t.Errorf("%s: there is no %s", name, p.test)
		}
		for _, script := range p.scripts {
			raw, err := os.ReadFile(filepath.Join("testdata/dialogue", script+".txt"))
			if err != nil {
				t.Error(name, err)
			}
			words := spoken.ReplaceAllString(string(raw), "")
			if !strings.Contains(words, "RFC "+p.rfc) || !section.MatchString(words) {
				t.Errorf("%s: %s.txt does not say which sections of RFC %s it walks through", name, script, p.rfc)
			}
		}
	}
	for name := range proofs {
		if !used[name] {
			t.Errorf("%s has a proof and is not advertised", name)
		}
	}
}

// goTests is the text of the tests of this package.
func goTests(t *testing.T) string {
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(raw)
	}
	return all.String()
}
