package mailbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"posthouse/internal/db"
	"posthouse/mail"
)

// start opens a store whose log is the test's.
func start(t testing.TB, o Options) *SQLite {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	o.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	s, err := OpenSQLite(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func take(t testing.TB, s *SQLite, id mail.AccountID) Account {
	t.Helper()
	a, err := s.Account(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// file adds n messages to a box.
func file(t testing.TB, a Account, box BoxID, n int) {
	t.Helper()
	var changes []Mutation
	for range n {
		id, err := a.Stage(context.Background(), strings.NewReader("Subject: x\r\n\r\nbody\r\n"))
		if err != nil {
			t.Fatal(err)
		}
		changes = append(changes, Add{Box: box, Blob: id})
	}
	if _, err := a.Apply(context.Background(), changes...); err != nil {
		t.Fatal(err)
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (s *SQLite) openDatabases() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

func TestDatabasesAreBounded(t *testing.T) {
	s := start(t, Options{MaxOpen: 3})
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			a := take(t, s, mail.AccountID(fmt.Sprint("account", i%10)))
			for range 5 {
				file(t, a, 1, 1)
			}
			check(t, a.Close())
		})
	}
	wg.Wait()
	if n := s.openDatabases(); n > 3 {
		t.Errorf("%d databases are open", n)
	}
	a := take(t, s, "account0")
	if b, err := a.Box(t.Context(), Inbox); err != nil || b.Messages != 10 {
		t.Errorf("%+v, %v", b, err)
	}
	check(t, a.Close())
	s.mu.Lock()
	if len(s.accounts) != len(s.open) {
		t.Errorf("%d accounts in memory, %d databases open", len(s.accounts), len(s.open))
	}
	s.mu.Unlock()
	check(t, s.Close())
}

func TestIdleDatabasesClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, Options{})
		a, b := take(t, s, "alice"), take(t, s, "bob")
		file(t, a, 1, 3)
		snapshot, err := a.Snapshot(t.Context(), 1)
		check(t, err)
		content, err := a.Open(t.Context(), snapshot.At(0).Blob)
		check(t, err)
		check(t, b.Close())
		time.Sleep(3 * idleTime)
		synctest.Wait()
		if n := s.openDatabases(); n != 0 || len(s.accounts) != 1 {
			t.Errorf("%d databases are open, %d accounts in memory", n, len(s.accounts))
		}
		if again, err := a.Snapshot(t.Context(), 1); err != nil || again != snapshot {
			t.Errorf("a snapshot in memory needs the database: %v", err)
		}
		if _, err := content.ReadAt(make([]byte, 5), 3); err != nil {
			t.Error(err)
		}
		file(t, a, 1, 1)
		check(t, content.Close())
		check(t, a.Close())
		check(t, s.Close())
		check(t, s.Close())
	})
}

func TestCacheIsBounded(t *testing.T) {
	const limit = 3000 * 100
	s := start(t, Options{CacheSize: limit})
	a := take(t, s, "alice")
	var boxes []BoxID
	for i := range 8 {
		applied, err := a.Apply(t.Context(), CreateBox{Name: fmt.Sprint("box", i)})
		check(t, err)
		boxes = append(boxes, applied.Results[0].Box.ID)
		file(t, a, boxes[i], 2000)
	}
	for range 3 {
		for _, id := range boxes {
			snapshot, err := a.Snapshot(t.Context(), id)
			check(t, err)
			if snapshot.Len() != 2000 || snapshot.At(1999).UID != 2000 {
				t.Errorf("%d messages", snapshot.Len())
			}
			if s.cache.size > limit {
				t.Errorf("%d octets are held", s.cache.size)
			}
		}
	}
	held := int64(0)
	for _, b := range a.(*handle).base.boxes {
		held += b.held()
	}
	if held != s.cache.size || held == 0 {
		t.Errorf("%d octets are held, %d counted", held, s.cache.size)
	}
	check(t, a.Close())
	check(t, s.Remove(t.Context(), "alice"))
	if s.cache.size != 0 || len(s.cache.boxes) != 0 {
		t.Errorf("%d octets of nobody are held", s.cache.size)
	}
	check(t, s.Close())
}

