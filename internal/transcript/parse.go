package transcript

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// step is one line of the dialogue, or a group of lines that belong together.
type step struct {
	line  int
	text  string // as written, for messages
	play  func(*player, step) error
	peer  string
	arg   string
	match func(*player, string) (*regexp.Regexp, error) // of an expected line: how arg becomes a regexp
	group []step                                        // of consecutive S* lines
	next  *step                                         // of S...: the expectation it looks for
	body  []step                                        // of repeat, with times
	times int
}

// operators are what may follow "C" and "S" and the peer's number; S... has no play of its own, it joins the step after it.
var operators = map[string]step{
	"C:":   {play: (*player).sendLine},
	"C=":   {play: (*player).sendQuoted},
	"C<":   {play: (*player).sendFileLines},
	"C<=":  {play: (*player).sendFile},
	"C!":   {play: (*player).act},
	"S:":   {play: (*player).expectLine, match: (*player).pattern},
	"S~":   {play: (*player).expectLine, match: (*player).regexpOf},
	"S*:":  {play: (*player).expectGroup, match: (*player).pattern},
	"S*~":  {play: (*player).expectGroup, match: (*player).regexpOf},
	"S=":   {play: (*player).expectQuoted},
	"S<":   {play: (*player).expectFileLines},
	"S...": {},
	"S!":   {play: (*player).expectEnd},
}

var stepForm = regexp.MustCompile(`^([CS])([0-9]*)(:|=|<=|<|!|~|\*:|\*~|\.\.\.)(?: (.*))?$`)

func (s *Script) parseSteps(lines []string) ([]step, error) {
	var steps []step
	for i := 0; i < len(lines); i++ {
		st := step{line: i + 1, text: strings.TrimSuffix(lines[i], "\r")}
		word, rest, _ := strings.Cut(st.text, " ")
		switch {
		case strings.TrimSpace(st.text) == "" || word[0] == '#':
			continue
		case word == "setting":
			name, value, _ := strings.Cut(rest, " ")
			s.Settings[name] = value
			continue
		case word == "repeat":
			n, err := s.parseRepeat(&st, rest, lines[i+1:])
			if err != nil {
				return nil, err
			}
			renumber(st.body, i+1)
			i += n
		default:
			if err := s.parseDialogue(&st); err != nil {
				return nil, err
			}
		}
		steps = join(steps, st)
	}
	if last := len(steps) - 1; last >= 0 && steps[last].play == nil {
		return nil, fmt.Errorf("%s:%d: %w: nothing follows \"S...\"", s.Name, steps[last].line, errScript)
	}
	return steps, nil
}

// join appends a step, or makes it part of the one before: a member of a group of S* lines, or what S... looks for.
func join(steps []step, st step) []step {
	isGroup := strings.HasPrefix(strings.TrimLeft(st.text, "S0123456789"), "*")
	if isGroup {
		st.group = []step{st}
	}
	if len(steps) == 0 {
		return append(steps, st)
	}
	last := &steps[len(steps)-1]
	switch {
	case last.play == nil && st.match != nil && last.peer == st.peer:
		*last = step{line: st.line, text: st.text, peer: st.peer, play: (*player).skipTo, next: &st}
	case isGroup && last.group != nil && last.peer == st.peer:
		last.group = append(last.group, st)
	default:
		steps = append(steps, st)
	}
	return steps
}

// renumber makes line numbers those of the file.
func renumber(steps []step, by int) {
	for i := range steps {
		steps[i].line += by
		renumber(steps[i].body, by)
		renumber(steps[i].group, by)
		if steps[i].next != nil {
			steps[i].next.line += by
		}
	}
}

func (s *Script) parseRepeat(st *step, count string, lines []string) (consumed int, err error) {
	st.times, err = strconv.Atoi(strings.TrimSpace(count))
	if err != nil || st.times < 1 {
		return 0, fmt.Errorf("%s:%d: %w: repeat wants a count", s.Name, st.line, errScript)
	}
	depth := 1
	for i, l := range lines {
		word, _, _ := strings.Cut(strings.TrimSpace(l), " ")
		switch word {
		case "repeat":
			depth++
		case "end":
			depth--
		}
		if depth == 0 {
			st.play = (*player).repeat
			st.body, err = s.parseSteps(lines[:i])
			return i + 1, err
		}
	}
	return 0, fmt.Errorf("%s:%d: %w: repeat without end", s.Name, st.line, errScript)
}

func (s *Script) parseDialogue(st *step) error {
	m := stepForm.FindStringSubmatch(st.text)
	if m == nil {
		return fmt.Errorf("%s:%d: %w: %q", s.Name, st.line, errScript, st.text)
	}
	operator, ok := operators[m[1]+m[3]]
	if !ok {
		return fmt.Errorf("%s:%d: %w: there is no %s%s", s.Name, st.line, errScript, m[1], m[3])
	}
	st.peer, st.arg, st.play, st.match = m[2], m[4], operator.play, operator.match
	if m[3][0] == '<' {
		if _, ok := s.files[st.arg]; !ok {
			return fmt.Errorf("%s:%d: %w: no file %q in the archive", s.Name, st.line, errScript, st.arg)
		}
	}
	return nil
}

// crlf is a file as it goes over the wire: txtar keeps LF.
func crlf(data []byte) []byte {
	return bytes.ReplaceAll(bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
}
