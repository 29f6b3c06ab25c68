package imapd

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/text/encoding/htmlindex"

	"posthouse/mail"
	"posthouse/mail/mailtest"
	"posthouse/mailbox"
)

// unindexed is for mailboxes without an index.
func unindexed() mailbox.Options {
	return mailbox.Options{Unindexed: func(mail.AccountID) bool { return true }}
}

// indexAll has all messages indexed.
func indexAll(t testing.TB, a mailbox.Account) {
	t.Helper()
	inbox, err := a.Box(t.Context(), mailbox.Inbox)
	if err != nil {
		t.Fatal(err)
	}
	now, err := a.Snapshot(t.Context(), inbox.ID)
	if err != nil {
		t.Fatal(err)
	}
	last := now.At(now.Len() - 1).Blob
	for range now.Len() { // a ranked search indexes some, each time
		if a.Fuzzy(t.Context(), mailbox.Anywhere, "x").Known(last) {
			return
		}
	}
	t.Fatal("not all is indexed")
}

// letterParts are what texts of the property test are made of.
var letterParts = []string{
	"a", "b", "the ", "word", " ", "\r\n", "-", "7", "é", "e\u0301", "ß", "жук", "漢字", "かな", "\U0001f600", "“quoted”", "a1b2c3d4e5f6", "@north.test",
	strings.Repeat("long", 12), ": ", "subject",
}

func letterText(r *rand.Rand, n int) string {
	var b strings.Builder
	for range n {
		b.WriteString(letterParts[r.IntN(len(letterParts))])
	}
	return b.String()
}

// textPart is a part with a text in some charset and encoding.
func textPart(r *rand.Rand, text string) string {
	charset := []string{"utf-8", "iso-8859-1", "koi8-r", "iso-2022-jp", "utf-16", "nonsense"}[r.IntN(6)]
	octets := []byte(text)
	if e, err := htmlindex.Get(charset); err == nil {
		if encoded, err := e.NewEncoder().Bytes(octets); err == nil {
			octets = encoded
		}
	}
	encoding := "8bit"
	switch r.IntN(3) {
	case 0:
		encoding, octets = "base64", []byte(base64.StdEncoding.EncodeToString(octets))
	case 1:
		var b bytes.Buffer
		for i, c := range octets {
			if fmt.Fprintf(&b, "=%02X", c); i%20 == 19 {
				b.WriteString("=\r\n")
			}
		}
		encoding, octets = "quoted-printable", b.Bytes()
	}
	return fmt.Sprintf("Content-Type: text/plain; charset=%s\r\nContent-Transfer-Encoding: %s\r\n\r\n%s", charset, encoding, octets)
}

func letterMessage(r *rand.Rand) string {
	words := strings.NewReplacer(" ", "_", "\r\n", "_", "=", "_", "?", "_")
	head := fmt.Sprintf("From: =?utf-8?q?%s?= <a%d@north.test>\r\nSubject: =?utf-8?q?%s?= tail\r\nX-Mark: %s\r\n",
		words.Replace(letterText(r, 2)), r.IntN(20), words.Replace(letterText(r, 4)), strings.ReplaceAll(letterText(r, 3), "\r\n", "\r\n "))
	body := textPart(r, letterText(r, r.IntN(40)))
	switch r.IntN(5) {
	case 0:
		return head + "Content-Type: multipart/mixed; boundary=bb\r\n\r\n--bb\r\n" + body + "\r\n--bb\r\n" + textPart(r, letterText(r, 20)) + "\r\n--bb--\r\n"
	case 1:
		return head + "Content-Type: multipart/mixed; boundary=bb\r\n\r\n--bb\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner " +
			strings.ReplaceAll(letterText(r, 3), "\r\n", " ") + "\r\n" + body + "\r\n--bb\r\nContent-Type: image/png\r\n\r\nword\r\n--bb--\r\n"
	}
	return head + body
}