// tamper changes the database of an account behind the store's back.
func tamper(t *testing.T, dir, query string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*", "alice", fileName))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	c, err := sqlite.OpenConn(files[0], sqlite.OpenReadWrite)
	check(t, err)
	check(t, sqlitex.ExecuteTransient(c, query, nil))
	check(t, c.Close())
}

func TestDamageIsTold(t *testing.T) {
	big := strings.Repeat("x", 100_000)
	for _, c := range []struct{ query, what string }{
		{"UPDATE slab SET data = substr(data, 1, 2) || x'ff' || substr(data, 4)", "snapshot"},
		{"UPDATE slab SET data = x''", "snapshot"},
		{"DELETE FROM slab", "snapshot"},
		{"DELETE FROM box", "load"},
		{"UPDATE header SET octets = x'00' || substr(octets, 2)", "open"},
		{"UPDATE chunk SET data = x'00' || substr(data, 2)", "open"},
		{"DELETE FROM chunk", "open"},
		{"UPDATE chunk SET coding = 99", "open"},
		{"UPDATE facts SET parts = x'ff'", "facts"},
	} {
		dir := t.TempDir()
		s := start(t, Options{Dir: dir})
		a := take(t, s, "alice")
		id, err := a.Stage(t.Context(), strings.NewReader("Subject: big\r\n\r\n"+big))
		check(t, err)
		_, err = a.Apply(t.Context(), Add{Box: 1, Blob: id})
		check(t, err)
		check(t, s.Close())
		tamper(t, dir, c.query)
		if got := whatFails(t, dir, id); got != c.what {
			t.Errorf("%s: %s fails; want %s", c.query, got, c.what)
		}
	}
}

// whatFails is the first operation that says ErrCorrupt.
func whatFails(t *testing.T, dir string, id BlobID) string {
	s := start(t, Options{Dir: dir})
	defer s.Close()
	a, err := s.Account(t.Context(), "alice")
	if errors.Is(err, ErrCorrupt) {
		return "load"
	}
	check(t, err)
	_, err = a.Snapshot(t.Context(), 1)
	if errors.Is(err, ErrCorrupt) {
		return "snapshot"
	}
	check(t, err)
	for _, err := range a.Facts(t.Context(), WantParts, func(yield func(BlobID) bool) { yield(id) }) {
		if errors.Is(err, ErrCorrupt) {
			return "facts"
		}
		check(t, err)
	}
	content, err := a.Open(t.Context(), id)
	if err == nil {
		_, err = content.ReadAt(make([]byte, content.Size()), 0)
	}
	if errors.Is(err, ErrCorrupt) {
		return "open"
	}
	check(t, err)
	return "nothing"
}

func TestNotADatabase(t *testing.T) {
	dir := t.TempDir()
	s := start(t, Options{Dir: dir})
	check(t, take(t, s, "alice").Close())
	check(t, s.Close())
	files, _ := filepath.Glob(filepath.Join(dir, "*", "alice", fileName))
	check(t, os.WriteFile(files[0], []byte(strings.Repeat("not a database", 1000)), 0o600))
	s = start(t, Options{Dir: dir})
	if _, err := s.Account(t.Context(), "alice"); !errors.Is(err, ErrCorrupt) {
		t.Errorf("%v", err)
	}
	check(t, s.Close())
}

func TestStorageErrors(t *testing.T) {
	for _, e := range storageErrors {
		if err := storageError(fmt.Errorf("x: %w", e.theirs)); !errors.Is(err, e.ours) || !errors.Is(err, e.theirs) {
			t.Errorf("%v becomes %v", e.theirs, err)
		}
	}
	if err := storageError(ErrNoBox); err != ErrNoBox {
		t.Errorf("%v", err)
	}
	if storageError(nil) != nil {
		t.Error("an error of nothing")
	}
}

