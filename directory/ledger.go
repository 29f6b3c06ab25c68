package directory

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"posthouse/internal/db"
	"posthouse/mail"
)

const (
	// flushEvery is how often the ledger is written, and so how much of it is lost at most when the process is killed.
	flushEvery = 5 * time.Second
	// useEvery is how exactly the last use of an app password is known.
	useEvery = time.Minute
	// maxPending is how many notes wait while the database cannot be written; more are not taken, which makes old acquaintances new.
	maxPending = 100_000
)

// ledger is what is written beside the answers and not before them: when app passwords were used, and what accounts sent today. One
// goroutine, flushing, writes it all in one transaction every few seconds if there is something to write, and at close.
type ledger struct {
	directory *SQLite
	wake      chan struct{} // holds one
	closing   chan struct{}
	closed    chan struct{}
	pruned    int64 // the last day on which what is over was forgotten; flushing's alone

	mu      sync.Mutex
	uses    map[string]time.Time        // last uses, by ID of app password
	spent   map[mail.AccountID]*account // of those that sent something today
	met     map[correspondent]int64     // whom they sent to, with the day
	writing map[correspondent]int64     // the same, while they are being written
}

// account is what one sent on a day.
type account struct {
	day   int64
	sent  Allowance
	dirty bool
}

func newLedger(s *SQLite) *ledger {
	l := &ledger{
		directory: s, wake: make(chan struct{}, 1), closing: make(chan struct{}), closed: make(chan struct{}),
		uses: map[string]time.Time{}, spent: map[mail.AccountID]*account{}, met: map[correspondent]int64{},
	}
	go l.flushing()
	return l
}

// flushing writes what was noted, flushEvery after the first note.
func (l *ledger) flushing() {
	defer close(l.closed)
	for {
		select {
		case <-l.wake:
		case <-l.closing:
			return
		}
		select {
		case <-time.After(flushEvery):
		case <-l.closing:
			return
		}
		if l.flush() != nil { // the database has failed, or is full: whoever needs it is told, and what we have waits
			l.awaken()
		}
	}
}

func (l *ledger) awaken() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// close writes what is left.
func (l *ledger) close() error {
	select {
	case <-l.closing:
		return nil
	default:
	}
	close(l.closing)
	<-l.closed
	if err := l.flush(); !errors.Is(err, db.ErrClosed) {
		return err
	}
	return nil
}

// use notes that an app password was used; recorded is when it was, as the database knows.
func (l *ledger) use(id string, recorded time.Time) {
	now := l.directory.opts.Now()
	if now.Sub(recorded) < useEvery {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.uses) < maxPending {
		l.uses[id] = now
		l.awaken()
	}
}

// of is what an account sent today, which begins with what the database says. The caller holds mu.
func (l *ledger) of(id mail.AccountID, stored storedSpent) *account {
	today := l.directory.day()
	a := l.spent[id]
	if a == nil {
		a = &account{day: stored.day, sent: stored.today}
		l.spent[id] = a
	}
	if a.day != today {
		*a = account{day: today}
	}
	return a
}

// spend counts a message, or says ErrRate.
func (l *ledger) spend(id mail.AccountID, stored storedSpent, recipients int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.of(id, stored)
	message := Allowance{Messages: 1, Recipients: recipients}
	for _, who := range stored.strangers {
		if l.met[who] == 0 && l.writing[who] == 0 {
			message.NewRecipients++
		}
	}
	sent := a.sent.plus(message)
	if !stored.own.or(l.directory.opts.Allowance).covers(sent) {
		return ErrRate
	}
	a.sent, a.dirty = sent, true
	for _, list := range [][]correspondent{stored.strangers, stored.known} {
		for _, who := range list {
			if len(l.met) < maxPending {
				l.met[who] = a.day
			}
		}
	}
	l.awaken()
	return nil
}

func (l *ledger) today(id mail.AccountID, stored storedSpent) Allowance {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.of(id, stored).sent
}

// forget drops what is known of an account that is removed.
func (l *ledger) forget(id mail.AccountID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.spent, id)
	maps.DeleteFunc(l.met, func(who correspondent, _ int64) bool { return who.account == id })
}

// flush writes everything in one transaction; what could not be written waits for the next time.
func (l *ledger) flush() error {
	uses, spent := l.take()
	if len(uses) == 0 && len(spent) == 0 && len(l.writing) == 0 {
		return nil
	}
	err := l.directory.db.Write(context.Background(), func(tx *db.Tx) error { return l.write(tx, uses, spent) })
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		for id, at := range uses {
			l.uses[id] = at
		}
		for id := range spent {
			if a := l.spent[id]; a != nil {
				a.dirty = true
			}
		}
		maps.Copy(l.met, l.writing)
	}
	l.writing = nil
	return err
}

// take is what there is to write. Accounts that sent nothing today are forgotten: the database knows of them.
func (l *ledger) take() (uses map[string]time.Time, spent map[mail.AccountID]account) {
	l.mu.Lock()
	defer l.mu.Unlock()
	uses, l.uses = l.uses, map[string]time.Time{}
	l.writing, l.met = l.met, map[correspondent]int64{}
	spent = map[mail.AccountID]account{}
	today := l.directory.day()
	for id, a := range l.spent {
		switch {
		case a.dirty:
			spent[id] = *a
			a.dirty = false
		case a.day != today:
			delete(l.spent, id)
		}
	}
	return uses, spent
}

func (l *ledger) write(tx *db.Tx, uses map[string]time.Time, spent map[mail.AccountID]account) error {
	var errs []error
	for id, at := range uses {
		errs = append(errs, exec(tx, "UPDATE app_password SET used=? WHERE id=?", at.Unix(), id))
	}
	const ifThere = " WHERE EXISTS(SELECT 1 FROM account WHERE id=?)" // it may have been removed meanwhile
	for id, a := range spent {
		errs = append(errs, exec(tx, "INSERT OR REPLACE INTO spent(account, day, messages, recipients, new_recipients) SELECT ?, ?, ?, ?, ?"+ifThere,
			string(id), a.day, a.sent.Messages, a.sent.Recipients, a.sent.NewRecipients, string(id)))
	}
	for who, day := range l.writing {
		errs = append(errs, exec(tx, "INSERT OR REPLACE INTO correspondent(account, digest, day) SELECT ?, ?, ?"+ifThere,
			string(who.account), who.digest[:], day, string(who.account)))
	}
	if today := l.directory.day(); l.pruned != today {
		errs = append(errs, l.directory.prune(tx))
		l.pruned = today
	}
	return errors.Join(errs...)
}

// prune forgets what is over, once a day.
func (s *SQLite) prune(tx *db.Tx) error {
	return errors.Join(
		exec(tx, "DELETE FROM correspondent WHERE day<=?", s.day()-acquaintance),
		exec(tx, "DELETE FROM suppression WHERE expires<>0 AND expires<=?", s.opts.Now().Unix()),
		exec(tx, `DELETE FROM suppression WHERE address IN (
			SELECT address FROM suppression ORDER BY since LIMIT max(0, (SELECT count(*) FROM suppression)-?))`, MaxSuppressed))
}
