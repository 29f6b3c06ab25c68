package mta

import "testing"

// Every verb of every kind of server has its syntax.
func TestEveryVerbIsExplained(t *testing.T) {
	for kind := range kinds {
		o := testOptions(t)
		o.Kind = Kind(kind)
		s, err := NewServer(o)
		if err != nil {
			t.Fatal(err)
		}
		for name := range s.verbs {
			if syntaxes[name] == "" {
				t.Errorf("%s: nothing about %s", o.Kind, name)
			}
		}
	}
}
