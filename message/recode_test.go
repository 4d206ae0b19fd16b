package message

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

// failer is what a testing.TB and a rapid.T have in common.
type failer interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func recode(t failer, o Recoding, msg string) (string, error) {
	t.Helper()
	root, err := Parse(strings.NewReader(msg), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err = o.Copy(&out, iotest.HalfReader(strings.NewReader(msg)), root)
	return out.String(), err
}

func TestRecode(t *testing.T) {
	long := strings.Repeat("a", 999)
	for _, c := range []struct {
		name     string
		o        Recoding
		in, want string // want "": as it is
		err      error
	}{
		{"clean", Recoding{}, "Subject: x\r\n\r\nbody\r\n", "", nil},
		{"8 bits may stay", Recoding{EightBit: true}, "Subject: x\r\n\r\n\xff\r\n", "", nil},
		{"no MIME", Recoding{}, "Subject: x\r\n\r\n\xff - =x \r\n-- \r\n", "Subject: x\r\nMIME-Version: 1.0\r\n" +
			"Content-Type: text/plain; charset=unknown-8bit\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=FF - =3Dx=20\r\n=2D-=20\r\n", nil},
		{"text", Recoding{}, "MIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>Hallo, ü",
			"MIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<p>Hallo, =C3=BC=\r\n", nil},
		{"mostly not ASCII", Recoding{}, "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nпривет\r\n",
			"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n0L/RgNC40LLQtdGCDQo=\r\n", nil},
		{"image", Recoding{EightBit: true}, "MIME-Version: 1.0\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: binary\r\n\r\n\x89PNG\r\n\x1a\n\x00",
			"MIME-Version: 1.0\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\niVBORw0KGgoA\r\n", nil},
		{"long line", Recoding{EightBit: true}, "MIME-Version: 1.0\r\n\r\n" + long + "\r\n.\r\n",
			"MIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" + strings.Repeat(strings.Repeat("a", 75)+"=\r\n", 13) + strings.Repeat("a", 24) + "\r\n.\r\n", nil},
		{"long line of base64", Recoding{}, "MIME-Version: 1.0\r\nContent-Type: a/b\r\nContent-Transfer-Encoding: base64\r\n\r\n" + strings.Repeat("AAAA", 250),
			"MIME-Version: 1.0\r\nContent-Type: a/b\r\nContent-Transfer-Encoding: base64\r\n\r\n" + strings.Repeat(strings.Repeat("AAAA", 19)+"\r\n", 13) + "AAAAAAAAAAAA\r\n", nil},
		{"long header line", Recoding{}, "To: " + long + "\r\n\r\n", "", nil},
		{"long header line over a good body", Recoding{}, "To: " + long + "\r\n\r\nbody = body\r\n", "", nil},
		{"long header line of a part", Recoding{}, "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Description: " + long + "\r\n\r\n=\r\n--b--\r\n", "", nil},
		{"long header line of a message inside", Recoding{}, "Content-Type: message/rfc822\r\n\r\nTo: " + long + "\r\n\r\n=\r\n", "", nil},
		{"long header line of a signed part", Recoding{}, "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\nContent-Description: " + long + "\r\n\r\n=\r\n--b\r\n\r\nsig\r\n--b--\r\n", "", nil},
		{"multipart", Recoding{}, "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: 8bit\r\n\r\npre\r\n--b\r\n\r\nclean\r\n--b\r\nContent-Type: x/y\r\n\r\n\xff\r\n--b\r\n\r\nü=\r\n--b--\r\npost",
			"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: 7bit\r\n\r\npre\r\n--b\r\n\r\nclean\r\n--b\r\nContent-Type: x/y\r\nContent-Transfer-Encoding: base64\r\n\r\n/w==\r\n--b\r\nContent-Transfer-Encoding: base64\r\n\r\nw7w9\r\n--b--\r\npost", nil},
		{"message inside", Recoding{EightBit: true}, "MIME-Version: 1.0\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: binary\r\n\r\nSubject: ü\r\n\r\nx\x00y",
			"MIME-Version: 1.0\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\nSubject: ü\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=unknown-8bit\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nx=00y=\r\n", nil},
		{"8-bit header inside", Recoding{}, "Content-Type: message/rfc822\r\n\r\nSubject: ü\r\n\r\nx", "", ErrNoRecoding},
		{"signed", Recoding{}, "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\nü\r\n--b\r\nContent-Type: application/pgp-signature\r\n\r\nx\r\n--b--\r\n", "", ErrSigned},
		{"signed and clean", Recoding{}, "To: " + long + "\r\nContent-Type: multipart/signed; boundary=b\r\nContent-Transfer-Encoding: 8bit\r\n\r\n--b\r\n\r\nu\r\n--b\r\n\r\nx\r\n--b--\r\n", "", nil},
		{"signed beside a long line", Recoding{}, "Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n\r\n" + long + "\r\n--a\r\nContent-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\nu\r\n--b\r\n\r\nx\r\n--b--\r\n--a--\r\n",
			"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" + strings.Repeat(strings.Repeat("a", 75)+"=\r\n", 13) + strings.Repeat("a", 24) +
				"\r\n--a\r\nContent-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\nu\r\n--b\r\n\r\nx\r\n--b--\r\n--a--\r\n", nil},
		{"preamble", Recoding{}, "Content-Type: multipart/mixed; boundary=b\r\n\r\nü\r\n--b\r\n\r\nx\r\n--b--\r\n", "", ErrNoRecoding},
		{"delimiter by a soft break", Recoding{EightBit: true, LineOctets: 80}, "Content-Type: multipart/mixed; boundary=bb\r\n\r\n--bb\r\n\r\n" + strings.Repeat("a", 75) + "--bb--\r\n--bb--\r\n",
			"Content-Type: multipart/mixed; boundary=bb\r\n\r\n--bb\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" + strings.Repeat("a", 75) + "=\r\n=2D-bb--\r\n--bb--\r\n", nil},
		{"partial", Recoding{}, "Content-Type: message/partial; id=x\r\n\r\n\xff", "", ErrNoRecoding},
		{"unknown encoding", Recoding{}, "Content-Transfer-Encoding: x-mine\r\n\r\n\xff", "", ErrNoRecoding},
		{"bare LF in a header", Recoding{EightBit: true}, "A: b\nC: d\r\n\r\n\x00", "", ErrNoRecoding},
	} {
		got, err := recode(t, c.o, c.in)
		if !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", c.name, err, c.err)
			continue
		}
		if c.want == "" {
			c.want = c.in
		}
		if err == nil && got != c.want {
			t.Errorf("%s:\n%q\nwant\n%q", c.name, got, c.want)
		}
		if err == nil {
			sameAfterRecoding(t, c.o, c.in)
		}
	}
}

