package imapd

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"posthouse/mail"
	"posthouse/mail/mailtest"
	"posthouse/mailbox"
)

const (
	mayAnnotate = mailbox.MayRead | mailbox.MayMarkSeen | mailbox.MayWrite | mailbox.MayInsert | mailbox.MayPost
	mayKnow     = mailbox.MayLookUp | mailbox.MayRead | mailbox.MayInsert | mailbox.MayCreate | mailbox.MayRemove | mailbox.MayAdminister
)

func all(r mailbox.Rights) func(mailbox.Rights) bool {
	return func(has mailbox.Rights) bool { return has&r == r }
}

// rightsCases are what RFC 4314 §4 has commands take, said once more: @BOX is another's mailbox with a flagged and a deleted message.
var rightsCases = []struct {
	command  string
	selected bool // @BOX is
	allowed  func(mailbox.Rights) bool
	refusal  string // to who may not list it; empty: as if there were none
}{
	{"STATUS @BOX (MESSAGES)", false, all(mailbox.MayRead), ""},
	{"SELECT @BOX", false, all(mailbox.MayRead), ""},
	{"EXAMINE @BOX", false, all(mailbox.MayRead), ""},
	{"GETQUOTAROOT @BOX", false, all(mailbox.MayRead), ""},
	{"APPEND @BOX (\\Seen) {3+}\r\nabc", false, all(mailbox.MayInsert), ""},
	{"APPEND INBOX CATENATE (URL \"/@URL/;UID=1\")", false, all(mailbox.MayRead), "BADURL"},
	{"CREATE @BOX/sub", false, all(mailbox.MayCreate), "NOPERM"},
	{"DELETE @BOX", false, all(mailbox.MayRemove), ""},
	{"RENAME @BOX \"Other Users/bob@south.test/open/@NAME\"", false, all(mailbox.MayRemove), ""},
	{"GETACL @BOX", false, all(mailbox.MayAdminister), ""},
	{"SETACL @BOX carol@south.test lr", false, all(mailbox.MayAdminister), ""},
	{"SETACL @BOX dave@south.test lrswipkxtea", false, all(mailbox.MayAdminister), ""},
	{"DELETEACL @BOX dave@south.test", false, all(mailbox.MayAdminister), ""},
	{"LISTRIGHTS @BOX carol@south.test", false, all(mailbox.MayAdminister), ""},
	{"MYRIGHTS @BOX", false, func(has mailbox.Rights) bool { return has&mayKnow != 0 }, ""},
	{"GETMETADATA @BOX /shared/comment", false, func(has mailbox.Rights) bool { return has&mailbox.MayLookUp != 0 && has&mayAnnotate != 0 }, ""},
	{"SETMETADATA @BOX (/shared/comment \"x\")", false, func(has mailbox.Rights) bool { return has&mailbox.MayLookUp != 0 && has&mayAnnotate != 0 }, ""},
	{"COPY 1 @BOX", false, all(mailbox.MayInsert), ""},
	{"MOVE 1 @BOX", false, all(mailbox.MayInsert), ""},
	{"REPLACE 1 @BOX {3+}\r\nabc", false, all(mailbox.MayInsert), ""},
	{"STORE 1 +FLAGS (\\Seen)", true, all(mailbox.MayMarkSeen), "NOPERM"},
	{"STORE 1 +FLAGS.SILENT (\\Deleted)", true, all(mailbox.MayMarkDeleted), "NOPERM"},
	{"STORE 1 FLAGS (word \\Answered)", true, all(mailbox.MayWrite), "NOPERM"},
	{"STORE 1 (UNCHANGEDSINCE 1000000) -FLAGS (\\Flagged)", true, all(mailbox.MayWrite), "NOPERM"},
	{"EXPUNGE", true, all(mailbox.MayExpunge), "NOPERM"},
	{"UID EXPUNGE 1:*", true, all(mailbox.MayExpunge), "NOPERM"},
	{"MOVE 1 Trash", true, all(mailbox.MayMarkDeleted | mailbox.MayExpunge), "NOPERM"},
	{"REPLACE 1 Trash {3+}\r\nabc", true, all(mailbox.MayMarkDeleted | mailbox.MayExpunge), "NOPERM"},
	{"COPY 1 Trash", true, all(0), ""},
	{"FETCH 1:* (FLAGS BODY[])", true, all(0), ""},
	{"CLOSE", true, all(0), ""},
}

