package db

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"time"

	"zombiezen.com/go/sqlite"
)

// Tx is one caller's part of the writer's transaction.
type Tx struct {
	*sqlite.Conn
	committed, aborted []func()
}

// OnCommit has f called after the transaction is durable, in the order of the writes and before any Write returns.
func (t *Tx) OnCommit(f func()) { t.committed = append(t.committed, f) }

// OnAbort has f called if the part is undone: its function failed, or the transaction did. What came last is undone first.
func (t *Tx) OnAbort(f func()) { t.aborted = append(t.aborted, f) }

type write struct {
	tx   Tx
	run  func(*Tx) error
	err  error
	done chan struct{} // closed when err is final, or leadership is handed over
	lead bool

	panicked any // what run panicked with
}

// Write runs f in the writer's transaction and returns when that is durable. If f fails, what it did is undone, alone, and Write
// returns its error as it is; if f panics, so does Write, with the same. f must not keep the Tx, nor wait for another Write.
// If ctx ends before its turn, f is not run; once it has its turn, Write waits for the outcome.
func (d *DB) Write(ctx context.Context, f func(*Tx) error) error {
	w := &write{run: f, done: make(chan struct{})}
	if err := d.submit(ctx, w); err != nil {
		return err
	}
	if w.panicked != nil {
		panic(w.panicked)
	}
	return w.err
}

// submit has w run, by its own goroutine or another's; its error is why it was not.
func (d *DB) submit(ctx context.Context, w *write) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	d.mu.Lock()
	if err := d.refusal(); err != nil {
		d.mu.Unlock()
		return err
	}
	if d.leading {
		d.queue = append(d.queue, w)
		d.mu.Unlock()
		if !d.wait(ctx, w) {
			return ctx.Err()
		}
		if !w.lead {
			return nil
		}
	} else {
		d.leading = true
		d.mu.Unlock()
	}
	d.lead(w)
	return nil
}

func (d *DB) refusal() error {
	if d.closed {
		return ErrClosed
	}
	return d.failed
}

// wait tells whether w was run or is to lead; false: ctx ended first and w left the queue.
func (d *DB) wait(ctx context.Context, w *write) bool {
	select {
	case <-w.done:
		return true
	case <-ctx.Done():
	}
	d.mu.Lock()
	for i, q := range d.queue {
		if q == w {
			d.queue = append(d.queue[:i], d.queue[i+1:]...)
			d.mu.Unlock()
			return false
		}
	}
	d.mu.Unlock()
	<-w.done
	return true
}

// lead runs one transaction for own and those waiting, wakes them, and hands leadership to the first that came meanwhile.
func (d *DB) lead(own *write) {
	d.mu.Lock()
	d.gather()
	group := append([]*write{own}, d.queue[:min(len(d.queue), maxGroup-1)]...)
	d.queue = append([]*write(nil), d.queue[len(group)-1:]...)
	failed := d.failed
	d.mu.Unlock()

	begun := time.Now()
	if failed == nil {
		failed = d.commit(group)
	} else {
		abort(group, failed)
	}

	d.mu.Lock()
	d.failed = failed
	d.expected, d.patience = len(group)+len(d.queue), min(time.Since(begun)/2, maxPatience)
	if len(d.queue) > 0 {
		next := d.queue[0]
		d.queue = d.queue[1:]
		next.lead = true
		close(next.done)
	} else {
		d.leading = false
		d.idle.Broadcast()
	}
	d.mu.Unlock()
	for _, w := range group[1:] {
		close(w.done)
	}
}

// gather lets those come along who are about to write: as many as wrote last or came meanwhile, for whoever was answered soon has more.
// Without it the first of them would have a sync for itself, and the others would wait for two. d.mu is held, but while others run.
func (d *DB) gather() {
	begun := time.Now()
	for yields := 0; 1+len(d.queue) < d.expected && yields < maxYields && time.Since(begun) < d.patience; yields++ {
		d.mu.Unlock()
		runtime.Gosched()
		d.mu.Lock()
	}
}

