package imapd

import (
	"bufio"
	"io"
	"slices"
	"strconv"
	"strings"
)

// datum is a piece of a response: a list, or a text.
type datum struct {
	text string
	list []datum // nil: it is a text
}

// readResponse reads a response with its literals, and the CRLF at its end.
func readResponse(r *bufio.Reader) (string, error) {
	var raw strings.Builder
	for {
		line, err := r.ReadString('\n')
		raw.WriteString(line)
		m := literalForm.FindStringSubmatch(line)
		if err != nil || m == nil {
			return raw.String(), err
		}
		size, err := strconv.ParseInt(m[1], 10, 64)
		if err != nil {
			return raw.String(), err
		}
		if _, err := io.CopyN(&raw, r, size); err != nil {
			return raw.String(), err
		}
	}
}

// parseResponse takes a response apart; false: it is not well-formed.
func parseResponse(raw string) ([]datum, bool) {
	s, ok := strings.CutSuffix(raw, "\r\n")
	list, rest, ok2 := parseData(s)
	return list, ok && ok2 && rest == ""
}

// parseData parses up to the end or a closing parenthesis.
func parseData(s string) (list []datum, rest string, ok bool) {
	list = []datum{}
	for s != "" && s[0] != ')' {
		var d datum
		switch s[0] {
		case ' ':
			s = s[1:]
			continue
		case '(':
			if d.list, s, ok = parseData(s[1:]); !ok || s == "" {
				return nil, "", false
			}
			s = s[1:]
		case '"':
			end := strings.IndexByte(s[1:], '"') // nothing that is asked for has one inside
			if end < 0 {
				return nil, "", false
			}
			d.text, s = s[1:end+1], s[end+2:]
		case '{':
			size, after, found := strings.Cut(s[1:], "}\r\n")
			n, err := strconv.Atoi(size)
			if !found || err != nil || n > len(after) {
				return nil, "", false
			}
			d.text, s = after[:n], after[n:]
		default:
			end := strings.IndexAny(s, " ()")
			if end < 0 {
				end = len(s)
			}
			d.text, s = s[:end], s[end:]
		}
		list = append(list, d)
	}
	return list, s, true
}

// pairs are the names and values of a list like that of FETCH.
func pairs(list []datum) map[string]datum {
	values := map[string]datum{}
	for i := 0; i+1 < len(list); i += 2 {
		values[list[i].text] = list[i+1]
	}
	return values
}

// number is a datum as a number; -1 if it is none.
func (d datum) number() int64 {
	n, err := strconv.ParseInt(d.text, 10, 64)
	if err != nil || d.list != nil {
		return -1
	}
	return n
}

// parseNumbers is what a set such as "1:3,5" names, in its order; nil if it is none.
func parseNumbers(s string) (numbers []int64) {
	for part := range strings.SplitSeq(s, ",") {
		first, last, isRange := strings.Cut(part, ":")
		if !isRange {
			last = first
		}
		a, err := strconv.ParseInt(first, 10, 64)
		b, err2 := strconv.ParseInt(last, 10, 64)
		if err != nil || err2 != nil || a > b || b-a > 10_000 {
			return nil
		}
		for n := a; n <= b; n++ {
			numbers = append(numbers, n)
		}
	}
	return numbers
}

// canonical is a set of flags in one way of writing: keywords have no case.
func canonical(flags []string) string {
	var lower []string
	for _, f := range flags {
		if f != "" {
			lower = append(lower, strings.ToLower(f))
		}
	}
	slices.Sort(lower)
	return strings.Join(slices.Compact(lower), " ")
}

// flagsOf is a list of flags in that way.
func flagsOf(d datum) string {
	var words []string
	for _, f := range d.list {
		words = append(words, f.text)
	}
	return canonical(words)
}
