package mailbox

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"zombiezen.com/go/sqlite"

	"posthouse/internal/db"
	"posthouse/mailbox/index"
)

// Accounts are indexed one after the other by one goroutine, which rests as long as it works, and longer while there are changes: nobody
// waits for it. An account is indexed when it has had many new messages, and when it is searched; until then a search reads the few that the
// index has not reached.
const (
	indexAfter = 64   // contents that came or went
	restBusy   = 15   // times as long as it worked, if there were changes meanwhile
	maxBehind  = 4096 // accounts that wait; one more comes with its next messages or search
	indexLook  = 256  // contents that are looked up at a time
)

// indexQueue is the accounts that are to be indexed.
type indexQueue struct {
	mu       sync.Mutex
	accounts []*account
	wake     chan struct{}
}

// noteForIndex tells that contents came or went.
func (a *account) noteForIndex(n int) {
	if n > 0 && a.changed.Add(int64(n)) >= indexAfter {
		a.store.index(a)
	}
}

// index has an account indexed, if it does not wait already.
func (s *SQLite) index(a *account) {
	a.retain()
	q := &s.behind
	q.mu.Lock()
	taken := !a.behind && len(q.accounts) < maxBehind
	if taken {
		q.accounts, a.behind = append(q.accounts, a), true
	}
	q.mu.Unlock()
	if !taken {
		a.release()
		return
	}
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// next takes the account that has waited longest; nil: none.
func (q *indexQueue) next() *account {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.accounts) == 0 {
		return nil
	}
	a := q.accounts[0]
	a.behind = false
	q.accounts = slices.Delete(q.accounts, 0, 1)
	return a
}

// indexAll indexes accounts until the store closes.
func (s *SQLite) indexAll() {
	for {
		a := s.behind.next()
		if a == nil {
			select {
			case <-s.done:
				return
			case <-s.behind.wake:
			}
			continue
		}
		goOn := s.indexAccount(a)
		a.release()
		if !goOn {
			return
		}
	}
}

// indexAccount brings an account's index up to date; false: the store closes.
func (s *SQLite) indexAccount(a *account) bool {
	a.changed.Store(0)
	for more := true; more; {
		begun, changes := time.Now(), s.changes.Load()
		_, more = a.indexSome()
		if !more {
			_ = a.prune() // withIndex logged it; what is gone is found by the next one
		}
		pause := time.Since(begun)
		if s.changes.Load() != changes {
			pause *= restBusy
		}
		rest := time.NewTimer(pause)
		select {
		case <-s.done:
			rest.Stop()
			return false
		case <-rest.C:
		}
	}
	return true
}

// settled is the last content up to which all that will ever be there are there: one that is being staged comes after it.
func (a *account) settled() BlobID {
	a.mu.RLock()
	defer a.mu.RUnlock()
	last := a.nextBlob - 1
	for id := range a.staged {
		last = min(last, id-1)
	}
	return last
}

// indexSome indexes the next contents, and tells how many, and whether there are more.
func (a *account) indexSome() (n int, more bool) {
	a.texts.working.Lock()
	defer a.texts.working.Unlock()
	p := pass{settled: a.settled(), batch: index.NewBatch()} // before they are looked up: what was committed until then is found
	err := a.withIndex(p.plan)
	if err == nil {
		err = p.read(a)
		a.logIndexing(err)
	}
	if err == nil {
		err = a.withIndex(func(_ *db.DB, x *index.Index) error { return p.finish(x) })
	}
	return p.batch.Len(), err == nil && p.more
}

// pass is one step of indexing.
type pass struct {
	settled BlobID
	reach   index.Reach
	ids     []BlobID // contents that are to be indexed, ascending
	marks   []int64
	partly  bool // there are more
	batch   *index.Batch
	more    bool // there is more to do
}

// plan finds the next contents.
func (p *pass) plan(d *db.DB, x *index.Index) (err error) {
	if p.reach, err = x.Reach(context.Background()); err != nil {
		return err
	}
	limit := indexLook + len(p.reach.Ahead)
	return d.Read(context.Background(), func(conn *sqlite.Conn) error {
		seen := 0
		err := rows(conn, "SELECT blob FROM content WHERE blob > ? AND refs > 0 ORDER BY blob LIMIT ?", func(s *sqlite.Stmt) error {
			seen++
			if id := s.ColumnInt64(0); !p.reach.Has(id) {
				p.ids = append(p.ids, BlobID(id))
			}
			return nil
		}, p.reach.To, int64(limit))
		p.partly = seen == limit
		p.marks = make([]int64, len(p.ids))
		for i := 0; i < len(p.ids) && err == nil; i++ {
			p.marks[i], err = markOf(conn, p.ids[i])
		}
		return err
	})
}

// read reads contents until the batch is full.
func (p *pass) read(a *account) error {
	next := 0
	for facts, err := range a.Facts(context.Background(), WantParts, slices.Values(p.ids)) {
		if err != nil {
			return err
		}
		for p.ids[next] < facts.Blob { // it was deleted meanwhile
			next++
		}
		if p.batch.Full() {
			p.ids, p.partly = p.ids[:next], true
			return nil
		}
		if err := p.add(a, facts, p.marks[next]); err != nil {
			return err
		}
		select {
		case <-a.store.done:
			return ErrClosed
		default:
		}
	}
	return nil
}

// add adds a content to the batch. One that is damaged is a suspect from then on; one that is gone is left out.
func (p *pass) add(a *account, facts *Facts, mark int64) error {
	content, err := a.Open(context.Background(), facts.Blob)
	if errors.Is(err, ErrNoBlob) {
		return nil
	}
	var octets io.ReaderAt = unreadable{err}
	if err == nil {
		defer content.Close() //nolint:errcheck // it was only read
		octets = content
	}
	err = p.batch.Add(index.Content{ID: int64(facts.Blob), Mark: mark, Root: facts.Parts}, octets)
	if errors.Is(err, ErrCorrupt) {
		return nil
	}
	return err
}

// unreadable is a content that cannot be read.
type unreadable struct{ err error }

func (u unreadable) ReadAt([]byte, int64) (int, error) { return 0, u.err }

// finish stores the batch.
func (p *pass) finish(x *index.Index) error {
	to := p.settled
	if p.partly {
		to = min(to, p.ids[len(p.ids)-1])
	}
	if int64(to) > p.reach.To || p.batch.Len() > 0 {
		if err := x.Commit(context.Background(), p.batch, p.reach.To, int64(to)); err != nil {
			return err
		}
	}
	unmerged, err := x.Tidy(context.Background())
	p.more = p.partly || unmerged
	return err
}