// aclHouse is a server with mailboxes of bob's that dave has rights to.
type aclHouse struct {
	*testing.T
	bob   mailbox.Account
	dave  mail.AccountID
	hints mailbox.Hints
	owner mail.AccountID
	c     *client
	tags  int
	boxes int
}

func newACLHouse(t *testing.T) *aclHouse {
	o := testOptions(t)
	h := &aclHouse{T: t, hints: o.Sharing}
	for login, id := range map[string]*mail.AccountID{"bob@south.test": &h.owner, "dave@south.test": &h.dave} {
		a, err := o.Sharing.Account(t.Context(), mailtest.Address(login))
		if err != nil {
			t.Fatal(err)
		}
		*id = a.ID
	}
	var err error
	if h.bob, err = o.Store.Account(t.Context(), h.owner); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.bob.Close() })
	_, addr := start(t, o)
	h.c = dial(t, addr)
	h.c.send("l LOGIN dave@south.test posthouse\r\n")
	h.c.until("l OK")
	open := h.apply(mailbox.CreateBox{Name: "open"})[0].Box
	h.grant(open.ID, mailbox.MayCreate)
	return h
}

func (h *aclHouse) apply(changes ...mailbox.Mutation) []mailbox.Result {
	h.Helper()
	applied, err := h.bob.Apply(h.Context(), changes...)
	if err != nil {
		h.Fatal(err)
	}
	return applied.Results
}

func (h *aclHouse) grant(box mailbox.BoxID, r mailbox.Rights) {
	h.Helper()
	s := mailbox.Sharer{Account: h.bob, Owner: h.owner, Hints: h.hints}
	if err := s.Set(h.Context(), mailbox.SetRights{Box: box, Who: string(h.dave), Op: mailbox.ReplaceFlags, Rights: r}); err != nil {
		h.Fatal(err)
	}
}

// run sends a command and is its untagged responses and its reply.
func (h *aclHouse) run(command string) (lines []string, reply string) {
	h.Helper()
	h.tags++
	tag := fmt.Sprintf("t%d ", h.tags)
	h.c.send(tag + command + "\r\n")
	for {
		line := h.c.line()
		if rest, ok := strings.CutPrefix(line, tag); ok {
			return lines, rest
		}
		if line == "" && h.c.r.Buffered() == 0 {
			h.Fatalf("%s: no reply after %q", command, lines)
		}
		lines = append(lines, line)
	}
}

// state is all that the owner sees.
func (h *aclHouse) state() (all []any) {
	h.Helper()
	boxes, err := h.bob.Boxes(h.Context())
	if err != nil {
		h.Fatal(err)
	}
	for _, b := range boxes {
		all = append(all, b)
		if b.NoSelect {
			continue
		}
		s, err := h.bob.Snapshot(h.Context(), b.ID)
		if err != nil {
			h.Fatal(err)
		}
		for _, m := range s.All() {
			all = append(all, *m)
		}
	}
	return all
}

// newBox makes a mailbox of bob's with messages, one of them deleted.
func (h *aclHouse) newBox() mailbox.Box {
	h.Helper()
	h.boxes++
	box := h.apply(mailbox.CreateBox{Name: fmt.Sprintf("box%d", h.boxes)})[0].Box
	var adds []mailbox.Mutation
	for _, flags := range []mailbox.Flags{mailbox.Flagged, mailbox.Deleted} {
		id, err := h.bob.Stage(h.Context(), strings.NewReader("Subject: secret\r\n\r\nsecret\r\n"))
		if err != nil {
			h.Fatal(err)
		}
		adds = append(adds, mailbox.Add{Box: box.ID, Blob: id, Marks: mailbox.Marks{System: flags}})
	}
	h.apply(adds...)
	return box
}

