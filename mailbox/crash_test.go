package mailbox_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"posthouse/internal/testkit"
	"posthouse/mailbox"
)

// crashDir, in the environment, makes the test binary the process that is killed.
const crashDir = "MAILBOX_CRASH_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		if err := work(dir, os.Getenv("MAILBOX_CRASH_ROUND")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

const crashWorkers = 4

// TestKill kills a process at work with -9, again and again, and holds what it acknowledged against what is there: filed exactly once,
// no UID given twice, mod-sequences never lower, and nothing left that nobody refers to.
func TestKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	audit := newAudit(t)
	r := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	for round := range testkit.CrashRounds(6) {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), crashDir+"="+dir, "MAILBOX_CRASH_ROUND="+strconv.Itoa(round))
		var problems bytes.Buffer
		cmd.Stderr = &problems
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		killAt := 50 + r.IntN(400) // acknowledgements
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			audit.acknowledged(lines.Text())
			if n == killAt {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := cmd.Wait(); err == nil || problems.Len() > 0 {
			t.Fatalf("round %d: %v: %s", round, err, problems.String())
		}
		audit.check(dir)
	}
	t.Logf("%d messages acknowledged, %d of them expunged", len(audit.filed), len(audit.expunged))
}

// work files, copies, moves and expunges messages until it is killed. It prints what was acknowledged.
func work(dir, round string) error {
	ctx := context.Background()
	s, err := mailbox.OpenSQLite(mailbox.Options{Dir: dir, KeepExpunged: keepExpunged(round)})
	if err != nil {
		return err
	}
	a, err := s.Account(ctx, "alice")
	if err != nil {
		return err
	}
	errs := make(chan error)
	var mu sync.Mutex
	say := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Printf(format+"\n", args...)
	}
	bob, err := s.AccountAs(ctx, "alice", "bob")
	if err != nil {
		return err
	}
	for i := range crashWorkers {
		go func() { errs <- workOne(ctx, a, bob, fmt.Sprintf("%s.%d", round, i), say) }()
	}
	return <-errs
}

// keepExpunged has every other process keep what it expunges.
func keepExpunged(round string) time.Duration {
	if n, err := strconv.Atoi(round); err != nil || n%2 == 0 {
		return 0
	}
	return time.Hour
}

// crashBox is the box that worker i has for itself.
func crashBox(worker string) string { return "box " + worker[strings.IndexByte(worker, '.')+1:] }

func workOne(ctx context.Context, a, bob mailbox.Account, worker string, say func(string, ...any)) error {
	if _, err := a.Apply(ctx, mailbox.CreateBox{Name: crashBox(worker)}); err != nil && !errors.Is(err, mailbox.ErrBoxExists) {
		return err
	}
	own, err := a.Box(ctx, crashBox(worker))
	if err != nil {
		return err
	}
	inbox, err := a.Box(ctx, mailbox.Inbox)
	if err != nil {
		return err
	}
	for n := 0; ; n++ {
		key := fmt.Sprintf("%s.%d", worker, n)
		size := 1000
		if n%20 == 0 {
			size = 1 << 20
		}
		id, err := a.Stage(ctx, strings.NewReader(crashText(key, size)))
		if err != nil {
			return err
		}
		applied, err := a.Apply(ctx, mailbox.Add{Box: inbox.ID, Blob: id, Key: key})
		if err != nil {
			return err
		}
		uids := applied.Results[0].UIDs
		say("filed %s %d %d %d", key, uids[0].First, applied.ModSeq, size)
		switch n % 4 {
		case 0:
			applied, err = a.Apply(ctx, mailbox.Move{From: inbox.ID, UIDs: uids, To: own.ID})
		case 1:
			applied, err = a.Apply(ctx, mailbox.SetFlags{Box: inbox.ID, UIDs: uids, Marks: mailbox.Marks{System: mailbox.Flagged}},
				mailbox.Copy{From: inbox.ID, UIDs: uids, To: own.ID})
			if err == nil {
				applied, err = a.Apply(ctx, expunging(own.ID, applied.Results[1].UIDs)...)
			}
		case 2:
			say("expunging %s", key)
			applied, err = a.Apply(ctx, expunging(inbox.ID, uids)...)
		case 3: // what another has seen goes with the message
			seen := mailbox.SetFlags{Box: inbox.ID, UIDs: uids, Marks: mailbox.Marks{System: mailbox.Seen}}
			applied, err = bob.Apply(ctx, seen, mailbox.Move{From: inbox.ID, UIDs: uids, To: own.ID})
			if err == nil {
				say("seen %s", key)
			}
		}
		if err != nil {
			return err
		}
		say("modseq %d", applied.ModSeq)
	}
}

