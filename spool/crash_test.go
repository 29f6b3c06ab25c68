package spool

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"posthouse/internal/vfs"
	"posthouse/internal/vfs/memfs"
	"posthouse/mail"
	"posthouse/mail/mailtest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// largeBody is more than goes in a row.
func largeBody(seed byte) []byte { return bytes.Repeat([]byte{seed}, MaxInlineBody+10_000) }

// journey is a scenario in which large bodies come and go, and what it was told of them.
type journey struct {
	*testing.T
	s       *SQLite
	opened  bool
	bodies  map[mail.ID][]byte // of everything begun
	kept    map[mail.ID]bool   // Commit was acknowledged, no Settle was begun
	settled map[mail.ID]bool   // Settle was acknowledged
}

func (j *journey) draft(body []byte) (Draft, error) {
	env := mail.Envelope{To: []mail.Recipient{{Address: mailtest.Address("bob@south.test")}}}
	d, err := j.s.Create(j.Context(), env)
	if err != nil {
		return nil, err
	}
	j.bodies[d.Envelope().ID] = body
	for part := range slices.Chunk(body, MaxInlineBody) {
		if _, err := d.Write(part); err != nil {
			return d, errors.Join(err, d.Abort())
		}
	}
	return d, nil
}

func (j *journey) commit(body []byte) error {
	d, err := j.draft(body)
	if err != nil {
		return err
	}
	id, err := d.Commit(j.Context())
	if err != nil {
		return errors.Join(err, d.Abort())
	}
	j.kept[id] = true
	return nil
}

// settle takes one message and delivers it, with a notice if that is not nil.
func (j *journey) settle(notice []byte) error {
	jobs, err := j.s.Take(j.Context(), Want{Limit: 1, Lease: time.Hour, Destination: "south.test"})
	if err != nil || len(jobs) == 0 {
		return errors.Join(err, errNothing)
	}
	id := jobs[0].Lease.ID
	var drafts []Draft
	if notice != nil {
		d, err := j.draft(notice)
		if err != nil {
			return err
		}
		drafts = append(drafts, d)
	}
	delete(j.kept, id)
	if err := j.s.Settle(j.Context(), jobs[0].Lease, []Outcome{{N: 0, Result: Delivered}}, drafts...); err != nil {
		return err
	}
	j.settled[id] = true
	for _, d := range drafts {
		j.kept[d.Envelope().ID] = true
	}
	return nil
}

// run goes through the scenario as far as errors let it, and tells those.
func (j *journey) run() error {
	var errs []error
	try := func(step func() error) { errs = append(errs, step()) }
	try(func() error { return j.commit([]byte("small")) })
	try(func() error { return j.commit(largeBody('a')) })
	try(func() error {
		d, err := j.draft(largeBody('b'))
		if err != nil {
			return err
		}
		return d.Abort()
	})
	try(func() error { return j.settle(nil) })
	try(func() error { return j.settle(largeBody('c')) })
	try(func() error { return j.commit(largeBody('d')) })
	try(j.putOff)
	try(j.tell)
	try(func() error { return j.s.prune(j.Context(), time.Now()) })
	try(func() error { return j.settle(nil) })
	try(func() error { return j.commit([]byte("last")) })
	return errors.Join(errs...)
}

// putOff takes one message and puts it off until now.
func (j *journey) putOff() error {
	jobs, err := j.s.Take(j.Context(), Want{Limit: 1, Lease: time.Hour, Destination: "south.test"})
	if err != nil || len(jobs) == 0 {
		return errors.Join(err, errNothing)
	}
	return j.s.Settle(j.Context(), jobs[0].Lease, []Outcome{{N: 0, Result: Retry, Due: time.Now(), Reply: "450 later"}})
}

