package index

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"posthouse/mail/mime"
)

func openTest(t testing.TB, path string) *Index {
	t.Helper()
	x, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	})
	return x
}

func parse(t testing.TB, message string) *mime.Part {
	t.Helper()
	p := mime.NewParser()
	if _, err := p.Write([]byte(message)); err != nil {
		t.Fatal(err)
	}
	return p.Close()
}

// library is messages by their content, and an index of them.
type library struct {
	*testing.T
	*Index
	messages map[int64]string
	texts    map[int64][]string // collated
}

func newLibrary(t *testing.T) *library {
	return &library{t, openTest(t, filepath.Join(t.TempDir(), "index.db")), make(map[int64]string), make(map[int64][]string)}
}

// texts is a Sink that keeps them.
type texts struct{ all []string }

func (s *texts) Begin(mime.Place) { s.all = append(s.all, "") }
func (s *texts) Take(piece []byte) bool {
	s.all[len(s.all)-1] += string(piece)
	return true
}

func (l *library) add(messages ...string) {
	l.Helper()
	b := NewBatch()
	for _, m := range messages {
		id := int64(len(l.messages) + 1)
		root := parse(l, m)
		if err := b.Add(Content{ID: id, Mark: id * 7, Root: root}, strings.NewReader(m)); err != nil {
			l.Fatal(err)
		}
		var all texts
		var scanner mime.Scanner
		if err := scanner.Scan(strings.NewReader(m), root, &all); err != nil {
			l.Fatal(err)
		}
		l.messages[id], l.texts[id] = m, all.all
	}
	if err := l.Commit(context.Background(), b, int64(len(l.messages)-len(messages)), int64(len(l.messages))); err != nil {
		l.Fatal(err)
	}
}

func (l *library) tidy() {
	l.Helper()
	for more := true; more; {
		var err error
		if more, err = l.Tidy(context.Background()); err != nil {
			l.Fatal(err)
		}
	}
}

// find is the contents that have a text, and how many are suspects.
func (l *library) find(text string) (found []int64, suspects int) {
	l.Helper()
	collated := mime.AppendCollated(nil, []byte(text))
	s, err := l.Suspects(context.Background(), collated)
	if err != nil {
		l.Fatal(err)
	}
	for id := int64(1); id <= int64(len(l.messages)); id++ {
		has := slices.ContainsFunc(l.texts[id], func(s string) bool { return strings.Contains(s, string(collated)) })
		if s[0].Has(id) {
			suspects++
		} else if has {
			l.Errorf("%d has %q and is no suspect:\n%q", id, text, l.texts[id])
		}
		if has {
			found = append(found, id)
		}
	}
	return found, suspects
}

// alphabet makes texts in which words, parts of words, noise and unspaced scripts meet.
var alphabet = []string{
	"a", "b", "c", "the ", "word", " ", " ", "\r\n", "-", "7", "42", "é", "e\u0301", "ß", "ﬁ", "İ", "жук", "한국", "漢", "字", "かな", "ไทย", "ー", "\U0001f600", "“", "\u00a0",
	"a1b2c3d4e5", "0123456789abcdef", strings.Repeat("long", 12), "\u0323\u0301", "\ufffd", "_", "@", ".",
}

func randomText(r *rand.Rand, n int) string {
	var b strings.Builder
	for range n {
		b.WriteString(alphabet[r.IntN(len(alphabet))])
	}
	return b.String()
}

func randomMessage(r *rand.Rand) string {
	head := "Subject: =?utf-8?q?" + strings.NewReplacer(" ", "_", "\r\n", "", "=", "=3D", "?", "=3F").Replace(randomText(r, 5)) + "?=\r\n"
	body := randomText(r, r.IntN(60))
	if r.IntN(4) == 0 {
		return head + "Content-Type: multipart/mixed; boundary=bb\r\n\r\n--bb\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" + body +
			"\r\n--bb\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\n" + randomText(r, 20) + "\r\n--bb--\r\n"
	}
	return head + "Content-Type: text/plain; charset=utf-8\r\n\r\n" + body
}

