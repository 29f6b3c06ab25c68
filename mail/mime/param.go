package mime

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// piece is a parameter as written: a whole one, or a section of one by RFC 2231.
type piece struct {
	name    string // lower case, without section and asterisks
	section int    // RFC 2231 §3; 0 also if there is only one
	starred bool   // RFC 2231 was used in the name
	encoded bool   // RFC 2231 §4: the value is percent-encoded
	value   []byte
}

// readParams reads `*(";" name "=" value)`, with whatever is wrong with it passed over.
func readParams(k *keeper, v []byte) []Param {
	var pieces []piece
	for len(pieces) < MaxParams {
		semi := bytes.IndexByte(v, ';')
		if semi < 0 {
			break
		}
		var name []byte
		name, v = cutWord(v[semi+1:])
		if len(v) == 0 || v[0] != '=' {
			continue
		}
		var value []byte
		value, v = cutValue(v[1:])
		if len(name) > 0 && len(value) <= MaxParam {
			pieces = append(pieces, makePiece(name, value))
		}
	}
	return joinPieces(k, pieces)
}

// cutValue cuts a parameter's value: a quoted string, or everything up to the next semicolon, since unquoted values with spaces and
// parentheses in them are common. A comment counts as one only where it stands apart, before the value or at its end.
func cutValue(v []byte) (value, rest []byte) {
	v = bytes.TrimLeft(v, lineSpace)
	if len(v) > 0 && v[0] == '(' {
		if after := v[commentEnd(v):]; len(after) > 0 && bytes.IndexByte([]byte(lineSpace), after[0]) >= 0 {
			v = bytes.TrimLeft(after, lineSpace)
		}
	}
	if len(v) > 0 && v[0] == '"' {
		return cutQuoted(v)
	}
	end := bytes.IndexByte(v, ';')
	if end < 0 {
		end = len(v)
	}
	value, rest = AppendUnfolded(nil, v[:end]), v[end:]
	if comment := bytes.Index(value, []byte(" (")); comment >= 0 && len(skipSpace(value[comment:])) == 0 {
		value = bytes.TrimRight(value[:comment], " ")
	}
	return value, rest
}

// lineSpace is white space and line ends.
const lineSpace = " \t\r\n"

// cutQuoted reads the quoted string v begins with (RFC 5322 §3.2.4). One that does not end goes to the end of v.
func cutQuoted(v []byte) (value, rest []byte) {
	for i := 1; i < len(v); i++ {
		switch c := v[i]; c {
		case '"':
			return value, v[i+1:]
		case '\r', '\n', 0:
			continue
		case '\\':
			if i++; i < len(v) && v[i] != '\r' && v[i] != '\n' && v[i] != 0 {
				value = append(value, v[i])
			}
		default:
			value = append(value, c)
		}
	}
	return value, nil
}

// makePiece takes the name apart: `name`, `name*`, `name*0`, `name*0*`.
func makePiece(name, value []byte) piece {
	p := piece{value: value}
	s := strings.ToLower(string(name[:min(len(name), MaxParam)]))
	base, section, starred := strings.Cut(s, "*")
	if !starred || base == "" {
		p.name = s
		return p
	}
	number, encoded := strings.CutSuffix(section, "*")
	p.name, p.starred, p.encoded = base, true, encoded || section == ""
	if number == "" {
		return p
	}
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 {
		return piece{name: s, value: value}
	}
	p.section = n
	return p
}

// joinPieces makes parameters, in the order their names first stand. Sections of RFC 2231 join, and go before a plain parameter of
// the same name, which is there for those who cannot read them.
func joinPieces(k *keeper, pieces []piece) []Param {
	starred := make(map[string][]piece)
	for _, p := range pieces {
		if p.starred {
			starred[p.name] = append(starred[p.name], p)
		}
	}
	var params []Param
	done := make(map[string]bool)
	for _, p := range pieces {
		if done[p.name] {
			continue
		}
		done[p.name] = true
		value := p.value
		if sections := starred[p.name]; sections != nil {
			value = joinSections(sections)
		}
		if len(value) > MaxParam {
			continue
		}
		if name := k.keep([]byte(p.name)); name != "" {
			params = append(params, Param{name, k.keep(value)})
		}
	}
	return params
}

// joinSections joins the sections in their order, as far as none is missing, and decodes them: RFC 2231 §4.1.
func joinSections(sections []piece) []byte {
	slices.SortStableFunc(sections, func(a, b piece) int { return cmp.Compare(a.section, b.section) })
	var value []byte
	charset, next := "", 0
	for i, s := range sections {
		if i > 0 && s.section != next {
			break
		}
		next = s.section + 1
		if !s.encoded {
			value = append(value, s.value...)
			continue
		}
		text := s.value
		if i == 0 {
			if parts := bytes.SplitN(text, []byte{'\''}, 3); len(parts) == 3 {
				charset, text = string(parts[0]), parts[2]
			}
		}
		value = appendPercentDecoded(value, text)
	}
	if decoded, ok := appendUTF8(nil, charset, value); ok {
		return decoded
	}
	return value
}

func appendPercentDecoded(b, text []byte) []byte {
	for i := 0; i < len(text); i++ {
		if text[i] == '%' && i+2 < len(text) {
			if hi, lo := unhex(text[i+1]), unhex(text[i+2]); hi >= 0 && lo >= 0 {
				b = append(b, byte(hi<<4|lo))
				i += 2
				continue
			}
		}
		b = append(b, text[i])
	}
	return b
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
