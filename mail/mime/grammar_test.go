package mime

import (
	"fmt"
	"strconv"
	"strings"
)

// grammar checks text against productions of RFC 9051 §9, strictly. A failed check panics with what was expected.
type grammar struct{ s string }

// matches tells whether the whole text is the production.
func matches(text []byte, production func(*grammar)) (err error) {
	g := &grammar{string(text)}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v at %.60q of %.400q", r, g.s, text)
		}
	}()
	production(g)
	if g.s != "" {
		panic("end")
	}
	return nil
}

func (g *grammar) is(s string) bool { return strings.HasPrefix(g.s, s) }

func (g *grammar) token(s string) {
	if !g.is(s) {
		panic(s)
	}
	g.s = g.s[len(s):]
}

func (g *grammar) try(s string) bool {
	if g.is(s) {
		g.token(s)
		return true
	}
	return false
}

func (g *grammar) sp() { g.token(" ") }

func (g *grammar) number() int64 {
	end := strings.IndexFunc(g.s, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(g.s)
	}
	n, err := strconv.ParseInt(g.s[:end], 10, 63)
	if err != nil {
		panic("number")
	}
	g.s = g.s[end:]
	return n
}

// str is quoted or literal. Quoted strings of this house are printable ASCII only.
func (g *grammar) str() string {
	if g.try("{") {
		n := g.number()
		g.token("}\r\n")
		if int64(len(g.s)) < n || strings.IndexByte(g.s[:n], 0) >= 0 {
			panic("literal")
		}
		s := g.s[:n]
		g.s = g.s[n:]
		return s
	}
	g.token(`"`)
	var b []byte
	for {
		if g.s == "" {
			panic(`"`)
		}
		c := g.s[0]
		g.s = g.s[1:]
		switch {
		case c == '"':
			return string(b)
		case c == '\\':
			if !g.is(`"`) && !g.is(`\`) {
				panic("quoted-specials")
			}
			c = g.s[0]
			g.s = g.s[1:]
		case c < ' ' || c > '~':
			panic("QUOTED-CHAR")
		}
		b = append(b, c)
	}
}

func (g *grammar) nstring() {
	if !g.try("NIL") {
		g.str()
	}
}

func (g *grammar) envelope() {
	g.token("(")
	g.nstring()
	g.sp()
	g.nstring()
	for range 6 {
		g.sp()
		g.addresses()
	}
	g.sp()
	g.nstring()
	g.sp()
	g.nstring()
	g.token(")")
}

func (g *grammar) addresses() {
	if g.try("NIL") {
		return
	}
	g.token("(")
	inGroup := false
	for once := true; once || g.is("("); once = false {
		g.token("(")
		name := !g.is("NIL")
		g.nstring()
		g.token(" NIL ")
		mailbox := !g.is("NIL")
		g.nstring()
		g.sp()
		host := !g.is("NIL")
		g.nstring()
		g.token(")")
		if !host { // a mark around a group
			if name || mailbox == inGroup {
				panic("group")
			}
			inGroup = mailbox
		} else if !mailbox {
			panic("addr-mailbox")
		}
	}
	if inGroup {
		panic("end of group")
	}
	g.token(")")
}

func (g *grammar) body() { g.bodyOf(false) }

func (g *grammar) bodyStructure() { g.bodyOf(true) }

func (g *grammar) bodyOf(extended bool) {
	g.token("(")
	if g.is("(") {
		for g.is("(") {
			g.bodyOf(extended)
		}
		g.sp()
		g.str()
		if extended {
			g.sp()
			g.params()
		}
	} else {
		g.single(extended)
	}
	if extended {
		g.sp()
		g.disposition()
		g.sp()
		g.languages()
		g.sp()
		g.nstring()
	}
	g.token(")")
}

func (g *grammar) single(extended bool) {
	typ := g.str()
	g.sp()
	sub := g.str()
	if typ == "" || sub == "" || typ == "multipart" {
		panic("media type")
	}
	g.sp()
	g.params()
	g.sp()
	g.nstring()
	g.sp()
	g.nstring()
	g.sp()
	g.str()
	g.sp()
	g.number()
	isMessage := typ == "message" && (sub == "rfc822" || sub == "global")
	if isMessage {
		g.sp()
		g.envelope()
		g.sp()
		g.bodyOf(extended)
	}
	if isMessage || typ == "text" {
		g.sp()
		g.number()
	}
	if extended {
		g.sp()
		g.nstring()
	}
}

func (g *grammar) params() {
	if g.try("NIL") {
		return
	}
	g.token("(")
	for once := true; once || g.try(" "); once = false {
		g.str()
		g.sp()
		g.str()
	}
	g.token(")")
}

func (g *grammar) disposition() {
	if g.try("NIL") {
		return
	}
	g.token("(")
	g.str()
	g.sp()
	g.params()
	g.token(")")
}

func (g *grammar) languages() {
	if !g.is("(") {
		g.nstring()
		return
	}
	g.token("(")
	for once := true; once || g.try(" "); once = false {
		g.str()
	}
	g.token(")")
}