// sameAfterRecoding re-encodes a message and holds the result against it: nothing is left that may not stay but in
// headers, the structure is the same, and each body decodes to the same octets.
func sameAfterRecoding(t failer, o Recoding, msg string) {
	t.Helper()
	before, _ := Parse(strings.NewReader(msg), Limits{})
	out, err := recode(t, o, msg)
	if err != nil {
		if !errors.Is(err, ErrSigned) && !errors.Is(err, ErrNoRecoding) {
			t.Fatalf("%q: %v", msg, err)
		}
		return
	}
	if !o.Needed(before) && out != msg {
		t.Fatalf("%q was changed without need: %q", msg, out)
	}
	after, _ := Parse(strings.NewReader(out), Limits{})
	sameParts(t, o, before, after, msg, out)
}

func sameParts(t failer, o Recoding, a, b *Part, before, after string) {
	t.Helper()
	if a.Type != b.Type || a.Subtype != b.Subtype || len(a.Children) != len(b.Children) || (a.Message == nil) != (b.Message == nil) {
		t.Fatalf("%q became %q: another structure", before, after)
	}
	for i := range a.Children {
		sameParts(t, o, a.Children[i], b.Children[i], before, after)
	}
	if a.Message != nil {
		sameParts(t, o, a.Message, b.Message, before, after)
	}
	if len(a.Children) > 0 || a.Message != nil {
		return
	}
	body := after[b.BodyStart:b.End]
	var f lineFacts
	f.write([]byte(body))
	if f.nul || f.bareCR || f.bareLF || f.longest > int64(o.line()) || !o.EightBit && has8Bit([]byte(body)) {
		t.Fatalf("%q became %q, which still holds what may not stay", before, after)
	}
	x, _ := io.ReadAll(DecodeBody(strings.NewReader(before[a.BodyStart:a.End]), a.Encoding))
	y, _ := io.ReadAll(DecodeBody(strings.NewReader(body), b.Encoding))
	if !bytes.Equal(x, y) {
		t.Fatalf("%q became %q: a body was %q and is %q", before, after, x, y)
	}
}

