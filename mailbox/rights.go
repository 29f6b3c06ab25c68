package mailbox

import (
	"fmt"
	"slices"
	"strings"

	"posthouse/mail"
)

// Limits of access control lists; one over is ErrLimit.
const (
	MaxGrants  = 1000 // of one box
	MaxReaders = 1000 // of one box: users other than the owner for whom it keeps what they have seen
	MaxGrantee = 200  // octets of a Grant's Who; longer ones are ErrGrantee
)

// Rights is a set of the rights of RFC 4314 §2.1.
type Rights uint16

// The rights, in the order in which they are written.
const (
	MayLookUp      Rights = 1 << iota // l: the box is listed
	MayRead                           // r
	MayMarkSeen                       // s: \Seen is kept
	MayWrite                          // w: flags but \Seen and \Deleted
	MayInsert                         // i: messages are added
	MayPost                           // p: nothing here asks for it
	MayCreate                         // k: boxes below it
	MayRemove                         // x: the box itself
	MayMarkDeleted                    // t
	MayExpunge                        // e
	MayAdminister                     // a: the list is read and changed

	AllRights = MayAdminister<<1 - 1
)

// rightLetters are the letters of the rights, in the order of their bits.
const rightLetters = "lrswipkxtea"

// obsoleteRights are what RFC 2086 had for several of ours: RFC 4314 §2.1.1.
var obsoleteRights = map[rune]Rights{'c': MayCreate | MayRemove, 'd': MayMarkDeleted | MayExpunge}

// ParseRights reads letters. False: one of them is no right.
func ParseRights(letters string) (r Rights, ok bool) {
	for _, letter := range letters {
		switch i := strings.IndexRune(rightLetters, letter); {
		case i >= 0:
			r |= 1 << i
		case obsoleteRights[letter] != 0:
			r |= obsoleteRights[letter]
		default:
			return 0, false
		}
	}
	return r, true
}

// String is the letters.
func (r Rights) String() string {
	var b strings.Builder
	for i := range rightLetters {
		if r&(1<<i) != 0 {
			b.WriteByte(rightLetters[i])
		}
	}
	return b.String()
}

// Has tells whether all of some rights are in the set.
func (r Rights) Has(all Rights) bool { return r&all == all }

// Anyone is the Who that is everybody.
const Anyone = "anyone"

// Grant is an entry of an access control list.
type Grant struct {
	// Who is an account's ID, or Anyone; with a "-" before it what it may not, whatever else is granted (RFC 4314 §2).
	Who    string
	Rights Rights
}

// negative is what begins the Who of rights that are taken away.
const negative = "-"

// RightsOf is what somebody other than the owner may do with a box: what is granted to that account and to anyone, but for what is taken
// from one of them.
func (b *Box) RightsOf(who mail.AccountID) (r Rights) {
	var not Rights
	for _, g := range b.ACL {
		name, takes := strings.CutPrefix(g.Who, negative)
		switch {
		case name != Anyone && name != string(who):
		case takes:
			not |= g.Rights
		default:
			r |= g.Rights
		}
	}
	return r &^ not
}

// SetRights changes what one Who is granted in a box: Op says how, as for flags. An entry without rights is none. ErrNoBox, ErrGrantee,
// ErrLimit.
type SetRights struct {
	Box    BoxID
	Who    string
	Op     FlagOp
	Rights Rights
}

func (SetRights) mutation() {}

// isGrantee tells whether somebody can be granted rights: printable ASCII, so that a list can be a line for each.
func isGrantee(who string) bool {
	name := strings.TrimPrefix(who, negative)
	return name != "" && len(who) <= MaxGrantee && !strings.ContainsFunc(who, func(r rune) bool { return r <= ' ' || r > '~' })
}

// setRights changes a box's list, which stays in the order of its names.
func (c *change) setRights(m SetRights) (Result, error) {
	b, err := c.selectable(m.Box)
	if err != nil {
		return Result{}, err
	}
	if !isGrantee(m.Who) {
		return Result{}, fmt.Errorf("%w: %q", ErrGrantee, m.Who)
	}
	i, found := slices.BinarySearchFunc(b.ACL, m.Who, func(g Grant, who string) int { return strings.Compare(g.Who, who) })
	var had Rights
	if found {
		had = b.ACL[i].Rights
	}
	has := Rights(m.Op.apply(Flags(had), Flags(m.Rights))) & AllRights
	if has == had {
		return Result{}, nil
	}
	list := slices.Clone(b.ACL)
	switch {
	case has == 0:
		list = slices.Delete(list, i, i+1)
	case found:
		list[i].Rights = has
	case len(list) >= MaxGrants:
		return Result{}, ErrLimit
	default:
		list = slices.Insert(list, i, Grant{m.Who, has})
	}
	c.edit(m.Box).ACL = list
	return Result{}, nil
}

// inherited is the list that a new box begins with, that of the nearest box above it: RFC 4314 §4 CREATE.
func (l *layer) inherited(name string) []Grant {
	above := levelsAbove(name)
	for i := len(above) - 1; i >= 0; i-- {
		if b := l.byName(above[i]); b != nil && !b.NoSelect {
			return b.ACL
		}
	}
	return nil
}

// formatACL writes a list as its row has it: a line for each entry.
func formatACL(list []Grant) string {
	var b strings.Builder
	for _, g := range list {
		b.WriteString(g.Who + " " + g.Rights.String() + "\n")
	}
	return b.String()
}

func parseACL(text string) (list []Grant, err error) {
	for line := range strings.Lines(text) {
		who, letters, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		rights, ok := ParseRights(letters)
		if !ok {
			return nil, fmt.Errorf("%w: an access control list", ErrCorrupt)
		}
		list = append(list, Grant{who, rights})
	}
	return list, nil
}