func expunging(box mailbox.BoxID, uids mailbox.UIDSet) []mailbox.Mutation {
	return []mailbox.Mutation{mailbox.SetFlags{Box: box, UIDs: uids, Marks: mailbox.Marks{System: mailbox.Deleted}}, mailbox.Expunge{Box: box, UIDs: uids}}
}

func crashText(key string, size int) string {
	head := "Subject: " + key + "\r\n\r\n"
	return head + strings.Repeat("x", size-len(head))
}

// audit is what the killed processes said.
type audit struct {
	*testing.T
	filed    map[string]int         // key → size
	uids     map[mailbox.UID]string // of Inbox
	expunged map[string]bool        // or the process was about to
	seen     map[string]bool        // by bob
	modseq   mailbox.ModSeq
}

func newAudit(t *testing.T) *audit {
	return &audit{T: t, filed: make(map[string]int), uids: make(map[mailbox.UID]string), expunged: make(map[string]bool), seen: make(map[string]bool)}
}

func (a *audit) acknowledged(line string) {
	var key string
	var uid mailbox.UID
	var modseq mailbox.ModSeq
	var size int
	if _, err := fmt.Sscanf(line, "filed %s %d %d %d", &key, &uid, &modseq, &size); err == nil {
		if other := a.uids[uid]; other != "" {
			a.Errorf("UID %d was given to %s and to %s", uid, other, key)
		}
		a.filed[key], a.uids[uid] = size, key
	} else if _, err := fmt.Sscanf(line, "expunging %s", &key); err == nil {
		a.expunged[key] = true
	} else if _, err := fmt.Sscanf(line, "seen %s", &key); err == nil {
		a.seen[key] = true
	} else if _, err := fmt.Sscanf(line, "modseq %d", &modseq); err != nil {
		a.Errorf("%q", line)
	}
	a.modseq = max(a.modseq, modseq)
}

// check opens what was left, and waits until content without references is deleted.
func (a *audit) check(dir string) {
	synctest.Test(a.T, func(t *testing.T) {
		s := open(t, mailbox.Options{Dir: dir})
		account, err := s.Account(t.Context(), "alice")
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		refs := a.checkMessages(t, account)
		bob, err := s.AccountAs(t.Context(), "alice", "bob")
		if err != nil {
			t.Fatal(err)
		}
		a.checkSeen(t, bob)
		if err := errors.Join(bob.Close(), account.Close(), s.Close()); err != nil {
			t.Error(err)
		}
		checkBooks(t, dir, refs)
	})
}

// checkMessages compares what is there with what was acknowledged, and counts how often each content is referred to.
func (a *audit) checkMessages(t *testing.T, account mailbox.Account) map[mailbox.BlobID]int64 {
	boxes, err := account.Boxes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	refs := make(map[mailbox.BlobID]int64)
	count := make(map[string]int) // messages of each key, but copies, which are flagged
	blobs := make(map[string]mailbox.BlobID)
	highest := mailbox.ModSeq(0)
	for _, b := range boxes {
		highest = max(highest, b.ModSeq)
		snapshot, err := account.Snapshot(t.Context(), b.ID)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range snapshot.All() {
			refs[m.Blob]++
			key := a.read(t, account, m)
			blobs[key] = m.Blob
			if b.Name == mailbox.Inbox || m.Flags&mailbox.Flagged == 0 {
				count[key]++
			}
		}
	}
	for e, err := range account.Expunged(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		for i := range e.Messages {
			refs[e.Messages[i].Blob]++
			a.read(t, account, &e.Messages[i])
		}
	}
	if highest < a.modseq {
		t.Errorf("mod-sequence %d; %d was acknowledged", highest, a.modseq)
	}
	for key := range a.filed {
		if n := count[key]; n > 1 || n == 0 && !a.expunged[key] {
			t.Errorf("%s: filed %d times", key, n)
		}
	}
	a.checkIndex(t, account, blobs) // as the crash left it
	synctest.Wait()
	if n := a.checkIndex(t, account, blobs); n == 0 && len(blobs) > 10 {
		t.Error("the index does nothing")
	}
	return refs
}

