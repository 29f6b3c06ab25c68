package spool

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"posthouse/internal/db"
	"posthouse/internal/testkit"
	"posthouse/mail"
	"posthouse/mail/mailtest"
)

// stock is a spool with messages of every kind, closed, and what is in it.
type stock struct {
	dir    string
	bodies map[mail.ID][]byte
}

func newStock(t *testing.T) *stock {
	t.Helper()
	k := &stock{t.TempDir(), make(map[mail.ID][]byte)}
	s, err := OpenSQLite(Options{Dir: k.dir})
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 120 {
		size := []int{20, 300, 3000, 9000, 70_000}[i%5]
		if i%40 == 7 {
			size = MaxInlineBody + 1000
		}
		body := make([]byte, size)
		for i := range body {
			body[i] = "0123456789abcdef"[r.IntN(16)]
		}
		env := benchEnvelope(t)
		env.Once, env.Priority = fmt.Sprint("name ", i), mail.Priority(i%3)
		for n := range i % 4 {
			env.To = append(env.To, mail.Recipient{Address: mailtest.Address(fmt.Sprintf("r%d@d%d.test", n, i%7)), Original: "rfc822;x@y.test"})
		}
		d, err := s.Create(t.Context(), env)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Write(body); err != nil {
			t.Fatal(err)
		}
		d.Prepend([]byte("Received: x\r\n"))
		id, err := d.Commit(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		k.bodies[id] = append([]byte("Received: x\r\n"), body...)
	}
	jobs, err := s.Take(t.Context(), Want{Limit: 100, Lease: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	for i, j := range jobs {
		var outcomes []Outcome
		for _, r := range j.Recipients {
			outcomes = append(outcomes, Outcome{N: r.N, Result: Result(i % 3), Due: time.Now().Add(time.Hour), Reply: "a reply of " + j.Destination})
		}
		if err := s.Settle(t.Context(), j.Lease, outcomes); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Change(t.Context(), Filter{To: "*@d3.test"}, Hold); err != nil {
		t.Fatal(err)
	}
	for id := range k.bodies {
		if _, err := s.Show(t.Context(), id); err != nil {
			delete(k.bodies, id) // it left
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return k
}

// copyTo makes a copy with one octet of one file changed.
func (k *stock) copyTo(t *testing.T, dir, file string, at int64) {
	t.Helper()
	if err := os.CopyFS(dir, os.DirFS(k.dir)); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= byte(1 << rand.IntN(8))
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
}

func verify(t *testing.T, dir string) (troubles []string) {
	t.Helper()
	if err := Verify(t.Context(), dir, func(trouble string) { troubles = append(troubles, trouble) }); err != nil {
		return append(troubles, err.Error())
	}
	return troubles
}

// dump is all that the tables say, in order, but for what the next start sets anew.
func dump(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := db.Inspect(t.Context(), filepath.Join(dir, databaseName), func(c *sqlite.Conn) error {
		for _, sql := range []string{
			"SELECT id, size, large, envelope, sum FROM message ORDER BY id", "SELECT message, prefix, body FROM body ORDER BY message",
			"SELECT " + recipientColumns + ", priority, sum FROM recipient ORDER BY message, n", "SELECT * FROM history ORDER BY seq",
			"SELECT key, message, time, sum FROM once ORDER BY key",
		} {
			q := prepare(c, sql)
			for q.next() {
				for i := range q.stmt.ColumnCount() {
					fmt.Fprintf(&b, "%q ", q.bytes(i))
				}
				b.WriteByte('\n')
			}
			if err := q.done(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err.Error()
	}
	return b.String()
}

// TestBitRot changes one bit anywhere: what changes what is said is found, and everything else is saved.
func TestBitRot(t *testing.T) {
	t.Parallel()
	k := newStock(t)
	if troubles := verify(t, k.dir); len(troubles) > 0 {
		t.Fatal(troubles)
	}
	before := dump(t, k.dir)
	info, err := os.Stat(filepath.Join(k.dir, databaseName))
	if err != nil {
		t.Fatal(err)
	}
	large, err := os.ReadDir(filepath.Join(k.dir, largeName))
	if err != nil || len(large) == 0 {
		t.Fatal(large, err)
	}
	rounds := 30
	switch {
	case testkit.CrashRounds(0) > 2:
		rounds = 500
	case testing.Short():
		rounds = 5
	}
	found, lost := 0, 0
	for round := range rounds {
		file, at := databaseName, rand.Int64N(info.Size())
		switch {
		case round%5 == 1: // the file's header and the first page
			at = rand.Int64N(200)
		case round%5 == 2: // what the header says of pages: their size, octets kept free, their number, the free list
			at = [...]int64{20, 16, 17, 28, 31, 35}[round/5%6]
		case round%10 == 0:
			file, at = filepath.Join(largeName, large[round%len(large)].Name()), rand.Int64N(MaxInlineBody)
		case round%3 == 0: // the head of a page
			at = at/4096*4096 + rand.Int64N(12)
		}
		dir := t.TempDir()
		damaged, saved := filepath.Join(dir, "damaged"), filepath.Join(dir, "saved")
		k.copyTo(t, damaged, file, at)
		troubles := verify(t, damaged)
		if len(troubles) > 0 {
			found++
		} else if file != databaseName || dump(t, damaged) != before {
			t.Errorf("octet %d of %s: not found", at, file)
		}
		lost += k.checkRepair(t, damaged, saved)
		if t.Failed() {
			t.Fatalf("octet %d of %s: %q", at, file, troubles)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d of %d changed bits mean something; %d messages lost with them", found, rounds, lost)
}

// checkRepair repairs, and checks that every message is in the new spool as it was, or was reported.
func (k *stock) checkRepair(t *testing.T, damaged, saved string) (lost int) {
	t.Helper()
	var reports []string
	done, err := Repair(t.Context(), damaged, saved, func(trouble string) { reports = append(reports, trouble) })
	if err != nil {
		t.Fatal(err)
	}
	if troubles := verify(t, saved); len(troubles) > 0 {
		t.Errorf("the repaired spool is damaged: %q", troubles)
	}
	s, err := OpenSQLite(Options{Dir: saved})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	kept := 0
	for id, want := range k.bodies {
		if _, err := s.Show(t.Context(), id); err == nil {
			if kept++; !bytes.Equal(read(t, s, id), want) {
				t.Errorf("%v: another body", id)
			}
		} else if lost++; !strings.Contains(strings.Join(reports, "\n"), id.String()) {
			t.Errorf("%v: gone without a word", id)
		}
	}
	if kept != done.Messages || done.Lost < lost { // a row whose key was changed is one more that is lost
		t.Errorf("%d kept, %d lost; it says %+v\n%s", kept, lost, done, strings.Join(reports, "\n"))
	}
	return lost
}

// TestDamagedIsNotOpened: nobody gets a message that is not as it was written.
func TestDamagedIsNotOpened(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{Dir: dir})
	small, large := put(t, s, []byte("the small one's body"), "bob@south.test"), put(t, s, largeBody('x'), "bob@south.test")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, databaseName)
	octets, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(octets, []byte("the small one's body"))
	octets[at] ^= 1
	if err := os.WriteFile(file, octets, 0o600); err != nil {
		t.Fatal(err)
	}
	changed := largeBody('x')
	changed[70_000] ^= 1
	if err := os.WriteFile(s.largePath(large), changed, 0o600); err != nil {
		t.Fatal(err)
	}
	s = open(t, Options{Dir: dir})
	for _, id := range []mail.ID{small, large} {
		if _, err := s.Open(t.Context(), id); err == nil || !strings.Contains(err.Error(), "checksum") {
			t.Errorf("%v: %v", id, err)
		}
	}
}

// TestRepairForgetsWhatLeft: pages that are not in use any more hold messages that were delivered. These are not sent again, nor reported
// as lost, though it is not known any more which pages those are.
func TestRepairForgetsWhatLeft(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, Options{Dir: dir})
	var wg sync.WaitGroup
	for range 256 { // they share syncs
		wg.Go(func() {
			for range 6 {
				if err := commit(t.Context(), s, benchEnvelope(t), []byte("body")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if _, err := s.Change(t.Context(), Filter{}, Drop); err != nil {
		t.Fatal(err)
	}
	put(t, s, []byte("the one that waits"), "bob@east.test")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, databaseName)
	octets, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	clear(octets[32:36]) // where the list of free pages begins
	if err := os.WriteFile(file, octets, 0o600); err != nil {
		t.Fatal(err)
	}
	done, err := Repair(t.Context(), dir, filepath.Join(t.TempDir(), "new"), func(string) {})
	if err != nil || done != (Salvaged{Messages: 1}) {
		t.Errorf("%+v, %v", done, err)
	}
}

// TestVerifyComparesTables: rows that are whole, and do not fit together, are found.
func TestVerifyComparesTables(t *testing.T) {
	t.Parallel()
	for sql, want := range map[string]string{
		"DELETE FROM message WHERE id = (SELECT min(id) FROM message)":        "without its message",
		"DELETE FROM body WHERE message = (SELECT min(id) FROM message)":      "its body has no row",
		"DELETE FROM recipient WHERE message = (SELECT min(id) FROM message)": "its row is missing",
		"DELETE FROM destination":                                                           "would not be found",
		"UPDATE destination SET due = due + 1":                                              "would not be found",
		"UPDATE destination SET due = due - 1":                                              "",
		"UPDATE meta SET value = 1 WHERE name = 'next_id'":                                  "may be given again",
		"UPDATE recipient SET state = 1":                                                    "a state that there is not",
		"UPDATE recipient SET attempts = 7":                                                 "its checksum is wrong",
		"UPDATE message SET size = size + 1":                                                "octets, and should have",
		"INSERT INTO body SELECT 1, prefix, body FROM body LIMIT 1":                         "a body without its message",
		"UPDATE history SET size = 1":                                                       "a part of its history",
		"UPDATE once SET key = 'another'":                                                   "the checksum of its name",
		"INSERT INTO history(message, time, events) VALUES(1, 2, '[]')":                     "",
		"UPDATE message SET sum = NULL; UPDATE recipient SET sum = NULL WHERE message < 99": "",
	} {
		dir := t.TempDir()
		s := open(t, Options{Dir: dir})
		if err := commit(t.Context(), s, namedEnvelope(t), []byte("body")); err != nil {
			t.Fatal(err)
		}
		left := put(t, s, []byte("body"), "bob@gone.test")
		if n, err := s.Change(t.Context(), Filter{ID: left}, Drop); err != nil || n != 1 {
			t.Fatal(n, err)
		}
		err := s.db.Write(t.Context(), func(tx *db.Tx) error { return sqlitex.ExecuteScript(tx.Conn, sql, nil) })
		if err != nil {
			t.Fatal(sql, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(verify(t, dir), "\n"); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%s: it says %q, want %q", sql, got, want)
		}
	}
}

func namedEnvelope(t *testing.T) mail.Envelope {
	env := benchEnvelope(t)
	env.Once = "a name"
	return env
}

// A spool whose database is gone is not begun anew over the bodies that are left: they stay, and whoever looks is told.
func TestBodiesWithoutQueue(t *testing.T) {
	dir := t.TempDir()
	s, err := OpenSQLite(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	id := put(t, s, make([]byte, MaxInlineBody+1), "bob@south.test")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, databaseName)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := OpenSQLite(Options{Dir: dir}); !errors.Is(err, ErrBodiesAlone) {
			t.Fatalf("opening it: %v", err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, largeName, id.String())); err != nil {
		t.Error(err)
	}
	if err := Verify(t.Context(), dir, func(string) {}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("verify: %v", err)
	}
}
