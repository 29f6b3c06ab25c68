package dsn

import (
	"strings"
	"testing"

	phmail "posthouse/mail"
)

// FuzzReport: whatever others said, a notice has three parts, and as many groups of fields as it has recipients and one.
func FuzzReport(f *testing.F) {
	f.Add("550 no", "mail.south.test", "rfc822;bob", "A: b\r\n\r\nbody\r\n", "1@north.test", false)
	f.Add("\r\n\r\nAction: delivered", "\r\n", ";", "", "<>", true)
	f.Add("\xff\x00", "é", "utf-8;é", "é: é\r\n", "é", true)
	f.Add(strings.Repeat("x", 3000), strings.Repeat("y", 3000), "rfc822;"+strings.Repeat("\u00e9", 3000), "", "", true)
	f.Fuzz(func(t *testing.T, diagnostic, remote, original, content, messageID string, utf8 bool) {
		if !phmail.IsASCII(content) || strings.ContainsAny(content, "\r\n") {
			content = "A: b\r\n\r\nbody\r\n" // the queue holds nothing but CRLF, and reading parts back needs text
		}
		r := report(t, func(r *Report) {
			r.Original.UTF8, r.Original.MessageID, r.Original.Return = utf8, messageID, phmail.ReturnHeaders
			r.Recipients[0].Diagnostic, r.Recipients[0].RemoteMTA, r.Recipients[0].Original = diagnostic, remote, original
			r.Content = strings.NewReader(content)
		})
		p := parse(t, compose(t, r))
		if len(p.parts) != 3 {
			t.Fatalf("%d parts", len(p.parts))
		}
		if g := groups(t, p.parts[1]); len(g) != 2 || g[1].Get("Final-Recipient") != "rfc822; nobody@south.test" {
			t.Errorf("%v", g)
		}
	})
}
