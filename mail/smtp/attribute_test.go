package smtp

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

var testNames = []string{"NAME", "ADDR", "PORT", "HELO"}

func TestParseAttributes(t *testing.T) {
	for in, want := range map[string][]Attribute{
		"NAME=a.test addr=192.0.2.1":            {{Name: "NAME", Value: "a.test"}, {Name: "ADDR", Value: "192.0.2.1"}},
		"ADDR=IPV6:2001:db8::1  PORT=25":        {{Name: "ADDR", Value: "IPV6:2001:db8::1"}, {Name: "PORT", Value: "25"}},
		"NAME=[unavailable] HELO=[TEMPUNAVAIL]": {{Name: "NAME", Known: Unavailable}, {Name: "HELO", Known: TempUnavailable}},
		"HELO=a+20b+3Dc":                        {{Name: "HELO", Value: "a b=c"}},
		"HELO=+5BUNAVAILABLE+5D":                {{Name: "HELO", Value: "[UNAVAILABLE]"}},
	} {
		if got, err := ParseAttributes([]byte(in), testNames); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", " ", "NAME", "NAME=", "LOGIN=x", "NAME=a+0D+0Ab", "NAME=a+0", "=x", "NAME=ж", strings.Repeat("NAME=a ", 21)} {
		if got, err := ParseAttributes([]byte(in), testNames); !errors.Is(err, ErrSyntax) {
			t.Errorf("%q: %+v, %v", in, got, err)
		}
	}
}

// formatAttributes is what ParseAttributes reads.
func formatAttributes(all []Attribute) string {
	var words []string
	for _, a := range all {
		value := strings.NewReplacer("[", "+5B").Replace(formatXtext(a.Value))
		for word, known := range unknowns {
			if a.Known == known {
				value = word
			}
		}
		words = append(words, a.Name+"="+value)
	}
	return strings.Join(words, " ")
}

func FuzzParseAttributes(f *testing.F) {
	for _, s := range []string{"NAME=a ADDR=192.0.2.1", "HELO=a+2Bb PORT=[UNAVAILABLE]", "NAME=+5BUNAVAILABLE+5D"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		all, err := ParseAttributes(in, testNames)
		if err != nil {
			return
		}
		wire := formatAttributes(all)
		if again, err := ParseAttributes([]byte(wire), testNames); err != nil || !reflect.DeepEqual(all, again) {
			t.Errorf("%q is %+v, written as %q, which is %+v, %v", in, all, wire, again, err)
		}
	})
}
