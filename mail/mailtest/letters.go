package mailtest

import (
	"encoding/base64"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
)

// Letters makes messages like real ones: sizes spread about a median of 8 KiB, words spread as in a language, signatures, links, HTML beside
// plain text, attachments.
type Letters struct {
	rand  *rand.Rand
	words []string
	zipf  *rand.Zipf
}

// NewLetters makes always the same.
func NewLetters() *Letters {
	r := rand.New(rand.NewPCG(1, 2))
	l := &Letters{rand: r}
	syllables := strings.Fields("the an er in ter con re de pro al is on ment tion ing ed ly str ou gh ea th wo ri ka lo mi ves or du pra sel go ra tum be chi fo nal")
	for len(l.words) < 60_000 {
		w := ""
		for range 1 + r.IntN(4) {
			w += syllables[r.IntN(len(syllables))]
		}
		l.words = append(l.words, w)
	}
	l.zipf = rand.NewZipf(r, 1.15, 3, uint64(len(l.words)-1))
	return l
}

func (l *Letters) text(b *strings.Builder, size int, line string) {
	for end, column := b.Len()+size, 0; b.Len() < end; column++ {
		b.WriteString(l.words[l.zipf.Uint64()])
		b.WriteString([]string{" ", " ", " ", " ", ", ", ". "}[l.rand.IntN(6)])
		if column%12 == 11 {
			b.WriteString(line)
		}
	}
	b.WriteString("\r\n")
}

func (l *Letters) noise(n int) string {
	raw := make([]byte, n)
	for i := range raw {
		raw[i] = byte(l.rand.Uint32())
	}
	return base64.StdEncoding.EncodeToString(raw)
}

// Message is the next one, with the text in it.
func (l *Letters) Message(text string) string {
	size := min(max(int(math.Exp(l.rand.NormFloat64()*1.3)*8192), 1500), 3<<20)
	var b strings.Builder
	host := fmt.Sprintf("host%d.example", l.rand.IntN(300))
	fmt.Fprintf(&b, "Received: from mx.%s (mx.%s [192.0.2.%d]) by in.south.test with ESMTPS id %s; Tue, 3 Mar 2026 10:11:12 +0000\r\n", host, host, l.rand.IntN(250), l.noise(9))
	fmt.Fprintf(&b, "DKIM-Signature: v=1; a=rsa-sha256; d=%s; s=k1;\r\n bh=%s;\r\n b=%s\r\n", host, l.noise(32), l.noise(256))
	fmt.Fprintf(&b, "From: Person %d <u%d@%s>\r\nTo: Bob <bob@south.test>\r\nMessage-ID: <%x.%x@%s>\r\nSubject: ", l.rand.IntN(500), l.rand.IntN(5000), host, l.rand.Uint64(), l.rand.Uint32(), host)
	l.text(&b, 40, "")
	b.WriteString("MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=mix\r\n\r\n--mix\r\nContent-Type: multipart/alternative; boundary=alt\r\n\r\n--alt\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n")
	shown := min(size/3, 2000+l.rand.IntN(30_000))
	l.text(&b, shown, "\r\n")
	b.WriteString(text + "\r\n--alt\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<html><body>")
	l.text(&b, shown, fmt.Sprintf("</p>\r\n<p style=3D\"color:#%06x\"><a href=3D\"https://%s/c/%s\">", l.rand.IntN(1<<24), host, l.noise(60)))
	b.WriteString("\r\n--alt--\r\n")
	if room := size - b.Len(); room > 1000 {
		b.WriteString("--mix\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n")
		for ; room > 0; room -= 78 {
			b.WriteString(l.noise(57) + "\r\n")
		}
	}
	b.WriteString("--mix--\r\n")
	return b.String()
}
