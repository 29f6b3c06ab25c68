package mailbox_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"posthouse/mail"
	"posthouse/mail/mime"
	"posthouse/mailbox"
)

// searched is an account whose INBOX is filled with words.
type searched struct {
	*testing.T
	mailbox.Account
	store *mailbox.SQLite
	blobs map[string]mailbox.BlobID // by word
}

func openSearched(t *testing.T, o mailbox.Options) *searched {
	t.Helper()
	s := open(t, o)
	a, err := s.Account(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	return &searched{t, a, s, make(map[string]mailbox.BlobID)}
}

// close closes the store; open databases are closed with it.
func (s *searched) close() {
	s.Helper()
	if err := s.Account.Close(); err != nil {
		s.Error(err)
	}
	if err := s.store.Close(); err != nil {
		s.Error(err)
	}
}

// file files a message for each of some words.
func (s *searched) file(prefix string, n int) {
	s.Helper()
	inbox, err := s.Box(s.Context(), mailbox.Inbox)
	if err != nil {
		s.Fatal(err)
	}
	for i := range n {
		word := prefix + strings.Repeat(string(rune('a'+i%26)), 3) + strings.Repeat(string(rune('a'+i/26)), 2)
		id, err := s.Stage(s.Context(), strings.NewReader("Subject: x\r\n\r\nThe word is "+word+".\r\n"))
		if err != nil {
			s.Fatal(err)
		}
		apply(s, s.Account, mailbox.Add{Box: inbox.ID, Blob: id})
		s.blobs[word] = id
	}
}

// check looks for every word, and counts for how many the index has ruled out the others.
func (s *searched) check() (narrow int) {
	s.Helper()
	for word, id := range s.blobs {
		found := s.Suspects(context.Background(), mime.AppendCollated(nil, []byte(word)))[0]
		if !found.Has(id) {
			s.Errorf("%s is in content %d, which is no suspect", word, id)
		}
		others := 0
		for _, other := range s.blobs {
			if other != id && found.Has(other) {
				others++
			}
		}
		if others <= len(s.blobs)/10 {
			narrow++
		}
	}
	return narrow
}

// indexed has all indexed, at the end of the test's bubble or in it.
func (s *searched) indexed() {
	s.Helper()
	s.Suspects(context.Background(), []byte("X")) // it is noticed that there is something to do
	synctest.Wait()
	time.Sleep(time.Hour) // in a bubble: the indexer rests, and databases close
	synctest.Wait()
	if n := s.check(); n != len(s.blobs) {
		s.Errorf("%d of %d are indexed", n, len(s.blobs))
	}
}

func indexFile(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*", "alice"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	return filepath.Join(files[0], "index.db")
}

// Many new messages are indexed without anybody searching, and few when somebody does.
func TestIndexer(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := openSearched(t, mailbox.Options{Dir: dir})
		s.file("few", 10)
		synctest.Wait()
		if _, err := os.Stat(indexFile(t, dir)); err == nil {
			t.Error("there is an index of ten messages that nobody searches")
		}
		s.file("many", 60)
		synctest.Wait()
		if _, err := os.Stat(indexFile(t, dir)); err != nil {
			t.Error(err)
		}
		s.indexed()
		s.close()
	})
}

// Contents that are gone leave the index.
func TestIndexForgets(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := openSearched(t, mailbox.Options{Dir: dir})
		s.file("some", 200)
		s.indexed()
		inbox, err := s.Box(t.Context(), mailbox.Inbox)
		if err != nil {
			t.Fatal(err)
		}
		apply(t, s.Account, expunging(inbox.ID, mailbox.UIDSet{{First: 1, Last: 150}})...)
		clear(s.blobs)
		s.file("more", 5)
		s.indexed()
		ranks := s.Fuzzy(t.Context(), mailbox.Anywhere, "word")
		left := 0
		for id := range mailbox.BlobID(1000) {
			if ranks.Score(id) > 0 {
				left++
			}
		}
		if left != 55 {
			t.Errorf("%d messages have the word, not 55", left)
		}
		s.close()
	})
}

