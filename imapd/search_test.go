package imapd

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"posthouse/internal/link"
	"posthouse/mailbox"
)

// RFC 5182 §2.5: what is too much to keep is answered NO, and "$" is empty.
func TestSearchThatIsTooMuchToSave(t *testing.T) {
	t.Parallel()
	messages := make([]mailbox.Message, 2*maxSaved+2)
	for i := range messages {
		messages[i] = mailbox.Message{UID: mailbox.UID(i + 1), Flags: mailbox.Flags(i%2) * mailbox.Seen}
	}
	now := mailbox.NewSnapshot(mailbox.Box{ID: 1}, nil, []*mailbox.Slab{{Messages: messages}})
	out := &bytes.Buffer{}
	s := &session{server: &Server{}, tag: "a", out: link.NewWriter(out), view: newView(&place{rights: mailbox.AllRights}, now, &awareness{})}
	for line, want := range map[string]error{
		"SEARCH RETURN (SAVE) SEEN":         errNotSaved,
		"SEARCH RETURN (SAVE) SEEN UID 4:*": nil,
	} {
		s.view.saved = mailbox.AllUIDs()
		_, err := parseCommand(t, "a "+line+"\r\n").run(t.Context(), s)
		if err != want { //nolint:errorlint // it is what the session gets
			t.Errorf("%s: %v", line, err)
		}
		if n := s.view.saved.Len(); (n == 0) != (err != nil) || n > maxSaved {
			t.Errorf("%s saved %d", line, n)
		}
	}
	if err := s.out.Flush(); err != nil || strings.Contains(out.String(), "ESEARCH") {
		t.Error(err, "it answers with results")
	}
}

// What is in two selections is what has its place in both.
func TestSelectionBoth(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(9738, 1))
	random := func() (sel selection) {
		for pos := range 40 {
			if r.IntN(3) > 0 {
				sel = sel.add(pos)
			}
		}
		return sel
	}
	for range 200 {
		a, b := random(), random()
		both := a.both(b)
		for pos := range 40 {
			if both.has(pos) != (a.has(pos) && b.has(pos)) {
				t.Fatalf("%v and %v have in common %v", a, b, both)
			}
		}
	}
}
