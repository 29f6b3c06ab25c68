package wire

// Star is "*", the greatest number in use.
const Star = 0

// Range is the numbers from First to Last, in ascending order. Last may be Star, and both are if the range is "*" alone.
type Range struct{ First, Last uint32 }

// Set is a sequence set of RFC 9051 §9: of sequence numbers or UIDs, as the command has it.
type Set struct {
	Ranges []Range // in the order sent, not merged
	Saved  bool    // "$": the result of the last search that was saved (RFC 9051 §6.4.4.1)
}

// Set decodes a sequence set.
func (d *Decoder) Set(s *Set) bool {
	*s = Set{}
	if d.At('$') {
		d.pos++
		s.Saved = true
		return true
	}
	for {
		var r Range
		if !d.seqNumber(&r.First) {
			return d.missing("a sequence set")
		}
		r.Last = r.First
		if d.At(':') {
			d.pos++
			if !d.seqNumber(&r.Last) {
				return d.missing("a sequence set")
			}
		}
		if r.First == Star || r.Last != Star && r.First > r.Last { // "2:4 and 4:2 are equivalent": RFC 9051 §9 seq-range.
			r.First, r.Last = r.Last, r.First
		}
		s.Ranges = append(s.Ranges, r)
		if !d.At(',') {
			return true
		}
		d.pos++
	}
}

func (d *Decoder) seqNumber(n *uint32) bool {
	if d.At('*') {
		d.pos++
		*n = Star
		return true
	}
	return d.NZNumber(n)
}
