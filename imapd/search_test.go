package imapd

import (
	"bytes"
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
	s := &session{tag: "a", out: link.NewWriter(out), view: newView(nil, now, &awareness{})}
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