// tell reads all there is to read.
func (j *journey) tell() error {
	for st, err := range j.s.Trace(j.Context(), Query{Address: mailtest.Address("bob@south.test"), Limit: 10}) {
		if err != nil {
			return err
		}
		if content, err := j.s.Open(j.Context(), st.ID); err == nil {
			_, err = content.ReadAt(make([]byte, 10), 0)
			if err := errors.Join(ignore(err, io.EOF), content.Close()); err != nil {
				return err
			}
		} else if !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	return nil
}

// errNothing says that there was nothing to take, since a step before failed.
var errNothing = errors.New("nothing to take")

func ignore(err, ignored error) error {
	if errors.Is(err, ignored) {
		return nil
	}
	return err
}

// audit compares what a reopened spool holds with what was acknowledged.
func (j *journey) audit(dir string, files vfs.FS) {
	j.Helper()
	s, err := OpenSQLite(Options{Dir: dir, FS: files})
	if err != nil {
		j.Fatal(err)
	}
	defer s.Close()
	left := make(map[string]bool)
	for e, err := range s.List(j.Context(), Filter{States: []State{Ready, Leased, Held, Dead, Done}}) {
		if err != nil {
			j.Fatal(err)
		}
		if j.settled[e.ID] || e.Recipients[0].State != Ready {
			j.Fatalf("%v: settled %v, yet there: %+v", e.ID, j.settled[e.ID], e.Recipients[0])
		}
		if !bytes.Equal(read(j, s, e.ID), j.bodies[e.ID]) {
			j.Errorf("%v: damaged", e.ID)
		}
		delete(j.kept, e.ID)
		if e.Size > MaxInlineBody {
			left[e.ID.String()] = true
		}
	}
	for id := range j.kept {
		j.Errorf("%v: acknowledged, yet lost", id)
	}
	entries, err := files.ReadDir(path.Join(filepath.ToSlash(dir), largeName))
	if err != nil {
		j.Fatal(err)
	}
	for _, e := range entries {
		if !left[e.Name()] {
			j.Errorf("large/%s: an orphan", e.Name())
		}
	}
}

func newJourney(t *testing.T) *journey {
	return &journey{T: t, bodies: make(map[mail.ID][]byte), kept: make(map[mail.ID]bool), settled: make(map[mail.ID]bool)}
}

// newFiles is a file system in memory where the parent of dir is durable: it was there before us.
func newFiles(t *testing.T, dir string) *memfs.FS {
	t.Helper()
	files := memfs.New()
	parent := path.Dir(filepath.ToSlash(dir))
	err := files.MkdirAll(parent)
	for err == nil && parent != path.Dir(parent) {
		parent = path.Dir(parent)
		err = files.SyncDir(parent)
	}
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// start opens a spool on the files and runs the scenario on it.
func (j *journey) start(dir string, files vfs.FS) error {
	var err error
	if j.s, err = OpenSQLite(Options{Dir: dir, FS: files}); err != nil {
		return err
	}
	defer j.s.Close()
	j.opened = true
	return j.run()
}

// TestCrashAtEveryOperation: the power goes at every operation on the files of large bodies, with nothing that was not synced
// surviving, and with any part of it.
func TestCrashAtEveryOperation(t *testing.T) {
	t.Parallel()
	n, step := stride(1)
	for more := true; more; n += step {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			j, dir := newJourney(t), t.TempDir()
			files := newFiles(t, dir)
			before := files.Count()
			files.CrashAt(n)
			err := j.start(dir, files)
			more = files.Count() >= before+n
			if more && err == nil && files.Count() > before+n {
				t.Error("a crash went unnoticed")
			}
			var chance *rand.Rand
			if n%2 == 0 {
				chance = rand.New(rand.NewPCG(uint64(n), 0))
			}
			j.audit(dir, files.Crash(chance))
		})
	}
}

func TestNothingIsTakenAfterAFailedSync(t *testing.T) {
	files := memfs.New()
	s := open(t, Options{FS: files})
	j := newJourney(t)
	j.s = s
	d, err := j.draft(largeBody('a'))
	if err != nil {
		t.Fatal(err)
	}
	files.FailAt(1, syscall.EIO)
	for range 2 {
		if _, err := d.Commit(t.Context()); !errors.Is(err, ErrFailed) {
			t.Error(err)
		}
	}
	if err := j.commit([]byte("small")); !errors.Is(err, ErrFailed) || !errors.Is(s.Failed(), ErrFailed) {
		t.Error(err, s.Failed())
	}
}

// watched logs each operation on the files with what the database says of the message at that moment.
type watched struct {
	vfs.FS
	note func(op, name string)
}

func (w watched) Create(name string) (vfs.File, error) {
	w.note("create", name)
	f, err := w.FS.Create(name)
	return watchedFile{f, w, name}, err
}

func (w watched) Rename(from, to string) error { w.note("rename", from); return w.FS.Rename(from, to) }
func (w watched) Remove(name string) error     { w.note("remove", name); return w.FS.Remove(name) }
func (w watched) SyncDir(name string) error    { w.note("syncdir", name); return w.FS.SyncDir(name) }

type watchedFile struct {
	vfs.File
	fs   watched
	name string
}

func (f watchedFile) Write(p []byte) (int, error) {
	f.fs.note(fmt.Sprintf("write %d", len(p)), f.name)
	return f.File.Write(p)
}
func (f watchedFile) Sync() error { f.fs.note("sync", f.name); return f.File.Sync() }

// TestOrderOfALargeBody pins when a large body is written, synced, committed and removed.
func TestOrderOfALargeBody(t *testing.T) {
	var log strings.Builder
	var s *SQLite
	var id mail.ID
	files := watched{memfs.New(), func(op, name string) {
		row := "no row"
		if s == nil {
			return // the directories
		}
		if _, err := s.Show(t.Context(), id); err == nil {
			row = "row"
		}
		base := path.Base(name)
		if base != largeName {
			base = "ID"
		}
		fmt.Fprintf(&log, "%s %s: %s\n", op, base, row)
	}}
	s = open(t, Options{FS: files})
	j := newJourney(t)
	j.s = s
	d, err := s.Create(t.Context(), mail.Envelope{To: []mail.Recipient{{Address: mailtest.Address("bob@south.test")}}})
	if err != nil {
		t.Fatal(err)
	}
	id = d.Envelope().ID
	for _, size := range []int{MaxInlineBody, 1, 1000} {
		if _, err := d.Write(make([]byte, size)); err != nil {
			t.Fatal(err)
		}
	}
	log.WriteString("Commit\n")
	if _, err := d.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	log.WriteString("Settle\n")
	if err := j.settle(nil); err != nil {
		t.Fatal(err)
	}
	log.WriteString("Abort\n")
	if err := d.Abort(); err != nil { // it was committed, and so this does nothing
		t.Fatal(err)
	}
	aborted, err := j.draft(largeBody('a'))
	if err != nil {
		t.Fatal(err)
	}
	log.WriteString("Abort\n")
	if err := aborted.Abort(); err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "large.golden")
	if *update {
		if err := os.WriteFile(golden, []byte(log.String()), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || log.String() != string(want) {
		t.Errorf("%v\n%s\nwant\n%s", err, log.String(), want)
	}
}