// checkIndex looks for every message in the index, which may not rule it out, and counts what it does.
func (a *audit) checkIndex(t *testing.T, account mailbox.Account, blobs map[string]mailbox.BlobID) (ruledOut int) {
	for some := range slices.Chunk(slices.Collect(maps.Keys(blobs)), 50) {
		var texts [][]byte
		for _, key := range some {
			texts = append(texts, []byte("SUBJECT: "+key+"\n"))
		}
		for i, found := range account.Suspects(t.Context(), texts...) {
			if !found.Has(blobs[some[i]]) {
				t.Errorf("%s is no suspect", some[i])
			}
			for _, id := range blobs {
				if !found.Has(id) {
					ruledOut++
				}
			}
		}
	}
	return ruledOut
}

// checkSeen compares what bob has seen with what was acknowledged.
func (a *audit) checkSeen(t *testing.T, bob mailbox.Account) {
	boxes, err := bob.Boxes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, b := range boxes {
		snapshot, err := bob.Snapshot(t.Context(), b.ID)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range snapshot.All() {
			if m.Flags&mailbox.Seen != 0 {
				seen[a.read(t, bob, m)] = true
			}
		}
	}
	for key := range a.seen {
		if !seen[key] {
			t.Errorf("%s: bob has seen it no more", key)
		}
	}
}

// checkBooks compares the rows of contents with the references to them.
func checkBooks(t *testing.T, dir string, refs map[mailbox.BlobID]int64) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*", "alice", "mailbox.db"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	c, err := sqlite.OpenConn(files[0], sqlite.OpenReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	found := make(map[mailbox.BlobID]int64)
	row := func(s *sqlite.Stmt) error {
		found[mailbox.BlobID(s.ColumnInt64(0))] = s.ColumnInt64(1)
		return nil
	}
	if err := sqlitex.ExecuteTransient(c, "SELECT blob, refs FROM content", &sqlitex.ExecOptions{ResultFunc: row}); err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(found, refs) {
		t.Errorf("contents: %v; referred to: %v", found, refs)
	}
	for _, query := range []string{"SELECT blob FROM facts", "SELECT blob FROM header", "SELECT key >> 20 FROM chunk", "SELECT id FROM garbage"} {
		err := sqlitex.ExecuteTransient(c, query, &sqlitex.ExecOptions{ResultFunc: func(s *sqlite.Stmt) error {
			if refs[mailbox.BlobID(s.ColumnInt64(0))] == 0 {
				t.Errorf("%s: %d is left", query, s.ColumnInt64(0))
			}
			return nil
		}})
		if err != nil {
			t.Error(err)
		}
	}
	var whole string
	err = sqlitex.ExecuteTransient(c, "PRAGMA integrity_check", &sqlitex.ExecOptions{ResultFunc: func(s *sqlite.Stmt) error {
		whole += s.ColumnText(0)
		return nil
	}})
	if err != nil || whole != "ok" {
		t.Errorf("%s, %v", whole, err)
	}
}

// read compares a message's octets with what was filed, and is its key.
func (a *audit) read(t *testing.T, account mailbox.Account, m *mailbox.Message) string {
	c, err := account.Open(t.Context(), m.Blob)
	if err != nil {
		t.Errorf("UID %d: %v", m.UID, err)
		return ""
	}
	defer c.Close()
	b, err := io.ReadAll(io.NewSectionReader(c, 0, c.Size()))
	key, _, _ := strings.Cut(strings.TrimPrefix(string(b), "Subject: "), "\r\n")
	if err != nil || string(b) != crashText(key, len(b)) || a.filed[key] > 0 && a.filed[key] != len(b) {
		t.Errorf("UID %d (%s): %d octets, %v", m.UID, key, len(b), err)
	}
	return key
}
