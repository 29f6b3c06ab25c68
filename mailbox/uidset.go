package mailbox

import (
	"iter"
	"slices"
	"strconv"
)

// UIDRange is the UIDs from First to Last, both included.
type UIDRange struct{ First, Last UID }

// UIDSet is a set of UIDs: ascending, disjoint ranges that do not touch.
type UIDSet []UIDRange

// AllUIDs is the set of every UID.
func AllUIDs() UIDSet { return UIDSet{{1, ^UID(0)}} }

// Append adds a UID greater than all in the set.
func (s UIDSet) Append(uid UID) UIDSet {
	if n := len(s); n > 0 && s[n-1].Last+1 == uid {
		s[n-1].Last = uid
		return s
	}
	return append(s, UIDRange{uid, uid})
}

// Contains tells whether uid is a member.
func (s UIDSet) Contains(uid UID) bool {
	lo, hi := 0, len(s)
	for lo < hi {
		if mid := (lo + hi) / 2; s[mid].Last < uid {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo < len(s) && s[lo].First <= uid
}

// NewUIDSet is the set of the UIDs of ranges, which may come in any order and overlap.
func NewUIDSet(ranges ...UIDRange) UIDSet { return UIDSet(slices.Clone(ranges)).sorted() }

// Intersect is what is in both sets.
func (s UIDSet) Intersect(t UIDSet) (both UIDSet) {
	for len(s) > 0 && len(t) > 0 {
		if first, last := max(s[0].First, t[0].First), min(s[0].Last, t[0].Last); first <= last {
			both = append(both, UIDRange{first, last})
		}
		if s[0].Last < t[0].Last {
			s = s[1:]
		} else {
			t = t[1:]
		}
	}
	return both
}

// Minus is what is in s and not in t.
func (s UIDSet) Minus(t UIDSet) (rest UIDSet) {
	for _, r := range s {
		for len(t) > 0 && t[0].Last < r.First {
			t = t[1:]
		}
		for k := 0; k < len(t) && t[k].First <= r.Last; k++ {
			if r.First < t[k].First {
				rest = append(rest, UIDRange{r.First, t[k].First - 1})
			}
			if t[k].Last >= r.Last {
				r.Last, r.First = 0, 1 // nothing is left of it
				break
			}
			r.First = t[k].Last + 1
		}
		if r.First <= r.Last {
			rest = append(rest, r)
		}
	}
	return rest
}

// Len is the number of members.
func (s UIDSet) Len() (n int64) {
	for _, r := range s {
		n += int64(r.Last-r.First) + 1
	}
	return n
}

// UIDs yields the members, ascending.
func (s UIDSet) UIDs() iter.Seq[UID] {
	return func(yield func(UID) bool) {
		for _, r := range s {
			for uid := r.First; ; uid++ {
				if !yield(uid) {
					return
				}
				if uid == r.Last {
					break
				}
			}
		}
	}
}

// String is the set as IMAP writes it: "1:3,5".
func (s UIDSet) String() string {
	var b []byte
	for i, r := range s {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, uint64(r.First), 10)
		if r.Last != r.First {
			b = append(b, ':')
			b = strconv.AppendUint(b, uint64(r.Last), 10)
		}
	}
	return string(b)
}