// limitPages makes a database full at a number of pages.
func limitPages(t *testing.T, a Account, pages int) {
	t.Helper()
	check(t, a.(*handle).with(func(d *db.DB) error {
		return d.Write(t.Context(), func(tx *db.Tx) error {
			return sqlitex.ExecuteTransient(tx.Conn, fmt.Sprint("PRAGMA max_page_count=", pages), nil)
		})
	}))
}

// bigLetter is a message of 400 KiB that does not compress.
func bigLetter() string {
	noise := make([]byte, 400<<10)
	rand.NewChaCha8([32]byte{}).Read(noise)
	return "Subject: big\r\n\r\n" + string(noise)
}

// TestFullDisk fills the database up: what does not fit is refused, what was there stays, and when there is room again all goes on.
func TestFullDisk(t *testing.T) {
	s := start(t, Options{})
	defer s.Close()
	a := take(t, s, "alice")
	file(t, a, 1, 10)
	limitPages(t, a, 60)
	big := bigLetter()
	id, err := a.Stage(t.Context(), strings.NewReader(big))
	check(t, err)
	for range 3 {
		if _, err := a.Apply(t.Context(), Add{Box: 1, Blob: id, Key: "key"}); !errors.Is(err, ErrFull) {
			t.Fatal(err)
		}
		if _, err := a.Stage(t.Context(), strings.NewReader(strings.Repeat(big, 4))); !errors.Is(err, ErrFull) {
			t.Fatal(err)
		}
		if snapshot, err := a.Snapshot(t.Context(), 1); err != nil || snapshot.Len() != 10 || snapshot.Box.UIDNext != 11 {
			t.Errorf("%+v, %v", snapshot.Box, err)
		}
		_, err := a.Apply(t.Context(), SetFlags{Box: 1, UIDs: AllUIDs(), Op: ReplaceFlags, Marks: Marks{System: Seen}})
		check(t, err)
	}
	limitPages(t, a, 100_000)
	applied, err := a.Apply(t.Context(), Add{Box: 1, Blob: id, Key: "key"})
	check(t, err)
	if applied.Results[0].Duplicate || applied.Results[0].UIDs.String() != "11" {
		t.Errorf("%+v", applied)
	}
	file(t, a, 1, 1)
}

// TestFullDiskForMany has writers share transactions that fail as a whole: what each was told is what is there, before and after a
// restart.
func TestFullDiskForMany(t *testing.T) {
	dir := t.TempDir()
	s := start(t, Options{Dir: dir})
	a := take(t, s, "alice")
	limitPages(t, a, 150)
	big := bigLetter()
	var mu sync.Mutex
	told := make(map[UID]int64) // UID → size
	full := 0
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 30 {
				text := fmt.Sprintf("Subject: %d.%d\r\n\r\n", i, j)
				if (i+j)%4 == 0 {
					text = big
				}
				id, err := a.Stage(t.Context(), strings.NewReader(text))
				if err != nil {
					t.Error(err)
					return
				}
				applied, err := a.Apply(t.Context(), Add{Box: 1, Blob: id}, SetFlags{Box: 1, UIDs: AllUIDs(), Marks: Marks{System: Seen}})
				mu.Lock()
				if errors.Is(err, ErrFull) {
					full++
				} else if err != nil {
					t.Error(err)
				} else if uid := applied.Results[0].UIDs[0].First; told[uid] != 0 {
					t.Errorf("UID %d was given twice", uid)
				} else {
					told[uid] = int64(len(text))
				}
				mu.Unlock()
				a.Discard(id)
			}
		})
	}
	wg.Wait()
	if full == 0 || len(told) < 10 {
		t.Errorf("%d were refused, %d filed", full, len(told))
	}
	for range 2 {
		snapshot, err := a.Snapshot(t.Context(), 1)
		check(t, err)
		if snapshot.Len() != len(told) || snapshot.Box.Unseen != 0 {
			t.Errorf("%+v; %d were filed", snapshot.Box, len(told))
		}
		for _, m := range snapshot.All() {
			content, err := a.Open(t.Context(), m.Blob)
			check(t, err)
			if content.Size() != told[m.UID] || m.Size != told[m.UID] {
				t.Errorf("UID %d: %d octets; want %d", m.UID, content.Size(), told[m.UID])
			}
			check(t, content.Close())
		}
		check(t, s.Close())
		s = start(t, Options{Dir: dir})
		a = take(t, s, "alice")
	}
	check(t, s.Close())
}

