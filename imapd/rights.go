package imapd

import (
	"posthouse/mailbox"
)

// needs is what something takes of the rights to a mailbox. What takes none is not for mailboxes of others.
type needs struct {
	all mailbox.Rights // every one of them
	any mailbox.Rights // one of them; none: nothing more
}

// What commands take of a mailbox that they name: RFC 4314 §4.
var (
	toList       = needs{all: mailbox.MayLookUp}
	toRead       = needs{all: mailbox.MayRead}       // SELECT, EXAMINE, STATUS, what a URL names; GETQUOTAROOT: RFC 9208 §6
	toInsert     = needs{all: mailbox.MayInsert}     // APPEND, COPY, MOVE, REPLACE: of where messages go
	toCreate     = needs{all: mailbox.MayCreate}     // CREATE, and the new name of RENAME: of the mailbox above
	toDelete     = needs{all: mailbox.MayRemove}     // DELETE, and the old name of RENAME
	toAdminister = needs{all: mailbox.MayAdminister} // SETACL, DELETEACL, GETACL, LISTRIGHTS
	toKnow       = needs{any: mailbox.MayLookUp | mailbox.MayRead | mailbox.MayInsert | mailbox.MayCreate | mailbox.MayRemove | mailbox.MayAdminister}
	toAnnotate   = needs{ // GETMETADATA, SETMETADATA: RFC 5464 §3.3
		all: mailbox.MayLookUp,
		any: mailbox.MayRead | mailbox.MayMarkSeen | mailbox.MayWrite | mailbox.MayInsert | mailbox.MayPost,
	}
)

// What commands take of the selected mailbox: RFC 4314 §4, RFC 6851 §4.2, RFC 8508 §4.1.
const (
	toExpunge = mailbox.MayExpunge
	toMove    = mailbox.MayMarkDeleted | mailbox.MayExpunge // and to REPLACE

	// toChange are those of which one makes a mailbox READ-WRITE: RFC 4314 §5.2. \Seen is not among them: it is not shared.
	toChange = mailbox.MayInsert | mailbox.MayExpunge | mailbox.MayWrite | mailbox.MayMarkDeleted
)

// check is nil if the rights are enough. Who may not list a mailbox is told what he would be told if it did not exist: RFC 4314 §6.
func (n needs) check(has mailbox.Rights) error {
	switch {
	case n != needs{} && has.Has(n.all) && (n.any == 0 || has&n.any != 0):
		return nil
	case has.Has(mailbox.MayLookUp):
		return errNoPerm
	}
	return mailbox.ErrNoBox
}

// denied are the flags that who has these rights may not change: RFC 4314 §4 STORE.
func denied(has mailbox.Rights) (not mailbox.Flags) {
	if !has.Has(mailbox.MayMarkSeen) {
		not |= mailbox.Seen
	}
	if !has.Has(mailbox.MayMarkDeleted) {
		not |= mailbox.Deleted
	}
	if !has.Has(mailbox.MayWrite) {
		not |= ^(mailbox.Seen | mailbox.Deleted)
	}
	return not
}

// without are marks less those that are denied.
func without(m mailbox.Marks, denied mailbox.Flags) mailbox.Marks {
	m.System &^= denied
	if denied&mailbox.Keywords != 0 {
		m.Keywords = nil
	}
	return m
}

// allow tells whether the selected mailbox may be changed in a way that takes these rights.
func (v *view) allow(takes mailbox.Rights) error {
	switch {
	case v.readOnly:
		return errReadOnly
	case !v.rights.Has(takes):
		return errNoPerm
	}
	return nil
}

// restrict leaves of a change what the rights allow. An error: nothing is left of what was asked. "STORE operation SHOULD NOT fail if the
// user has rights to modify at least one flag specified": RFC 4314 §4.
func (c *flagChange) restrict(has mailbox.Rights) error {
	not := denied(has)
	if not == 0 {
		return nil
	}
	asked := c.marks
	c.marks, c.keep = without(asked, not), not
	switch {
	case not == ^mailbox.Flags(0):
		return errNoPerm
	case c.marks.System == 0 && c.marks.Keywords == nil && (asked.System != 0 || asked.Keywords != nil):
		return errNoPerm
	}
	return nil
}

// rightsText writes rights with the two of RFC 2086 that stand for several: RFC 4314 §2.1.1.
func rightsText(r mailbox.Rights) string {
	text := r.String()
	if r&(mailbox.MayCreate|mailbox.MayRemove) != 0 {
		text += "c"
	}
	if r&(mailbox.MayMarkDeleted|mailbox.MayExpunge) != 0 {
		text += "d"
	}
	return text
}