// letterKey is a search key that looks for something that may be there.
func letterKey(r *rand.Rand) string {
	text := []rune(letterText(r, 1+r.IntN(3)))
	from := r.IntN(len(text))
	text = text[from:min(len(text), from+1+r.IntN(8))]
	quoted := fmt.Sprintf("{%d+}\r\n%s", len(string(text)), string(text))
	switch r.IntN(8) {
	case 0:
		return "NOT " + letterKey(r)
	case 1:
		return "OR " + letterKey(r) + " " + letterKey(r)
	case 2:
		return "HEADER " + []string{"X-Mark", "subject", "Content-Type", "x-none", "From"}[r.IntN(5)] + " " + quoted
	case 3:
		return []string{"SUBJECT ", "FROM ", "TO "}[r.IntN(3)] + quoted
	case 4:
		return `HEADER X-Mark ""`
	case 5:
		return "BODY " + quoted
	}
	return "TEXT " + quoted
}

// A search finds the same with an index and without one, wherever the index is.
func TestIndexChangesNothing(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(1, seed))
	indexed, _ := sessionOf(t, testOptions(t))
	plain, _ := sessionOf(t, testOptionsOf(t, unindexed()))
	found, left := 0, 0
	for round := range 8 {
		var letters []string
		for range 40 {
			letters = append(letters, letterMessage(r))
		}
		for _, s := range []*session{indexed, plain} {
			fillWith(t, s.account, len(letters), func(n int) string { return letters[n-1] })
			mustRun(t, s, &selectCommand{name: "INBOX"})
		}
		if round%2 == 0 {
			indexAll(t, indexed.account)
		}
		for range 60 {
			keys := letterKey(r)
			var got [2]selection
			for i, s := range []*session{indexed, plain} {
				c := parseCommand(t, "a SEARCH CHARSET UTF-8 "+keys+"\r\n").(*searchCommand)
				mustRun(t, s, c)
				got[i] = c.found
			}
			if !slices.Equal(got[0], got[1]) {
				t.Errorf("%q: %v with the index, %v without", keys, got[0], got[1])
			}
			found, left = found+got[0].len(), left+indexed.view.told.Len()-got[0].len()
		}
	}
	if found == 0 || left == 0 {
		t.Errorf("%d found, %d not", found, left)
	}
}

// What the index rules out is not read at all.
func TestIndexSparesReading(t *testing.T) {
	s, _ := sessionOf(t, testOptions(t))
	fill(t, s.account, 200)
	indexAll(t, s.account)
	counting := &countingAccount{Account: s.account}
	s.account = counting
	mustRun(t, s, &selectCommand{name: "INBOX"})
	for keys, most := range map[string]int{"TEXT gray77@": 3, "BODY nowhere": 3, "HEADER X-None word": 3, "SUBJECT nowhere": 0, "5 TEXT hello": 1} {
		counting.opened = 0
		mustRun(t, s, parseCommand(t, "a SEARCH "+keys+"\r\n"))
		if counting.opened > most {
			t.Errorf("%s: %d messages opened", keys, counting.opened)
		}
	}
}

type countingAccount struct {
	mailbox.Account
	opened int
}

func (a *countingAccount) Open(ctx context.Context, id mailbox.BlobID) (mail.Content, error) {
	a.opened++
	return a.Account.Open(ctx, id)
}

// BenchmarkSearchText looks for a rare word in messages like real ones; BENCH_MESSAGES says how many, 10,000 if it does not.
func BenchmarkSearchText(b *testing.B) {
	n := 10_000
	if s := os.Getenv("BENCH_MESSAGES"); s != "" {
		if _, err := fmt.Sscan(s, &n); err != nil {
			b.Fatal(err)
		}
	}
	letters := mailtest.NewLetters()
	s, _ := sessionOf(b, testOptions(b))
	fillWith(b, s.account, n, func(i int) string {
		if i%500 == 33 {
			return letters.Message("quetzalcoatlus sighting")
		}
		return letters.Message("")
	})
	mustRun(b, s, &selectCommand{name: "INBOX"})
	search := func(keys string) func(*testing.B) {
		return func(b *testing.B) {
			for b.Loop() {
				mustRun(b, s, parseCommand(b, "a SEARCH "+keys+"\r\n"))
			}
		}
	}
	b.Run("indexing", func(b *testing.B) {
		indexAll(b, s.account)
		b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(n), "µs/message")
	})
	for _, keys := range []string{
		"TEXT quetzalcoatlus", "BODY quetzalcoatlus", "TEXT etzalcoat", "TEXT nosuchwordhere", `TEXT "quetzalcoatlus sight"`, "HEADER X-None word",
		"SUBJECT nosuchwordhere", "FUZZY TEXT quetzal", "TEXT the",
	} {
		b.Run(keys, search(keys))
	}
}
