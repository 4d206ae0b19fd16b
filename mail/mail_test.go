package mail_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/samotop/samotop/mail"
	"pgregory.net/rapid"
)

func TestParsePath(t *testing.T) {
	long := strings.Repeat("x", 65)
	for _, c := range []struct {
		in, local, domain, rest string
		err                     error
	}{
		{in: "<>", rest: ""},
		{in: "<> SIZE=1", rest: " SIZE=1"},
		{in: "<a@b.test>", local: "a", domain: "b.test"},
		{in: "<a.b+c@b.test> X", local: "a.b+c", domain: "b.test", rest: " X"},
		{in: "<@one,@two.test:a@b>", local: "a", domain: "b"},
		{in: "<postmaster>", local: "postmaster"},
		{in: "<PostMaster> x", local: "PostMaster", rest: " x"},
		{in: `<"a b\"\@"@b>`, local: `a b"@`, domain: "b"},
		{in: "<a@[192.0.2.1]>", local: "a", domain: "[192.0.2.1]"},
		{in: "<a@[IPv6:2001:db8::1]>", local: "a", domain: "[IPv6:2001:db8::1]"},
		{in: "<älice@exämple.test>", local: "älice", domain: "exämple.test"},
		{in: "<a@[2001:db8::1]>", err: mail.ErrLiteral},
		{in: "<a@[IPv6:192.0.2.1]>", err: mail.ErrLiteral},
		{in: "<a@[x-tag:foo]>", err: mail.ErrLiteral},
		{in: "a@b", err: mail.ErrAddressSyntax},
		{in: "<a@b", err: mail.ErrPathUnfinished},
		{in: "<a>", err: mail.ErrAddressSyntax},
		{in: "<@b>", err: mail.ErrAddressSyntax},
		{in: "<.a@b>", err: mail.ErrAddressSyntax},
		{in: "<a.@b>", err: mail.ErrAddressSyntax},
		{in: "<a..b@b>", err: mail.ErrAddressSyntax},
		{in: "<a@b..c>", err: mail.ErrAddressSyntax},
		{in: "<a@-b>", err: mail.ErrAddressSyntax},
		{in: "<a@b->", err: mail.ErrAddressSyntax},
		{in: "<a@>", err: mail.ErrAddressSyntax},
		{in: "<a b@c>", err: mail.ErrAddressSyntax},
		{in: "<\"a\r\n\"@c>", err: mail.ErrAddressSyntax},
		{in: "<a@b\x00c>", err: mail.ErrPathUnfinished},
		{in: "<" + long + "@b>", err: mail.ErrLocalTooLong},
		{in: "<a@" + strings.Repeat("abcdefgh.", 40) + "test>", err: mail.ErrDomainTooLong},
		{in: "<" + strings.Repeat("@aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa,", 20) + "@b:a@b>", err: mail.ErrPathTooLong},
		{in: "<a@b\xff>", err: mail.ErrAddressSyntax},
		{in: "<a\xff@b>", err: mail.ErrAddressSyntax},
	} {
		a, rest, err := mail.ParsePath(c.in)
		if !errors.Is(err, c.err) {
			t.Errorf("ParsePath(%q): error %v, want %v", c.in, err, c.err)
			continue
		}
		if err == nil && (a != mail.Address{Local: c.local, Domain: c.domain} || rest != c.rest) {
			t.Errorf("ParsePath(%q) = %+v, %q", c.in, a, rest)
		}
	}
}

func FuzzParsePath(f *testing.F) {
	for _, s := range []string{"<>", "<a@b>", `<"a b"@c> X=1`, "<@a,@b:c@d>", "<a@[IPv6:::1]>", "<ä@ö>", "<postmaster>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, rest, err := mail.ParsePath(s)
		if err != nil {
			return
		}
		if !strings.HasSuffix(s, rest) {
			t.Fatalf("rest %q is not the end of %q", rest, s)
		}
		b, rest, err := mail.ParsePath(a.Path())
		if err != nil || b != a || rest != "" {
			t.Fatalf("%q gave %+v, which as %q gives %+v %q %v", s, a, a.Path(), b, rest, err)
		}
		if strings.ContainsAny(a.Path(), "\r\n\x00") {
			t.Fatalf("%q gave a path with control characters", s)
		}
	})
}

func TestXtext(t *testing.T) {
	for _, s := range []string{"", "plain", "a+b=c", "a b\x00ü", "~!"} {
		e := mail.EncodeXtext(s)
		if d, err := mail.DecodeXtext(e); err != nil || d != s {
			t.Errorf("%q -> %q -> %q, %v", s, e, d, err)
		}
	}
	for _, s := range []string{"a b", "a=b", "+4", "+4g", "+", "+a1", "ü"} {
		if _, err := mail.DecodeXtext(s); err == nil {
			t.Errorf("DecodeXtext(%q) did not fail", s)
		}
	}
}

func TestTargets(t *testing.T) {
	in := []mail.Target{
		{Address: mail.Address{Local: "a", Domain: "b"}},
		{Address: mail.Address{Local: "a b;c", Domain: "d"}, Folder: "Junk; mail/ü"},
		{Address: mail.Address{Local: "x", Domain: "y"}, Remote: true},
	}
	s := mail.FormatTargets(in)
	out, err := mail.ParseTargets(s)
	if err != nil || len(out) != len(in) {
		t.Fatalf("%q: %v %v", s, out, err)
	}
	for i := range in {
		if in[i] != out[i] {
			t.Errorf("%q: %+v became %+v", s, in[i], out[i])
		}
	}
	for _, s := range []string{"<>", "<a@b>x", "<a@b>;what", "a@b", "<a@b>;folder=+"} {
		if _, err := mail.ParseTargets(s); err == nil {
			t.Errorf("ParseTargets(%q) did not fail", s)
		}
	}
}

