package message_test

import (
	"io"
	"strings"
	"testing"

	"github.com/samotop/samotop/message"
)

// What is decoded in memory is what is decoded as a stream.
func TestAppendDecoded(t *testing.T) {
	for _, encoding := range []string{"", "7bit", "Base64", "quoted-printable", "x-uuencode"} {
		for _, s := range []string{"", "aGVsbG8=\r\n", "a=\r\nb =20=", "begin 644 x\n#86)C\n`\nend\n", strings.Repeat("=C3=A9 and more  \r\n", 1000), strings.Repeat("QUJD", 4000)} {
			want, err := io.ReadAll(message.DecodeBody(strings.NewReader(s), encoding))
			if got := message.AppendDecoded([]byte("-"), []byte(s), encoding); err != nil || string(got) != "-"+string(want) {
				t.Errorf("%s %.20q: %.40q, want %.40q, %v", encoding, s, got, want, err)
			}
		}
	}
	for _, s := range []string{"", "a<br>b", "<p>x</p><style>no</style>&amp;&eacute", strings.Repeat("<td>cell</td> ", 1000)} {
		want, err := io.ReadAll(message.HTMLText(strings.NewReader(s)))
		if got := message.AppendHTMLText([]byte("-"), []byte(s)); err != nil || string(got) != "-"+string(want) {
			t.Errorf("%.20q: %.40q, want %.40q, %v", s, got, want, err)
		}
	}
}
