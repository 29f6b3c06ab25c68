package imapd

import (
	"strings"
	"testing"

	"posthouse/mailbox"
)

func TestForeignNames(t *testing.T) {
	for name, want := range map[string]string{
		"Other Users/Bob@South.test/inbox":   "Other Users/bob@south.test/INBOX",
		"Other Users/bob@south.test/a/b/":    "Other Users/bob@south.test/a/b",
		"Shared Folders/team@south.test/x":   "Shared Folders/team@south.test/x",
		"Other Users/nobody/x":               "Other Users/nobody/x",
		"Other Users/bob@south.test":         "Other Users/bob@south.test",
		"Other Users":                        "Other Users",
		"other users/Bob@South.test/inbox":   "other users/Bob@South.test/inbox",
		"Other Users/Bob@South.test/a//b":    "Other Users/Bob@South.test/a//b",
		"INBOX/Other Users/Bob@South.test/x": "INBOX/Other Users/Bob@South.test/x",
	} {
		if got := canonicalForeign(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
		first, _, _ := strings.Cut(name, "/")
		if _, foreign := parseForeign(name); foreign != (first == otherUsers || first == sharedFolders) {
			t.Errorf("%q: %v", name, foreign)
		}
	}
}

func TestReaches(t *testing.T) {
	for pattern, want := range map[string]bool{
		"*": true, "%/%/%": true, "Other*": true, "Other Users/%/%": true, "Other Users/a@b/INBOX": true, "%": false, "%/%": false, "": false,
		"INBOX*": false, "Other Users/b*": false, "Other Users/a@b": false, "Other Users/a@b/": true, "*INBOX": true, "X*": false,
	} {
		if got := reaches(pattern, "Other Users/a@b/"); got != want {
			t.Errorf("%q: %v", pattern, got)
		}
	}
}

// What a change of flags comes to under rights: what may not be set is left, and nothing at all is refused.
func TestRestrict(t *testing.T) {
	const s, t2, w = mailbox.MayMarkSeen, mailbox.MayMarkDeleted, mailbox.MayWrite
	marks := func(f mailbox.Flags, keywords ...string) mailbox.Marks {
		return mailbox.Marks{System: f, Keywords: keywords}
	}
	for _, c := range []struct {
		rights mailbox.Rights
		op     mailbox.FlagOp
		asked  mailbox.Marks
		left   mailbox.Flags
		words  int
		err    error
	}{
		{mailbox.AllRights, mailbox.AddFlags, marks(mailbox.Seen|mailbox.Draft, "x"), mailbox.Seen | mailbox.Draft, 1, nil},
		{s, mailbox.AddFlags, marks(mailbox.Seen|mailbox.Deleted|mailbox.Draft, "x"), mailbox.Seen, 0, nil},
		{t2, mailbox.RemoveFlags, marks(mailbox.Seen | mailbox.Deleted), mailbox.Deleted, 0, nil},
		{w, mailbox.ReplaceFlags, marks(mailbox.Seen, "x"), 0, 1, nil},
		{s | t2, mailbox.ReplaceFlags, marks(0), 0, 0, nil},
		{s | t2, mailbox.AddFlags, marks(mailbox.Answered, "x"), 0, 0, errNoPerm},
		{s, mailbox.ReplaceFlags, marks(mailbox.Deleted), 0, 0, errNoPerm},
		{mailbox.AllRights &^ (s | t2 | w), mailbox.ReplaceFlags, marks(0), 0, 0, errNoPerm},
	} {
		change := flagChange{op: c.op, marks: c.asked}
		err := change.restrict(c.rights)
		if err != c.err || err == nil && (change.marks.System != c.left || len(change.marks.Keywords) != c.words) {
			t.Errorf("%+v with %s: %+v, %v", c.asked, c.rights, change.marks, err)
		}
		// Whatever is asked, no flag changes that may not be set.
		if old := mailbox.Flagged | mailbox.Deleted; err == nil && (change.after(old, nil)^old)&denied(c.rights) != 0 {
			t.Errorf("%+v with %s makes %x of %x", c.asked, c.rights, change.after(old, nil), old)
		}
	}
}

func TestNeeds(t *testing.T) {
	for _, c := range []struct {
		needs needs
		has   mailbox.Rights
		want  error
	}{
		{needs{}, mailbox.AllRights, errNoPerm},
		{needs{}, mailbox.AllRights &^ mailbox.MayLookUp, mailbox.ErrNoBox},
		{toRead, mailbox.MayRead, nil},
		{toRead, mailbox.MayLookUp, errNoPerm},
		{toRead, mailbox.MayWrite, mailbox.ErrNoBox},
		{toAnnotate, mailbox.MayLookUp | mailbox.MayPost, nil},
		{toAnnotate, mailbox.MayLookUp | mailbox.MayCreate, errNoPerm},
		{toAnnotate, mailbox.MayPost, mailbox.ErrNoBox},
		{toKnow, mailbox.MayAdminister, nil},
		{toKnow, mailbox.MayWrite, mailbox.ErrNoBox},
	} {
		if err := c.needs.check(c.has); err != c.want {
			t.Errorf("%+v of %s: %v, want %v", c.needs, c.has, err, c.want)
		}
	}
}
