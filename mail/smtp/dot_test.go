package smtp

import (
	"bytes"
	"testing"
)

func TestDotWriter(t *testing.T) {
	for in, want := range map[string]string{
		"":                      ".\r\n",
		"a\r\n":                 "a\r\n.\r\n",
		"a":                     "a\r\n.\r\n",
		".":                     "..\r\n.\r\n",
		".\r\n":                 "..\r\n.\r\n",
		"a\r\n.b\r\n..c\r\nd.e": "a\r\n..b\r\n...c\r\nd.e\r\n.\r\n",
		"\r\n.\r\n.\r\n":        "\r\n..\r\n..\r\n.\r\n",
	} {
		for chunk := 1; chunk <= len(in)+1; chunk++ { // a line may begin at every write's start
			var b bytes.Buffer
			d := NewDotWriter(&b)
			for p := []byte(in); len(p) > 0; {
				n := min(chunk, len(p))
				if _, err := d.Write(p[:n]); err != nil {
					t.Fatal(err)
				}
				p = p[n:]
			}
			if err := d.Close(); err != nil || b.String() != want {
				t.Errorf("%q in chunks of %d: %q, %v; want %q", in, chunk, b.String(), err, want)
			}
		}
	}
}
