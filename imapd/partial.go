package imapd

import (
	"strconv"
)

// partialResults is PARTIAL: RFC 9394.
func partialResults() extension {
	return extension{
		name: "PARTIAL", rfc: "RFC 9394",
		returns: []searchOption{{"PARTIAL", func(p *parser, c *searchCommand) bool { return p.part(&c.part) }}},
		fetches: []fetchModifier{{"PARTIAL", func(p *parser, c *fetchCommand) bool {
			return (c.by == byUID || p.Refuse(errOption)) && p.part(&c.part) // §3.3: an extension of UID FETCH
		}}},
	}
}

// part is some of the messages that were found, counted from 1, or backwards from the last: RFC 9394 §3.1.
type part struct {
	first, last uint32 // in order; 0: all
	backwards   bool
	text        string // as it was asked for
}

// part decodes a space and a partial-range.
func (p *parser) part(r *part) bool {
	if r.first != 0 {
		return p.Refuse(errTwoParts)
	}
	var a, b uint32
	r.backwards = p.SP() && p.At('-')
	minus := func() bool { return !r.backwards || p.Special('-') }
	if !(minus() && p.NZNumber(&a) && p.Special(':') && minus() && p.NZNumber(&b)) {
		return false
	}
	r.first, r.last = min(a, b), max(a, b)
	sign := ""
	if r.backwards {
		sign = "-"
	}
	r.text = sign + strconv.FormatUint(uint64(a), 10) + ":" + sign + strconv.FormatUint(uint64(b), 10)
	return true
}

// bounds are those of the part of so many.
func (r *part) bounds(n int) (from, to int) {
	switch {
	case r.first == 0:
		return 0, n
	case r.backwards:
		return max(n-int(r.last), 0), max(n-int(r.first)+1, 0)
	}
	return min(int(r.first)-1, n), min(int(r.last), n)
}

// scores are those of the part.
func (r *part) scores(all []int) []int {
	from, to := r.bounds(len(all))
	return all[from:max(from, to)]
}

// size is how many messages it asks for; 0: all.
func (r *part) size() int {
	if r.first == 0 {
		return 0
	}
	return int(r.last-r.first) + 1
}

// of is the part of a selection.
func (r *part) of(sel selection) selection {
	if r.first == 0 {
		return sel
	}
	from, to := r.bounds(sel.len())
	var some selection
	at := 0
	for _, s := range sel {
		first, last := max(from-at, 0), min(to-at, s.to-s.from)
		if first < last {
			some = append(some, span{s.from + first, s.from + last})
		}
		at += s.to - s.from
	}
	return some
}
