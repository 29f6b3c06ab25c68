package imapd

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// exchange is something that a peer sent or was sent.
type exchange struct {
	peer int
	who  byte // 'C', 'S', or '!': it connected again
	text string
}

func (g *game) record(peer int, who byte, text string) {
	g.script = append(g.script, exchange{peer, who, text})
}

var validityForm = regexp.MustCompile(`(?:UIDVALIDITY|APPENDUID|COPYUID) ([0-9]+)`)

// transcript is the history in the form of testdata/script/README.md, with what the server said. What differs from one run to another are
// variables.
func (g *game) transcript() string {
	replacements := []string{"LOGIN " + g.account, "LOGIN $bob", longLine, fmt.Sprintf("${repeat %d x}", len(longLine))}
	known := map[string]bool{}
	for _, e := range g.script {
		for _, m := range validityForm.FindAllStringSubmatch(e.text, -1) {
			if e.who == 'S' && !known[m[1]] {
				known[m[1]] = true
				replacements = append(replacements, m[1], "$validity"+strings.Repeat("x", len(known)-1))
			}
		}
	}
	general := strings.NewReplacer(replacements...)
	var b strings.Builder
	b.WriteString("# What follows is what was said, not what should have been.\nsetting reference no\n\n")
	for _, e := range g.script {
		number := ""
		if e.peer > 1 {
			number = strconv.Itoa(e.peer)
		}
		name := string(e.who) + number
		text := general.Replace(e.text)
		line, whole := strings.CutSuffix(text, "\r\n")
		tag, rest, _ := strings.Cut(line, " ")
		switch {
		case e.who == '!':
			fmt.Fprintf(&b, "C%[1]s! close\nC%[1]s! dial\n", number)
		case text == "":
		case e.who == 'S' && strings.HasPrefix(rest, "OK [CAPABILITY"):
			fmt.Fprintf(&b, "%s~ %s OK .*\n", name, regexp.QuoteMeta(tag))
		case !whole, e.who == 'S' && strings.Contains(line, "\r\n"), strings.Contains(line, "+}\r\n"):
			fmt.Fprintf(&b, "%s= %q\n", name, text)
		default:
			for l := range strings.SplitSeq(line, "\r\n") {
				fmt.Fprintf(&b, "%s: %s\n", name, l)
			}
		}
	}
	return b.String()
}
