package transcript

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// A variable's name is lower case, so that "$Forwarded" and a lone "$" stay what they are; "$$" is a dollar.
var (
	reference = regexp.MustCompile(`\$\$|\$[a-z_][a-z0-9_]*|\$\{[a-z][^}]*\}`)
	function  = regexp.MustCompile(`^(repeat|base64|size) (.*)$`)
)

// expand replaces every reference; each variable must be bound.
func (p *player) expand(s string) (string, error) {
	var failed error
	out := reference.ReplaceAllStringFunc(s, func(ref string) string {
		value, err := p.value(ref)
		if err != nil && failed == nil {
			failed = err
		}
		return value
	})
	return out, failed
}

func (p *player) value(ref string) (string, error) {
	if ref == "$$" {
		return "$", nil
	}
	name := refName(ref)
	if m := function.FindStringSubmatch(name); m != nil {
		return p.call(m[1], m[2])
	}
	value, ok := p.vars[name]
	if !ok {
		return "", fmt.Errorf("%w: $%s is not bound", errScript, name)
	}
	return value, nil
}

func refName(ref string) string {
	return strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(ref, "$"), "{"), "}")
}

func (p *player) call(name, arg string) (string, error) {
	switch name {
	case "repeat":
		count, text, _ := strings.Cut(arg, " ")
		n, err := strconv.Atoi(count)
		if err != nil || n < 0 || n*len(text) > maxRepeat {
			return "", fmt.Errorf("%w: repeat %q", errScript, count)
		}
		text, err = unescape(text)
		return strings.Repeat(text, n), err
	case "base64":
		text, err := unescape(arg)
		return base64.StdEncoding.EncodeToString([]byte(text)), err
	default: // size
		data, ok := p.script.files[arg]
		if !ok {
			return "", fmt.Errorf("%w: no file %q in the archive", errScript, arg)
		}
		return strconv.Itoa(len(crlf(data))), nil
	}
}

const maxRepeat = 256 << 20

// unescape reads Go's escapes ("\x00", "\n") without the quotes.
func unescape(s string) (string, error) {
	text, err := strconv.Unquote(`"` + strings.ReplaceAll(s, `"`, `\"`) + `"`)
	if err != nil {
		return "", fmt.Errorf("%w: %q has a bad escape", errScript, s)
	}
	return text, nil
}

// pattern makes a regexp of an expected line: what is not bound yet matches anything and becomes bound; "$_" matches anything.
func (p *player) pattern(s string) (*regexp.Regexp, error) {
	var b strings.Builder
	seen := map[string]bool{}
	for s != "" {
		at := reference.FindStringIndex(s)
		if at == nil {
			b.WriteString(regexp.QuoteMeta(s))
			break
		}
		b.WriteString(regexp.QuoteMeta(s[:at[0]]))
		ref := s[at[0]:at[1]]
		s = s[at[1]:]
		name := refName(ref)
		_, bound := p.vars[name]
		switch {
		case name == "_":
			b.WriteString(`(?s:.*?)`)
		case ref == "$$" || bound || function.MatchString(name):
			value, err := p.value(ref)
			if err != nil {
				return nil, err
			}
			b.WriteString(regexp.QuoteMeta(value))
		case seen[name]:
			return nil, fmt.Errorf("%w: $%s is bound twice in one line", errScript, name)
		default:
			seen[name] = true
			fmt.Fprintf(&b, `(?P<%s>(?s:.+?))`, name)
		}
	}
	return regexp.Compile(`^(?:` + b.String() + `)$`)
}

// regexpOf compiles the regexp of an S~ line: bound variables stand for their quoted values, named groups bind.
func (p *player) regexpOf(s string) (*regexp.Regexp, error) {
	out := reference.ReplaceAllStringFunc(s, func(ref string) string {
		if value, err := p.value(ref); err == nil {
			return regexp.QuoteMeta(value)
		}
		return ref
	})
	re, err := regexp.Compile(`^(?:` + out + `)$`)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errScript, err)
	}
	return re, nil
}

func (p *player) bind(re *regexp.Regexp, match []string) {
	for i, name := range re.SubexpNames() {
		if name != "" {
			p.vars[name] = match[i]
		}
	}
}
