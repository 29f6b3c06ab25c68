package smtp

import (
	"fmt"
	"slices"
	"strings"
)

// Attribute is one word of XCLIENT or XFORWARD: what a proxy says of the client behind it. The commands are Postfix's
// (XCLIENT_README, XFORWARD_README).
type Attribute struct {
	Name  string // in upper case
	Value string // decoded; empty if it is not known
	// Known tells a value from "[UNAVAILABLE]" and "[TEMPUNAVAIL]".
	Known Knowledge
}

// Knowledge is what a proxy knows of an attribute.
type Knowledge uint8

// The states of an attribute.
const (
	Known           Knowledge = iota
	Unavailable               // it does not exist
	TempUnavailable           // it could not be found out
)

// unknowns are the words for what is not known.
var unknowns = map[string]Knowledge{"[UNAVAILABLE]": Unavailable, "[TEMPUNAVAIL]": TempUnavailable}

// maxAttributes is how many words one command may have: all there are, and some again.
const maxAttributes = 20

// ParseAttributes reads NAME=value words with values in xtext; names are those that are taken.
func ParseAttributes(args []byte, names []string) ([]Attribute, error) {
	var all []Attribute
	for word := range strings.FieldsSeq(string(args)) {
		name, value, ok := strings.Cut(word, "=")
		a := Attribute{Name: strings.ToUpper(name)}
		if !ok || !slices.Contains(names, a.Name) || len(all) == maxAttributes {
			return nil, fmt.Errorf("%w: attribute %q", ErrSyntax, word)
		}
		if a.Known, ok = unknowns[strings.ToUpper(value)]; !ok {
			if a.Value, ok = parseXtext(value); !ok || value == "" {
				return nil, fmt.Errorf("%w: attribute %q", ErrSyntax, word)
			}
		}
		all = append(all, a)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%w: no attribute", ErrSyntax)
	}
	return all, nil
}
