package imapd

import (
	"strconv"
	"strings"
	"testing"

	"posthouse/mail/mime"
	"posthouse/mailbox"
)

// A thread as long as a mailbox, in whatever order its messages came, takes no time worth speaking of and no deep stack.
func TestLongThreads(t *testing.T) {
	const n = 50_000
	for name, at := range map[string]func(i int) int{
		"forwards": func(i int) int { return i }, "backwards": func(i int) int { return n - 1 - i }, "mixed": func(i int) int { return i * 7919 % n },
	} {
		messages := make([]sorted, n)
		for i := range messages {
			k := at(i)
			keys := &mime.Keys{Sent: int64(k), MessageID: strconv.Itoa(k), Subject: strconv.Itoa(k)}
			if k > 0 {
				keys.References = []string{strconv.Itoa(k - 1)}
			}
			messages[i] = sorted{pos: i, message: &mailbox.Message{UID: mailbox.UID(i + 1)}, keys: keys}
		}
		root := byReferences(messages)
		if len(root.children) != 1 {
			t.Fatalf("%s: %d threads", name, len(root.children))
		}
		depth := 0
		for b := root.children[0]; ; b = b.children[0] {
			if b.keys.Sent != int64(depth) {
				t.Fatalf("%s: message %d at depth %d", name, b.keys.Sent, depth)
			}
			if depth++; len(b.children) == 0 {
				break
			}
		}
		if depth != n {
			t.Errorf("%s: %d messages in it", name, depth)
		}
	}
}

// Every message is in one place, whatever references say: circles, one's own, the same ID twice, the same subjects.
func FuzzThreads(f *testing.F) {
	f.Add("a b c|b a|c a b|a c|  x|d d")
	f.Fuzz(func(t *testing.T, text string) {
		var messages []sorted
		for i, line := range strings.Split(text, "|") {
			ids := strings.Fields(line)
			keys := &mime.Keys{Sent: int64(len(line)), Reply: i%3 == 0, Subject: strconv.Itoa(len(line) % 4)}
			if len(ids) > 0 {
				keys.MessageID, keys.References = ids[0], ids[1:]
			}
			messages = append(messages, sorted{pos: i, message: &mailbox.Message{}, keys: keys})
		}
		for _, algorithm := range []func([]sorted) *branch{byReferences, byRefs, byOrderedSubject} {
			seen := make(map[int]bool)
			algorithm(messages).walk(func(b *branch) {
				if b.sorted == nil {
					return
				}
				if seen[b.pos] {
					t.Fatalf("message %d is there twice", b.pos)
				}
				seen[b.pos] = true
			})
			if len(seen) != len(messages) {
				t.Fatalf("%d messages of %d", len(seen), len(messages))
			}
		}
	})
}