// Whatever is there is a suspect, however often the index was merged and whatever is gone.
func TestNothingIsMissed(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(1, seed))
	l := newLibrary(t)
	found := 0
	look := func(n int) {
		for range n {
			id := int64(1 + r.IntN(len(l.messages)))
			text := l.texts[id][r.IntN(len(l.texts[id]))]
			if r.IntN(4) == 0 {
				text = randomText(r, 1+r.IntN(3))
			}
			runes := []rune(text)
			if len(runes) == 0 {
				continue
			}
			from := r.IntN(len(runes))
			hits, _ := l.find(string(runes[from:min(len(runes), from+1+r.IntN(12))]))
			found += len(hits)
		}
	}
	for range 40 {
		var some []string
		for range 1 + r.IntN(5) {
			some = append(some, randomMessage(r))
		}
		l.add(some...)
		l.tidy()
		look(10)
	}
	var gone []int64
	for id := range l.messages {
		if r.IntN(3) > 0 {
			gone = append(gone, id)
		}
	}
	if err := l.Forget(t.Context(), gone...); err != nil {
		t.Fatal(err)
	}
	l.tidy()
	for _, id := range gone {
		l.messages[id], l.texts[id] = "", []string{""}
	}
	look(200)
	if found == 0 {
		t.Error("nothing was ever found")
	}
}

// A word, a part of one and several are found where they are, and hardly anywhere else.
func TestSuspectsAreFew(t *testing.T) {
	l := newLibrary(t)
	for i := range 300 {
		l.add(fmt.Sprintf("Subject: message %d\r\nMessage-ID: <%x@north.test>\r\n\r\nThe usual text of %d words, and 漢字仮%s名 of some.\r\n", i, int64(i)*7919+1<<40, i*13, string(rune(0x4e00+i))))
	}
	l.tidy()
	for _, c := range []struct {
		text        string
		found, most int
	}{
		{"message 277", 1, 60}, {"sage 277\n", 1, 3}, {"usual", 300, 300}, {"SUAL TEX", 300, 300}, {"nowhere", 0, 12}, {"text nowhere", 0, 12},
		{"漢字", 300, 300}, {"仮\u4e05", 1, 12}, {"\u4e05名", 1, 12}, {"漢名", 0, 12}, {"of 3900 w", 0, 1}, {"of 3887 w", 1, 2}, {"10000001eef", 1, 12},
	} {
		found, suspects := l.find(c.text)
		if len(found) != c.found || suspects > c.most {
			t.Errorf("%q: %d found, not %d; %d suspects, not %d", c.text, len(found), c.found, suspects, c.most)
		}
	}
	if segments, err := l.Known(t.Context(), 0, 1000); err != nil || len(segments) != 300 {
		t.Errorf("%d known, %v", len(segments), err)
	}
}

// A content that cannot be read, or has too many words, is always a suspect; so is one that the index has not reached.
func TestAlwaysSuspects(t *testing.T) {
	x := openTest(t, filepath.Join(t.TempDir(), "index.db"))
	b := NewBatch()
	broken := "Subject: broken\r\n\r\ntext\r\n"
	root := parse(t, broken)
	if err := b.Add(Content{ID: 1, Root: root}, failing{}); err == nil {
		t.Error("no error")
	}
	var vast strings.Builder
	for i := 0; vast.Len() < 2*maxVocabulary; i++ {
		fmt.Fprintf(&vast, "%d ", 1e9+i)
	}
	if err := b.Add(Content{ID: 2, Root: parse(t, "\r\n"+vast.String())}, strings.NewReader("\r\n"+vast.String())); err != nil {
		t.Fatal(err)
	}
	if err := b.Add(Content{ID: 3, Root: root}, strings.NewReader(broken)); err != nil {
		t.Fatal(err)
	}
	if err := b.Add(Content{ID: 6, Root: root}, strings.NewReader(broken)); err != nil {
		t.Fatal(err)
	}
	if err := x.Commit(t.Context(), b, 0, 4); err != nil {
		t.Fatal(err)
	}
	s, err := x.Suspects(t.Context(), []byte("ZEBRA"), []byte("漢字"), []byte("--"))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"[1 2 5 7]", "[1 2 5 7]", "[1 2 3 4 5 6 7]"} {
		var has []int64
		for id := int64(1); id <= 7; id++ {
			if s[i].Has(id) {
				has = append(has, id)
			}
		}
		if fmt.Sprint(has) != want {
			t.Errorf("%d: %v, not %s", i, has, want)
		}
	}
}