// No command does, or tells, what the rights do not allow; each does what they allow. Rights are some of all that there may be, and all
// that lack one or have but one.
func TestRightsAndCommands(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	h := newACLHouse(t)
	sets := []mailbox.Rights{0, mailbox.AllRights}
	for right := mailbox.MayLookUp; right <= mailbox.MayAdminister; right <<= 1 {
		sets = append(sets, right, mailbox.AllRights&^right, right|mailbox.MayRead)
	}
	for range 12 {
		sets = append(sets, mailbox.Rights(r.IntN(int(mailbox.AllRights)+1)))
	}
	if testing.Short() {
		r.Shuffle(len(sets), func(i, j int) { sets[i], sets[j] = sets[j], sets[i] })
		sets = sets[:10]
	}
	for _, rights := range sets {
		for _, c := range rightsCases {
			if c.selected && rights&mailbox.MayRead == 0 {
				continue
			}
			h.try(c.command, c.selected, rights, c.allowed(rights), c.refusal)
		}
	}
}

func (h *aclHouse) try(command string, selected bool, rights mailbox.Rights, allowed bool, refusal string) {
	h.Helper()
	box := h.newBox()
	h.grant(box.ID, rights)
	name := `"Other Users/bob@south.test/` + box.Name + `"`
	if selected {
		h.run("SELECT " + name)
	} else {
		h.run("APPEND INBOX {3+}\r\nabc")
		h.run("SELECT INBOX")
	}
	command = strings.NewReplacer("@BOX/sub", `"Other Users/bob@south.test/`+box.Name+`/sub"`, "@BOX", name, "@NAME", box.Name,
		"@URL", "Other%20Users/bob%40south.test/"+box.Name).Replace(command)
	before := h.state()
	lines, reply := h.run(command)
	switch after := h.state(); {
	case allowed && !strings.HasPrefix(reply, "OK"):
		h.Errorf("%s with %s: %s", command, rights, reply)
	case !allowed && !strings.HasPrefix(reply, "NO"):
		h.Errorf("%s with %s: %s", command, rights, reply)
	case !allowed && !reflect.DeepEqual(before, after):
		h.Errorf("%s with %s changed %+v to %+v", command, rights, before, after)
	}
	if !allowed {
		want := "NO [NONEXISTENT]"
		if rights.Has(mailbox.MayLookUp) {
			want = "NO [NOPERM]"
		} else if refusal != "" {
			want = "NO [" + refusal
		}
		if !strings.HasPrefix(reply, want) {
			h.Errorf("%s with %s: %s; want %s", command, rights, reply, want)
		}
		if text := strings.Join(lines, "\n"); strings.Contains(text, box.Name) || strings.Contains(text, "secret") {
			h.Errorf("%s with %s told %s", command, rights, text)
		}
	}
	h.kept(command, box, rights, before)
	h.drop(box.Name)
}

// kept checks what is nobody else's: flags that may not be set stay, whatever was allowed beside them, and the owner's \Seen always does.
func (h *aclHouse) kept(command string, box mailbox.Box, rights mailbox.Rights, before []any) {
	h.Helper()
	s, err := h.bob.Snapshot(h.Context(), box.ID)
	if err != nil {
		return // it was allowed to delete it
	}
	for _, m := range s.All() {
		if m.UID > 2 {
			continue
		}
		was := []mailbox.Flags{mailbox.Flagged, mailbox.Deleted}[m.UID-1]
		if m.Flags&mailbox.Seen != 0 || (m.Flags^was)&denied(rights) != 0 {
			h.Errorf("%s with %s made flags %x of %x", command, rights, m.Flags, was)
		}
	}
	if s.Len() < 2 && !rights.Has(mailbox.MayExpunge) {
		h.Errorf("%s with %s expunged of %+v", command, rights, before)
	}
}

func (h *aclHouse) drop(name string) {
	h.Helper()
	h.run("UNSELECT")
	boxes, err := h.bob.Boxes(h.Context())
	if err != nil {
		h.Fatal(err)
	}
	for i := len(boxes) - 1; i >= 0; i-- {
		if strings.Contains(boxes[i].Name, name) {
			h.apply(mailbox.DeleteBox{Name: boxes[i].Name})
		}
	}
}