// A mailbox that is put back from a backup does not believe an index that knows of what came after it: neither at once, nor when other
// messages have got the numbers of those.
func TestIndexOfAnotherMailbox(t *testing.T) {
	for _, c := range []struct {
		name        string
		askFirst    bool
		runs, files int // how often the store is opened to file how many messages, before one is searched
	}{
		{"AtOnce", true, 1, 50}, {"NewMessages", false, 1, 50}, {"ManyNewMessages", false, 1, 200}, {"MoreThanThereWere", false, 4, 60},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				s := openSearched(t, mailbox.Options{Dir: dir})
				s.file("first", 70)
				s.indexed()
				s.close()
				file := filepath.Join(filepath.Dir(indexFile(t, dir)), "mailbox.db")
				backup, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				known := s.blobs

				s = openSearched(t, mailbox.Options{Dir: dir})
				s.file("second", 100)
				s.indexed()
				s.close()
				if err := os.WriteFile(file, backup, 0o600); err != nil {
					t.Fatal(err)
				}

				for run := range c.runs {
					s = openSearched(t, mailbox.Options{Dir: dir})
					s.blobs = known
					if c.askFirst {
						s.check()
					}
					s.file(fmt.Sprint("third", run), c.files)
					if run < c.runs-1 {
						s.close()
					}
				}
				s.check()
				s.indexed()
				s.close()
			})
		})
	}
}

// An account without an index has none, not even an old one, and all its messages are suspects.
func TestUnindexed(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		secret := false
		s := openSearched(t, mailbox.Options{Dir: dir, Unindexed: func(mail.AccountID) bool { return secret }})
		s.file("plain", 100)
		s.indexed()
		secret = true
		if n := s.check(); n != 0 {
			t.Errorf("%d words are indexed", n)
		}
		if _, err := os.Stat(indexFile(t, dir)); err == nil {
			t.Error("the index is there")
		}
		secret = false
		s.indexed()
		s.close()
		known := s.blobs
		s = openSearched(t, mailbox.Options{Dir: dir, Unindexed: func(id mail.AccountID) bool { return id == "alice" }})
		s.blobs = known
		s.file("secret", 100)
		synctest.Wait()
		if n := s.check(); n != 0 {
			t.Errorf("%d words are indexed", n)
		}
		if s.Fuzzy(t.Context(), mailbox.Anywhere, "word").Known(s.blobs["plainaaaaa"]) {
			t.Error("something is known")
		}
		s.close()
		if left, err := filepath.Glob(indexFile(t, dir) + "*"); err != nil || len(left) > 0 {
			t.Errorf("%v, %v", left, err)
		}
	})
}

// A damaged index is made anew, and one that cannot be made costs time and nothing else.
func TestIndexFails(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := openSearched(t, mailbox.Options{Dir: dir})
		s.file("some", 100)
		s.indexed()
		s.close()
		known, index := s.blobs, indexFile(t, dir)
		octets, err := os.ReadFile(index)
		if err != nil {
			t.Fatal(err)
		}
		for i := 4096; i < len(octets); i += 97 {
			octets[i] ^= 0x55
		}
		for _, damaged := range [][]byte{octets, bytes.Repeat([]byte("no database"), 1000), octets[:5000], {}} {
			if err := os.WriteFile(index, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			s = openSearched(t, mailbox.Options{Dir: dir})
			s.blobs = known
			s.check()
			s.indexed()
			s.close()
		}
		if err := os.RemoveAll(index); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(index, "not a file"), 0o700); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		store, err := mailbox.OpenSQLite(mailbox.Options{Dir: dir, Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		a, err := store.Account(t.Context(), "alice")
		if err != nil {
			t.Fatal(err)
		}
		s = &searched{t, a, store, known}
		s.file("new", 100)
		if n := s.check(); n != 0 {
			t.Errorf("%d words are indexed", n)
		}
		synctest.Wait()
		s.close()
		if n := strings.Count(log.String(), "\n"); n != 1 {
			t.Errorf("%d lines in the log: %s", n, log.String())
		}
	})
}

// A content that is staged before others and filed after them is indexed all the same.
func TestIndexOfLateContent(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := openSearched(t, mailbox.Options{Dir: dir})
		slow, w := io.Pipe()
		staged := make(chan mailbox.BlobID)
		go func() {
			id, err := s.Stage(context.Background(), slow)
			if err != nil {
				t.Error(err)
			}
			staged <- id
		}()
		synctest.Wait()
		s.file("fast", 300)
		s.indexed()
		if _, err := io.WriteString(w, "Subject: x\r\n\r\nThe word is slowly.\r\n"); err != nil {
			t.Fatal(err)
		}
		w.Close()
		s.blobs["slowly"] = <-staged
		inbox, err := s.Box(t.Context(), mailbox.Inbox)
		if err != nil {
			t.Fatal(err)
		}
		apply(t, s.Account, mailbox.Add{Box: inbox.ID, Blob: s.blobs["slowly"]})
		s.check()
		s.indexed()
		s.close()
	})
}