func TestAgree(t *testing.T) {
	r := func(code int) mail.Reply { return mail.Reply{Code: code} }
	for _, c := range []struct {
		in   []int
		want int
	}{
		{nil, 451}, {[]int{250}, 250}, {[]int{550, 250, 451}, 250}, {[]int{550, 451}, 451}, {[]int{451, 452}, 451},
		{[]int{550, 554}, 550}, {[]int{554, 452, 451}, 452},
	} {
		var rs []mail.Reply
		for _, code := range c.in {
			rs = append(rs, r(code))
		}
		if got := mail.Agree(rs); got.Code != c.want {
			t.Errorf("Agree(%v) = %d, want %d", c.in, got.Code, c.want)
		}
	}
}

func TestAsReply(t *testing.T) {
	own := mail.NewReply(550, mail.Enhanced{5, 1, 1}, "No such user")
	for _, c := range []struct {
		in   error
		want string
	}{
		{own, "550 5.1.1 No such user"},
		{errors.Join(errors.New("x"), own), "550 5.1.1 No such user"},
		{errors.New("disk on fire"), "451 4.3.0 Temporary local problem, please try again later"},
		{context.Canceled, "421 4.3.2 Service is stopping, please try again later"},
	} {
		if got := mail.AsReply(c.in).String(); got != c.want {
			t.Errorf("AsReply(%v) = %s, want %s", c.in, got, c.want)
		}
	}
	if mail.AsReply(nil) != nil {
		t.Error("AsReply(nil) is not nil")
	}
	if !errors.Is(mail.AsReply(errors.Join(own)), own) {
		t.Error("the cause is lost")
	}
}

func TestChain(t *testing.T) {
	ok := mail.DoorFunc(func(context.Context, *mail.Session) (mail.Receiver, error) { return nil, nil })
	pass := func(d mail.Door) mail.Door { return d }
	nothing := func(mail.Door) mail.Door { return nil }
	shut := func(mail.Door) mail.Door { return mail.Unassigned }
	for _, c := range []struct {
		name string
		door mail.Door
		in   []mail.Middleware
		want string
	}{
		{"good", ok, []mail.Middleware{pass, pass}, ""},
		{"no door", nil, []mail.Middleware{pass}, "the door at its end"},
		{"unassigned", mail.Unassigned, nil, "not assigned"},
		{"nil middleware", ok, []mail.Middleware{pass, nil}, "middleware 2 of 2 is nil"},
		{"middleware without a door", ok, []mail.Middleware{nothing, pass}, "middleware 1 of 2"},
		{"middleware that refuses everybody", ok, []mail.Middleware{pass, shut}, "middleware 2 of 2: mail: this door is not assigned"},
	} {
		_, err := mail.Chain(c.door, c.in...)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	var order []string
	mark := func(name string) mail.Middleware {
		return func(d mail.Door) mail.Door {
			return mail.DoorFunc(func(ctx context.Context, s *mail.Session) (mail.Receiver, error) {
				order = append(order, name)
				return d.Open(ctx, s)
			})
		}
	}
	d, err := mail.Chain(ok, mark("first"), mark("second"))
	if err != nil {
		t.Fatal(err)
	}
	d.Open(t.Context(), &mail.Session{})
	if strings.Join(order, " ") != "first second" {
		t.Errorf("asked in the order %v", order)
	}
}

func TestFieldCannotBeEnded(t *testing.T) {
	got := string(mail.Field{Name: "X", Value: "a\r\nEvil: b\r\n\tfolded\rc\n"}.Append(nil))
	if want := "X: a  Evil: b\r\n\tfolded c \r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWith(t *testing.T) {
	for _, c := range []struct {
		s    mail.Session
		utf8 bool
		want string
	}{
		{mail.Session{}, false, "SMTP"},
		{mail.Session{Extended: true}, false, "ESMTP"},
		{mail.Session{LMTP: true, Extended: true}, false, "LMTP"},
		{mail.Session{Extended: true, Login: mail.Identity{Account: "a@b"}}, false, "ESMTPA"},
		{mail.Session{Extended: true}, true, "UTF8SMTP"},
		{mail.Session{LMTP: true}, true, "UTF8LMTP"},
	} {
		if got := c.s.With(c.utf8); got != c.want {
			t.Errorf("With = %s, want %s", got, c.want)
		}
	}
}

// However long the targets of a recipient are, their lines are short enough for a reply, and say the same afterwards.
func TestLongTargets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var in []mail.Target
		for range rapid.IntRange(1, 40).Draw(t, "targets") {
			in = append(in, mail.Target{
				Address: mail.Address{Local: rapid.StringMatching(`[a-z<"]{1,60}`).Draw(t, "local"), Domain: "example.test"},
				Folder:  rapid.StringOfN(rapid.RuneFrom([]rune("a;<\n +=ü")), 0, 80, -1).Draw(t, "folder"),
				Note:    rapid.StringOfN(rapid.RuneFrom([]rune("a;<\n +=ü,")), 0, 700, -1).Draw(t, "note"),
				Remote:  rapid.Bool().Draw(t, "remote"),
			})
		}
		text := mail.FormatTargets(in)
		for line := range strings.Lines(text) {
			if len(line) > 480 {
				t.Fatalf("a line of %d octets", len(line))
			}
		}
		out, err := mail.ParseTargets(text)
		if err != nil || !slices.Equal(in, out) {
			t.Fatalf("%q, %v\nin  %+v\nout %+v", text, err, in, out)
		}
	})
}