type failing struct{}

func (failing) ReadAt([]byte, int64) (int, error) { return 0, os.ErrInvalid }

func TestFuzzy(t *testing.T) {
	l := newLibrary(t)
	l.add(
		"Subject: =?utf-8?q?Caf=C3=A9_am_Fluss?=\r\nFrom: Zo\u00eb <zoe@north.test>\r\n\r\nNothing.\r\n",
		"Subject: lunch\r\nCc: zoe@south.test\r\n\r\nIn the CAFETERIA, not in the park.\r\n",
		"Subject: html\r\nContent-Type: text/html\r\n\r\n<style>cafe{}</style><p>a&eacute;b <b>river</b>bank</p>\r\n",
	)
	for _, c := range []struct {
		in, text string
		want     []int64 // the best first
	}{
		{"", "cafe", []int64{1, 2}}, {"Subject", "CAFE", []int64{1}}, {"body", "café", []int64{2}}, {"from", "zoe", []int64{1}}, {"cc", "zoe", []int64{2}},
		{"", "river", []int64{3}}, {"", "style", nil}, {"", "park lunch", []int64{2}}, {"", `"park AND`, nil}, {"", "--", nil}, {"", "", nil},
		{"", "a\u00e9b", []int64{3}}, {"bcc", "zoe", nil},
	} {
		r, err := l.Fuzzy(t.Context(), c.in, c.text)
		if err != nil {
			t.Errorf("%s %q: %v", c.in, c.text, err)
		}
		slices.SortFunc(r.Hits, func(a, b Hit) int { return cmp.Compare(b.Score, a.Score) })
		var got []int64
		for _, h := range r.Hits {
			got = append(got, h.ID)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s %q: %v, not %v (%v)", c.in, c.text, got, c.want, r.Hits)
		}
	}
	if err := l.Forget(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if r, err := l.Fuzzy(t.Context(), "", "cafe"); err != nil || len(r.Hits) != 1 {
		t.Errorf("%v, %v", r.Hits, err)
	}
}

// What is no index of ours is made anew, and damage is noticed.
func TestDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index.db")
	if err := os.WriteFile(path, bytes.Repeat([]byte("not a database "), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	x, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	b := NewBatch()
	text := "Subject: x\r\n\r\n" + strings.Repeat("damageable ", 10)
	if err := b.Add(Content{ID: 1, Root: parse(t, text)}, strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	if err := x.Commit(t.Context(), b, 0, 1); err != nil {
		t.Fatal(err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	octets, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(octets, []byte("\nDAMAGEABLE\n"))
	octets[at+1]++
	if err := os.WriteFile(path, octets, 0o600); err != nil {
		t.Fatal(err)
	}
	x = openTest(t, path)
	if _, err := x.Suspects(t.Context(), []byte("DAMAGE")); !IsDamage(err) {
		t.Errorf("%v", err)
	}
}

// FuzzWords: a segment of one text suspects it of all that is in it.
func FuzzWords(f *testing.F) {
	f.Add("The caf\u00e9, a1b2c3d4e5f6 and 漢字かな.", uint(3), uint(9))
	f.Add(strings.Repeat("x", 100)+"\xff\xfe ไทย-\u0323", uint(30), uint(99))
	f.Fuzz(func(t *testing.T, text string, from, to uint) {
		collated := mime.AppendCollated(nil, []byte(text))
		runes := []rune(string(collated))
		if len(runes) == 0 {
			return
		}
		from %= uint(len(runes))
		needle := []byte(string(runes[from:min(uint(len(runes)), from+1+to%50)]))
		b := newBuilder()
		b.begin(1)
		s := &splitter{word: b.add, gram: b.addGram}
		s.Begin(mime.InBody)
		for _, r := range runes { // in the smallest pieces
			s.Take([]byte(string(r)))
		}
		s.end()
		b.end()
		seg := b.segment()
		all := terms(needle)
		if found, err := seg.suspects(all, func() error { return nil }); err != nil || len(all) > 0 && !found.has(0) {
			t.Errorf("%q is in %q: %v, %v", needle, collated, found, err)
		}
	})
}