// TestRecodeGenerated: messages of any shape, with boundaries that are parts of each other and of the text.
func TestRecodeGenerated(t *testing.T) {
	piece := rapid.SampledFrom([]string{"x", "-", "--", "--b", "--bb", "=", " ", "\t", "\r\n", "\r\n", "\n", "\r", "\x00", "\xff", "ü", ".", "=2D", strings.Repeat("y", 74), strings.Repeat("z", 1000)})
	encoding := rapid.SampledFrom([]string{"", "", "7bit", "8bit", "binary", "quoted-printable", "base64"})
	var part func(depth int) *rapid.Generator[string]
	part = func(depth int) *rapid.Generator[string] {
		return rapid.Custom(func(t *rapid.T) string {
			var b strings.Builder
			if e := encoding.Draw(t, "encoding"); e != "" {
				b.WriteString("Content-Transfer-Encoding: " + e + "\r\n")
			}
			kind := rapid.IntRange(0, 4).Draw(t, "kind")
			if depth == 0 {
				kind = min(kind, 1)
			}
			switch kind {
			case 0:
				b.WriteString("\r\n" + strings.Join(rapid.SliceOfN(piece, 0, 12).Draw(t, "text"), ""))
			case 1:
				b.WriteString("Content-Type: a/b\r\n\r\n" + strings.Join(rapid.SliceOfN(piece, 0, 12).Draw(t, "octets"), ""))
			case 2:
				b.WriteString("Content-Type: message/rfc822\r\n\r\n" + part(depth-1).Draw(t, "inside"))
			default:
				boundary := strings.Repeat("b", rapid.IntRange(1, 3).Draw(t, "boundary"))
				kind := rapid.SampledFrom([]string{"mixed", "digest", "signed"}).Draw(t, "subtype")
				b.WriteString("Content-Type: multipart/" + kind + "; boundary=" + boundary + "\r\n\r\n")
				for range rapid.IntRange(0, 3).Draw(t, "parts") {
					b.WriteString("\r\n--" + boundary + "\r\n" + part(depth-1).Draw(t, "part"))
				}
				b.WriteString("\r\n--" + boundary + "--\r\n")
			}
			return b.String()
		})
	}
	whole := part(3)
	rapid.Check(t, func(rt *rapid.T) {
		sameAfterRecoding(rt, Recoding{EightBit: rapid.Bool().Draw(rt, "8bit")}, whole.Draw(rt, "message"))
	})
}

// TestRecodeReal: the messages of others, as they are found in the world.
func TestRecodeReal(t *testing.T) {
	n := 0
	for _, dir := range []string{filepath.Join(shared(t, "mime-mime4j"), "testmsgs"), filepath.Join(shared(t, "mime-mailparser"))} {
		err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(path)
			n++
			sameAfterRecoding(t, Recoding{}, string(b))
			sameAfterRecoding(t, Recoding{EightBit: true}, string(b))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if n < 50 {
		t.Errorf("only %d messages were found", n)
	}
}

func FuzzRecode(f *testing.F) {
	f.Add("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n\xff\r\n--b--\r\n", false)
	f.Add("Content-Type: message/rfc822\r\n\r\nContent-Transfer-Encoding: binary\r\n\r\n\x00\n\r", true)
	f.Add("Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n\xff\r\n--b--\r\n", false)
	f.Add("Content-Transfer-Encoding: quoted-printable\r\n\r\n\xff=\n=4\r\n", false)
	f.Add("Content-Transfer-Encoding: base64\r\n\r\n\xffAAA=AA", false)
	f.Add("Content-Type: message/rfc822\r\n\r\nContent-Type: multipart/digest; boundary=x\r\n\r\n--x\r\n\r\nA: b\r\n\r\n\x80\r\n--x", false)
	f.Fuzz(func(t *testing.T, msg string, eightBit bool) {
		sameAfterRecoding(t, Recoding{EightBit: eightBit}, msg)
	})
}

func BenchmarkRecode(b *testing.B) {
	msg := []byte("MIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" +
		strings.Repeat("Grüße aus dem Süden, wie jedes Jahr um diese Zeit.\r\n", 20000))
	root, err := Parse(bytes.NewReader(msg), Limits{})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(msg)))
	b.ReportAllocs()
	for b.Loop() {
		if err := (Recoding{}).Copy(io.Discard, bytes.NewReader(msg), root); err != nil {
			b.Fatal(err)
		}
	}
}
