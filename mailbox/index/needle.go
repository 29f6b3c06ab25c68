package index

import (
	"cmp"
	"slices"
	"unicode/utf8"
)

// maxTerms is how many words of a text are looked up, the longest.
const maxTerms = 16

// term is a word that any text with the needle has: of a whole word the pattern has the separator on both sides, of the end or the
// beginning of one on that side.
type term struct {
	pattern []byte
	noise   bool     // it may be in noise
	grams   []uint32 // which then has these
}

// terms are those of a text, the longest first; none: the index cannot tell where the text is.
func terms(needle []byte) []term {
	var all []term
	for start := 0; start < len(needle); {
		class, end := run(needle, start)
		switch word := needle[start:end]; class {
		case letter:
			all = append(all, newTerm(word, start > 0, end < len(needle)))
		case unspaced:
			all = append(all, pairs(word)...)
		}
		start = end
	}
	slices.SortStableFunc(all, func(a, b term) int { return cmp.Compare(len(b.pattern), len(a.pattern)) })
	return all[:min(len(all), maxTerms)]
}

// run is the class and the end of the characters of one class from there on.
func run(text []byte, start int) (of class, end int) {
	for end = start; end < len(text); {
		r, n := utf8.DecodeRune(text[end:])
		if c := classOf(r); end == start {
			of = c
		} else if c != of {
			break
		}
		end += n
	}
	return of, end
}

func newTerm(word []byte, begins, ends bool) term {
	t := term{noise: !(begins && ends) || isNoise(word)}
	if begins {
		t.pattern = append(t.pattern, separator)
	}
	t.pattern = append(t.pattern, word...)
	if ends {
		t.pattern = append(t.pattern, separator)
	}
	grams(t.pattern, func(g uint32) { t.grams = append(t.grams, g) })
	return t
}

// pairs are the terms of characters of a script without spaces: each two neighbours, or the only one.
func pairs(text []byte) (all []term) {
	_, first := utf8.DecodeRune(text)
	if first == len(text) {
		return []term{newTerm(text, false, false)}
	}
	for len(text) > first {
		_, second := utf8.DecodeRune(text[first:])
		all = append(all, newTerm(text[:first+second], false, false))
		text, first = text[first:], second
	}
	return all
}
