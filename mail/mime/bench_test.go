package mime

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
)

// letter is a message as mail programs write them: a text, its HTML and an attachment, about size octets.
func letter(size int) []byte {
	var b bytes.Buffer
	for i := range 6 {
		fmt.Fprintf(&b, "Received: from mx%d.north.test (mx%d.north.test [192.0.2.%d])\r\n\tby mail.south.test with ESMTPS id %013d\r\n\tfor <bob@south.test>; Tue, 3 Mar 2026 10:11:1%d +0000\r\n", i, i, i, i, i)
	}
	b.WriteString("From: =?utf-8?Q?Alice_M=C3=BCller?= <alice@north.test>\r\nTo: \"Bob, the builder\" <bob@south.test>, carol@east.test\r\n" +
		"Cc: list: dave@west.test;\r\nSubject: =?utf-8?B?R3LDvMOfZQ==?= from the north\r\nDate: Tue, 3 Mar 2026 11:11:11 +0100\r\n" +
		"Message-ID: <20260303111111.1@north.test>\r\nIn-Reply-To: <1@south.test>\r\nMIME-Version: 1.0\r\n" +
		"Content-Type: multipart/mixed; boundary=\"=_outer\"\r\n\r\nThis is a MIME message.\r\n" +
		"--=_outer\r\nContent-Type: multipart/alternative; boundary=\"=_inner\"\r\n\r\n" +
		"--=_inner\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n")
	for range 20 {
		b.WriteString("Dear Bob, -- this line is like the others, seventy octets or so long, =C3=BC.\r\n")
	}
	b.WriteString("--=_inner\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>Dear Bob</p>\r\n--=_inner--\r\n" +
		"--=_outer\r\nContent-Type: application/pdf; name=\"a.pdf\"\r\nContent-Disposition: attachment; filename*=utf-8''%C3%A4.pdf\r\n" +
		"Content-Transfer-Encoding: base64\r\n\r\n")
	line := append(bytes.Repeat([]byte("QUJD"), 19), "\r\n"...)
	for b.Len() < size-14 {
		b.Write(line)
	}
	b.WriteString("--=_outer--\r\n")
	return b.Bytes()
}

func parse(message []byte) *Part {
	p := NewParser()
	_, _ = p.Write(message)
	return p.Close()
}

func BenchmarkParse(b *testing.B) {
	for _, size := range []int{4 << 10, 87 << 10, 10 << 20} {
		message := letter(size)
		b.Run(fmt.Sprint(len(message)), func(b *testing.B) {
			b.SetBytes(int64(len(message)))
			b.ReportAllocs()
			for b.Loop() {
				parse(message)
			}
		})
	}
}

func BenchmarkAppend(b *testing.B) {
	p := parse(letter(4 << 10))
	buf := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendBodyStructure(AppendEnvelope(buf[:0], p.Envelope), p)
	}
}

func BenchmarkParseParts(b *testing.B) {
	encoded := AppendParts(nil, parse(letter(4<<10)))
	b.ReportMetric(float64(len(encoded)), "octets")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseParts(encoded); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkConvert: octets of the message as it was, in a second.
func BenchmarkConvert(b *testing.B) {
	text := "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" + strings.Repeat("Some words, and one of them is жук.\r\n", 30_000)
	image := "MIME-Version: 1.0\r\nContent-Type: image/x\r\n\r\n" + strings.Repeat("\x00\x01\xfe\xff", 300_000)
	for name, c := range map[string]struct {
		message string
		form    Form
	}{"as it is": {text, Form{}}, "quoted-printable": {text, Form{SevenBit: true}}, "base64": {image, Form{}}} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(c.message)))
			b.ReportAllocs()
			for b.Loop() {
				if err := Convert(io.Discard, strings.NewReader(c.message), int64(len(c.message)), c.form); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
