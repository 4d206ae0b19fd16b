package junk_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/samotop/samotop/junk"
)

// The example of the paper on SipHash, appendix A.
func TestSipHash(t *testing.T) {
	var k junk.Key
	for i := range k {
		k[i] = byte(i)
	}
	b := make([]byte, 15)
	for i := range b {
		b[i] = byte(i)
	}
	if got := k.Sum(b); got != 0xa129ca6149be45e5 {
		t.Errorf("%x", got)
	}
	if got := k.Sum(nil); got != binary.LittleEndian.Uint64([]byte{0x31, 0x0e, 0x0e, 0xdd, 0x47, 0xdb, 0x6f, 0x72}) {
		t.Errorf("of nothing: %x", got)
	}
}

func texts(t testing.TB, raw string) []string {
	toks := tokensOf(t, []byte(raw))
	var out []string
	for i := range toks.List {
		out = append(out, toks.Text(i))
	}
	return out
}

func TestTokens(t *testing.T) {
	for name, c := range map[string]struct {
		raw  string
		want []string
		not  []string
	}{
		"words":        {"Subject: Cheap Pills\r\n\r\nBuy PILLS now.", []string{"subject:cheap", "subject:pills", "buy", "pills", "buy pills", "pills now", "is:plain-only", "is:no-from"}, []string{"cheap"}},
		"encoded":      {"Subject: =?utf-8?B?R8Okc3Rl?=\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nGr=FC=DFe", []string{"subject:gäste", "grüße"}, nil},
		"letters":      {"\r\nＶｉａｇｒａ 𝐯𝐢𝐚𝐠𝐫𝐚 vi\u200bagra", []string{"viagra", "is:hidden-characters"}, []string{"vi", "agra"}},
		"money":        {"\r\n$1,000 now 12345 €500", []string{"(amount)", "(number)"}, []string{"12345"}},
		"unspaced":     {"\r\n今すぐ登録。無料", []string{"今す", "すぐ", "登録", "無料"}, []string{"録無"}},
		"links":        {"Content-Type: text/html\r\n\r\n<a href=\"https://u@login.evil.example.top:8080/a.exe\">x</a> http://192.0.2.1/", []string{"host:@login.evil.example.top", "host:@evil.example.top", "host:@.top", "is:port-in-link", "is:name-in-link", "is:address-in-link", "link:.exe", "is:html-only"}, nil},
		"hidden":       {"Content-Type: text/html\r\n\r\n<p style=\"display:none\">x<form>", []string{"is:hidden-text", "is:form"}, nil},
		"attachment":   {"Content-Type: application/zip; name=\"invoice.pdf.exe\"\r\n\r\nxx", []string{"type:application/zip", "file:.exe", "file:invoice.pdf", "is:two-extensions", "is:no-text"}, nil},
		"from":         {"From: \"Big Bank\" <News@mail.bank.example>\r\nReply-To: x@other.example\r\n\r\n", []string{"from:big", "from:bank", "from:@mail.bank.example", "from:news@mail.bank.example", "is:answers-elsewhere"}, nil},
		"added fields": {"Received: from viagra\r\nX-Samotop-Junk: viagra\r\nAuthentication-Results: viagra\r\n\r\nhello you", []string{"hello you"}, []string{"viagra"}},
	} {
		got := texts(t, c.raw)
		for _, w := range c.want {
			if !slices.Contains(got, w) {
				t.Errorf("%s: %q is not among %q", name, w, got)
			}
		}
		for _, w := range c.not {
			if slices.Contains(got, w) {
				t.Errorf("%s: %q is among %q", name, w, got)
			}
		}
	}
}

// However a message is cut, it gives the same tokens.
func TestCut(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range trainSpam {
		raw := trainSpam[i].make(r)
		want := tokensOf(t, raw)
		tk := junk.NewTokenizer(junk.Limits{Key: junk.Key{1, 2, 3}})
		for rest := raw; len(rest) > 0; {
			n := min(len(rest), 1+r.IntN(40))
			tk.Write(rest[:n])
			rest = rest[n:]
		}
		if got := tk.Close(); !slices.Equal(got.List, want.List) {
			t.Errorf("%s: %d tokens, not %d", trainSpam[i].name, len(got.List), len(want.List))
		}
	}
}

// A message that wants to be costly is not, and the words of its header count all the same.
func TestBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString("Subject: header counts\r\nContent-Type: multipart/mixed; boundary=b\r\n")
	for n := range 60 {
		b.WriteString("\r\n--b\r\nContent-Type: text/html\r\n\r\n")
		for i := range 2000 {
			b.WriteString("<a href=http://h")
			b.WriteString(strings.Repeat("x", i%50))
			b.WriteByte(byte('a' + n%26))
			b.WriteString(".example>word")
			b.WriteByte(byte('a' + i%26))
			b.WriteString("</a> ")
		}
	}
	start := time.Now()
	got := texts(t, b.String())
	if len(got) > junk.DefaultTokens || !slices.Contains(got, "subject:counts") {
		t.Errorf("%d tokens, the subject among them: %v", len(got), slices.Contains(got, "subject:counts"))
	}
	t.Logf("%d octets took %s", b.Len(), time.Since(start))
}

func FuzzTokenizer(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 3))
	f.Add(trainHam[0].make(r))
	f.Add(trainSpam[4].make(r))
	f.Add([]byte("From: a\r\nContent-Type: text/html\r\n\r\n<a href=http://[::1]:/.x"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		toks, err := junk.Read(bytes.NewReader(raw), junk.Limits{Tokens: 600, PartOctets: 4096, TextOctets: 8192})
		if err != nil || len(toks.List) > 600 {
			t.Fatalf("%d tokens, %v", len(toks.List), err)
		}
		for i := range toks.List {
			if n := len(toks.Text(i)); n == 0 || n > 80 {
				t.Fatalf("token of %d octets", n)
			}
		}
		v := junk.Classify(toks, junk.Knowledge{Ham: 20, Spam: 20, Of: make([]junk.Counts, len(toks.List))}, junk.Knowledge{})
		if !(v.Score >= 0 && v.Score <= 1) {
			t.Fatal(v.Score)
		}
	})
}

// BenchmarkRead is the cost of taking a message to pieces: short ones, of a kilobyte, and one with 16 KiB of text.
func BenchmarkRead(b *testing.B) {
	r := rand.New(rand.NewPCG(3, 3))
	var short [][]byte
	long := []byte("From: a@b.test\r\nSubject: long\r\n\r\n")
	for i := range trainHam {
		short = append(short, trainHam[i].make(r))
	}
	for len(long) < 16<<10 {
		raw := trainHam[0].make(r)
		long = append(long, raw[bytes.Index(raw, []byte("\r\n\r\n"))+4:]...)
		long = append(long, fmt.Sprintf("word%d other%d\r\n", r.IntN(1000), r.IntN(1000))...)
	}
	for name, raws := range map[string][][]byte{"short": short, "long": {long}} {
		b.Run(name, func(b *testing.B) {
			octets := 0
			for _, raw := range raws {
				octets += len(raw)
			}
			b.SetBytes(int64(octets / len(raws)))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				tokensOf(b, raws[i%len(raws)])
			}
		})
	}
}
