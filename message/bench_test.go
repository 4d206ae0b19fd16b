package message

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"testing"

	gomessage "github.com/emersion/go-message"
)

// bigMail is a mail of about 1 MiB with two parts, as people send them: a text and an attachment.
func bigMail() []byte {
	var b bytes.Buffer
	b.WriteString(crlf(commonHeader))
	b.WriteString("Content-Type: multipart/mixed; boundary=\"=_0123456789abcdef0123456789abcdef\"\r\n\r\n")
	b.WriteString("--=_0123456789abcdef0123456789abcdef\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n")
	for b.Len() < 64<<10 {
		b.WriteString("This is a line of text such as people write, with a few words in it.\r\n")
	}
	b.WriteString("\r\n--=_0123456789abcdef0123456789abcdef\r\nContent-Type: application/pdf; name=\"report.pdf\"\r\n" +
		"Content-Disposition: attachment; filename=\"report.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	line := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0x5a, 0x13, 0x9c}, 19)) + "\r\n"
	for b.Len() < 1<<20 {
		b.WriteString(line)
	}
	b.WriteString("--=_0123456789abcdef0123456789abcdef--\r\n")
	return b.Bytes()
}

const commonHeader = `Return-Path: <alice@example.org>
Received: from mail.example.org (mail.example.org [192.0.2.1])
	by mx.example.net (Postfix) with ESMTPS id 4XabcD1234z9sSF
	for <bob@example.net>; Fri, 20 Nov 2026 08:00:00 +0000 (UTC)
Received: from [10.0.0.5] (client.example.org [192.0.2.77])
	by mail.example.org (Postfix) with ESMTPSA id 4XabcC0987z1qwE;
	Fri, 20 Nov 2026 07:59:58 +0000 (UTC)
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=2026;
	h=from:to:subject:date:message-id; bh=3DVQev0rnzsjiS18K0C6ooWRAOJw4r7pXxCK8W5rko0=;
	b=JrERzRo7EhsilmRGVgzSSu2t0YJ4ZbsT9qTgzHMoSqHmLDiE9INbKRrleVsnCD8Al
	EBGQGOQElAaEMEA24cajD7HdeLqXfh8KLGZEEgjZNFNYlagnCuOdDmCt8Mwhvvt==
From: Alice Example <alice@example.org>
To: Bob Example <bob@example.net>, "Carol, of Sales" <carol@example.net>
Subject: =?utf-8?q?Bericht_f=C3=BCr_November?=
Date: Fri, 20 Nov 2026 08:59:57 +0100
Message-ID: <20261120075957.4XabcC0987z1qwE@mail.example.org>
MIME-Version: 1.0
User-Agent: Example Mail 1.0
`

// plainReader hides what else a reader can do, so that all parsers read by pieces.
type plainReader struct{ io.Reader }

func BenchmarkStructure(b *testing.B) {
	raw := bigMail()
	b.Run("ours", func(b *testing.B) {
		b.SetBytes(int64(len(raw)))
		b.ReportAllocs()
		for b.Loop() {
			root, err := Parse(plainReader{bytes.NewReader(raw)}, Limits{})
			if err != nil || len(root.Children) != 2 {
				b.Fatal(err, len(root.Children))
			}
		}
	})
	b.Run("go-message", func(b *testing.B) {
		b.SetBytes(int64(len(raw)))
		b.ReportAllocs()
		for b.Loop() {
			e, err := gomessage.Read(plainReader{bytes.NewReader(raw)})
			if err != nil {
				b.Fatal(err)
			}
			n := 0
			err = e.Walk(func(_ []int, e *gomessage.Entity, err error) error {
				n++
				if err == nil && e.MultipartReader() == nil {
					_, err = io.Copy(io.Discard, e.Body)
				}
				return err
			})
			if err != nil || n != 3 {
				b.Fatal(err, n)
			}
		}
	})
}

// BenchmarkStructureRaw lets go-message skip what it would decode: only its multipart reader runs.
func BenchmarkStructureRaw(b *testing.B) {
	raw := bytes.ReplaceAll(bigMail(), []byte("Content-Transfer-Encoding: base64\r\n"), nil)
	b.Run("go-message", func(b *testing.B) {
		b.SetBytes(int64(len(raw)))
		b.ReportAllocs()
		for b.Loop() {
			e, err := gomessage.Read(plainReader{bytes.NewReader(raw)})
			if err != nil {
				b.Fatal(err)
			}
			mr := e.MultipartReader()
			for {
				p, err := mr.NextPart()
				if err == io.EOF {
					break
				}
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, p.Body); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}

func TestStructureAllocations(t *testing.T) {
	raw := bigMail()
	n := testing.AllocsPerRun(10, func() { Parse(plainReader{bytes.NewReader(raw)}, Limits{}) })
	if n > 30 {
		t.Errorf("%v allocations for the structure of a two-part mail, at most 30 are wanted", n)
	}
}

func BenchmarkSmall(b *testing.B) {
	raw := []byte(crlf(commonHeader) + "\r\n" + strings.Repeat("A line of a short mail.\r\n", 80))
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		p := NewParser(Limits{})
		p.Write(raw)
		p.Close()
	}
}

func BenchmarkHeaderGet(b *testing.B) {
	h := ParseHeader([]byte(crlf(commonHeader) + "\r\n"))
	b.ReportAllocs()
	for b.Loop() {
		if h.Get("Message-ID") == nil {
			b.Fatal("no Message-ID")
		}
	}
}

func BenchmarkDecodeBase64(b *testing.B) {
	raw := bigMail()
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		io.Copy(io.Discard, DecodeBody(bytes.NewReader(raw), "base64"))
	}
}

func BenchmarkAddressList(b *testing.B) {
	raw := []byte(`Bob Example <bob@example.net>, "Carol, of Sales" <carol@example.net>, =?utf-8?q?J=C3=B6rg?= <j@example.com>`)
	b.ReportAllocs()
	for b.Loop() {
		ParseAddressList(raw)
	}
}

func BenchmarkDate(b *testing.B) {
	raw := []byte("Fri, 20 Nov 2026 08:59:57 +0100 (CET)")
	b.ReportAllocs()
	for b.Loop() {
		ParseDate(raw)
	}
}

func BenchmarkDecodeText(b *testing.B) {
	for _, s := range []string{"A plain subject", "=?utf-8?q?Bericht_f=C3=BCr_November?="} {
		b.Run(fmt.Sprint(len(s)), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				DecodeText([]byte(s))
			}
		})
	}
}