func TestStagedIsBounded(t *testing.T) {
	s := start(t, Options{})
	defer s.Close()
	a := take(t, s, "alice")
	noise := make([]byte, stageBuffer-1000)
	random := rand.NewChaCha8([32]byte{})
	var changes []Mutation
	var texts []string
	for range 2 * maxStaged / len(noise) {
		random.Read(noise)
		texts = append(texts, "\r\n"+string(noise))
		id, err := a.Stage(t.Context(), strings.NewReader(texts[len(texts)-1]))
		check(t, err)
		changes = append(changes, Add{Box: 1, Blob: id})
		if held := s.staged.Load(); held > maxStaged {
			t.Fatalf("%d octets are held", held)
		}
	}
	_, err := a.Apply(t.Context(), changes[len(changes)/2:]...)
	check(t, err)
	for i, m := range changes[:len(changes)/2] {
		a.Discard(m.(Add).Blob)
		changes[i] = nil
	}
	if held := s.staged.Load(); held != 0 {
		t.Errorf("%d octets are held, but nothing is staged", held)
	}
	for i := len(changes) / 2; i < len(changes); i++ {
		content, err := a.Open(t.Context(), changes[i].(Add).Blob)
		check(t, err)
		got := make([]byte, content.Size())
		if _, err := content.ReadAt(got, 0); err != nil || string(got) != texts[i] {
			t.Fatalf("message %d: %d octets, %v", i, len(got), err)
		}
		check(t, content.Close())
	}
}

func TestBoxesAreBounded(t *testing.T) {
	s := start(t, Options{})
	defer s.Close()
	a := take(t, s, "alice")
	base := a.(*handle).base
	for id := BoxID(1000); base.countBoxes() < MaxBoxes-1; id++ {
		base.boxes[id] = &box{Box: Box{ID: id, Name: fmt.Sprint("box", id)}}
		base.names[base.boxes[id].Name] = id
	}
	if _, err := a.Apply(t.Context(), CreateBox{Name: "one/two"}); !errors.Is(err, ErrLimit) {
		t.Errorf("%v", err)
	}
	if _, err := a.Apply(t.Context(), CreateBox{Name: "one"}, DeleteBox{Name: "one"}, CreateBox{Name: "two"}); err != nil {
		t.Error(err)
	}
	if _, err := a.Apply(t.Context(), CreateBox{Name: "three"}); !errors.Is(err, ErrLimit) {
		t.Errorf("%v", err)
	}
}

func TestRemoveIsWhole(t *testing.T) {
	dir := t.TempDir()
	s := start(t, Options{Dir: dir})
	a := take(t, s, "alice")
	file(t, a, 1, 1)
	check(t, a.Close())
	check(t, s.Remove(t.Context(), "alice"))
	check(t, s.Remove(t.Context(), "alice"))
	left := func() []string {
		names, err := filepath.Glob(filepath.Join(dir, "*", "*"))
		check(t, err)
		hidden, err := filepath.Glob(filepath.Join(dir, "*", ".*"))
		check(t, err)
		return append(names, hidden...)
	}
	if names := left(); names != nil {
		t.Errorf("%v is left", names)
	}
	a = take(t, s, "alice")
	file(t, a, 1, 2)
	check(t, a.Close())
	check(t, s.Close())
	name := left()[0]
	check(t, os.Rename(name, filepath.Join(filepath.Dir(name), removedMark+"alice"))) // as a crash leaves it
	s = start(t, Options{Dir: dir})
	if names := left(); names != nil {
		t.Errorf("%v is left", names)
	}
	a = take(t, s, "alice")
	if b, err := a.Box(t.Context(), Inbox); err != nil || b.Messages != 0 {
		t.Errorf("%+v, %v", b, err)
	}
	check(t, s.Close())
}