// commit runs the group in one transaction. Its error is not nil if the storage can be trusted no more: a sync that failed once is
// never retried, since the kernel may have dropped the pages (and will then report success).
func (d *DB) commit(group []*write) error {
	err := d.exec("BEGIN IMMEDIATE")
	if err == nil {
		err = d.runAll(group)
	}
	if err == nil {
		err = d.exec("COMMIT")
	}
	if err == nil {
		for _, w := range group {
			if w.err == nil {
				for _, f := range w.tx.committed {
					f()
				}
			}
		}
		d.trimWAL()
		return nil
	}
	err = classify(err)
	var stuck error
	if !d.writer.AutocommitEnabled() {
		if stuck = d.exec("ROLLBACK"); stuck != nil {
			stuck = fmt.Errorf("%w: %w: %w", ErrFailed, err, stuck)
		}
	}
	abort(group, err)
	if errors.Is(err, ErrFailed) || errors.Is(err, ErrCorrupt) {
		return err
	}
	return stuck // nil: no space, or another process has the lock; the next one may succeed
}

// trimWAL empties a WAL that has grown though commits checkpoint it: readers that always overlap keep it from being begun anew, and a long
// one for as long as it lasts (https://www.sqlite.org/wal.html, "avoiding excessively large WAL files"). It waits for those under way, while
// new ones read the database. Its errors are those of a checkpoint: what was committed is durable in the WAL.
func (d *DB) trimWAL() {
	if d.commits++; d.commits%trimEvery != 0 || d.walSize() <= d.walLimit {
		return
	}
	d.writer.SetBusyTimeout(trimTimeout)
	_ = d.exec("PRAGMA wal_checkpoint(TRUNCATE)")
	d.writer.SetBusyTimeout(busyTimeout)
	d.walLimit = max(d.leastWALLimit(), 2*d.walSize()) // a reader that lasts is not waited for at every commit
}

func (d *DB) walSize() int64 {
	info, err := os.Stat(d.opts.Path + "-wal")
	if err != nil {
		return 0
	}
	return info.Size()
}

// leastWALLimit is that of a WAL that nobody keeps from being begun anew, and what the file is cut to when it is.
func (d *DB) leastWALLimit() int64 {
	return walSlack * pageSize * int64(cmp.Or(d.opts.WALPages, defaultWALPages))
}

// abort undoes a group, the last that was run first.
func abort(group []*write, err error) {
	for _, w := range slices.Backward(group) {
		if w.err == nil {
			w.undo(err)
		}
	}
}

func (w *write) undo(err error) {
	w.err = err
	for _, f := range slices.Backward(w.tx.aborted) {
		f()
	}
}

// runAll runs each function in a savepoint. Its error ends the whole transaction.
func (d *DB) runAll(group []*write) error {
	for _, w := range group {
		if err := d.exec("SAVEPOINT w"); err != nil {
			return err
		}
		w.tx.Conn = d.writer
		err := w.call()
		if err != nil && d.writer.AutocommitEnabled() {
			return err // SQLite itself rolled the transaction back: full, or an I/O error
		}
		if err != nil {
			if trouble := classify(err); errors.Is(trouble, ErrFailed) || errors.Is(trouble, ErrFull) || errors.Is(trouble, ErrCorrupt) {
				return err
			}
			if err := d.exec("ROLLBACK TO w"); err != nil {
				return err
			}
			w.undo(err)
		}
		if err := d.exec("RELEASE w"); err != nil {
			return err
		}
	}
	return nil
}

var errPanicked = errors.New("panic") // Write says which

// call is run; a panic is kept for the goroutine whose it is, since the one that leads has others to serve.
func (w *write) call() (err error) {
	defer func() {
		if w.panicked = recover(); w.panicked != nil {
			err = errPanicked
		}
	}()
	return w.run(&w.tx)
}

func (d *DB) exec(query string) error {
	stmt, err := d.writer.Prepare(query)
	if err != nil {
		return err
	}
	if _, err := stmt.Step(); err != nil {
		return errors.Join(err, stmt.Reset())
	}
	return stmt.Reset()
}
