package stage

import (
	"strings"

	"github.com/emersion/go-msgauth/authres"
)

// AppendResults adds the Authentication-Results field of a host to b, a result on each line: RFC 8601 §2.2.
func AppendResults(b []byte, hostname string, results []authres.Result) []byte {
	b = append(b, "Authentication-Results: "...)
	b = append(b, hostname...)
	for _, r := range results {
		b = append(b, ";\r\n\t"...)
		text, _ := strings.CutPrefix(authres.Format("", []authres.Result{r}), "; ")
		b = append(b, strings.TrimRight(text, " ")...)
	}
	return append(b, "\r\n"...)
}

const maxValue = 300 // octets of a stranger's word in a field or a reply of ours

// clean makes a stranger's word safe in a quoted string, a header field and a reply: no controls, quotes or backslashes.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r < ' ' || r == 0x7f || r == '"' || r == '\\':
			return -1
		case 0x80 <= r && r < 0xa0 || r == '\u2028' || r == '\u2029':
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	if len(s) > maxValue {
		s = strings.ToValidUTF8(s[:maxValue], "")
	}
	return s
}
