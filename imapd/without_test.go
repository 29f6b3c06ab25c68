package imapd

import (
	"slices"
	"testing"
)

// Without any one of the optional extensions there is a server, and what needs the one is gone with it.
func TestWithoutEach(t *testing.T) {
	all := newTable(extensions(&Limits{}))
	optional := Optional()
	for _, name := range optional {
		left := all.without([]string{name})
		for _, e := range left.extensions {
			if e.name == name || e.needs == name {
				t.Errorf("%s is there without %s", e.name, name)
			}
		}
		for _, c := range []string{"CAPABILITY", "LOGIN", "SELECT", "UID FETCH"} {
			if left.commands[c] == nil {
				t.Errorf("%s is gone with %s", c, name)
			}
		}
	}
	if least := all.without(optional); len(least.extensions) != len(all.extensions)-len(optional) {
		t.Errorf("%d extensions are left", len(least.extensions))
	}
	for _, e := range all.extensions {
		if e.needs != "" && !slices.Contains(optional, e.needs) {
			t.Errorf("%s needs %s, which is none of them", e.name, e.needs)
		}
	}
}
