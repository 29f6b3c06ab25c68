package mailbox

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// The operations of sets are those of their members.
func TestUIDSets(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	random := func() (set UIDSet, members [40]bool) {
		var ranges []UIDRange
		for range r.IntN(6) {
			first := UID(1 + r.IntN(38))
			last := min(first+UID(r.IntN(6)), 39)
			ranges = append(ranges, UIDRange{first, last})
			for uid := first; uid <= last; uid++ {
				members[uid] = true
			}
		}
		return NewUIDSet(ranges...), members
	}
	check := func(what string, set UIDSet, members [40]bool) {
		t.Helper()
		var want UIDSet
		for uid, is := range members {
			if is {
				want = want.Append(UID(uid))
			}
		}
		if !slices.Equal(set, want) {
			t.Fatalf("%s is %v, not %v", what, set, want)
		}
	}
	for range 20_000 {
		a, inA := random()
		b, inB := random()
		check("a set", a, inA)
		var both, rest [40]bool
		for i := range both {
			both[i], rest[i] = inA[i] && inB[i], inA[i] && !inB[i]
		}
		check("the intersection of "+a.String()+" and "+b.String(), a.Intersect(b), both)
		check(a.String()+" minus "+b.String(), a.Minus(b), rest)
	}
	if all := AllUIDs(); len(all.Minus(all)) != 0 || all.Intersect(all).String() != all.String() || all.Minus(UIDSet{{2, ^UID(0)}}).String() != "1" {
		t.Error("the greatest UID")
	}
}
