package mailbox

import (
	"time"

	"posthouse/internal/db"
)

// idleTime is how long a database stays open unused: long enough for an account at work, short enough that sessions waiting for mail
// hold none.
const idleTime = 10 * time.Second

// makeRoom closes databases that were not used for the longest time, if there are too many.
func (s *SQLite) makeRoom() {
	for s.closeOne(func(*account) bool { return len(s.open) > s.opts.MaxOpen }) {
	}
}

// closeIdle closes databases that are not used, until the store closes. When these were most, their memory goes back to the system.
func (s *SQLite) closeIdle() {
	ticker := time.NewTicker(idleTime)
	defer ticker.Stop()
	for {
		mark := s.ticks.Load()
		select {
		case <-s.done:
			return
		case <-ticker.C:
		}
		s.sweepDue()
		closed := int64(0)
		for s.closeOne(func(a *account) bool { return a.used.Load() <= mark }) {
			closed++
		}
		if closed > s.opened.Load() {
			db.ReleaseMemory()
		}
	}
}

// closeOne closes one database, if there is one to be closed.
func (s *SQLite) closeOne(eligible func(*account) bool) bool {
	victim := s.victim(eligible)
	if victim == nil {
		return false
	}
	err := victim.closeDB()
	victim.use.Unlock()
	if err != nil {
		s.opts.Log.Error("mailbox: closing a database", "account", victim.id, "error", err)
	}
	return true
}

// victim is the eligible database that was not used for the longest time, its use locked. Those at work are passed over, and those
// whose writes failed: reopened, they would take writes again.
func (s *SQLite) victim(eligible func(*account) bool) *account {
	s.mu.Lock()
	defer s.mu.Unlock()
	var oldest *account
	for a := range s.open {
		if !eligible(a) || oldest != nil && a.used.Load() >= oldest.used.Load() || !a.use.TryLock() {
			continue
		}
		if a.db == nil || a.db.Failed() != nil {
			a.use.Unlock()
			continue
		}
		if oldest != nil {
			oldest.use.Unlock()
		}
		oldest = a
	}
	if oldest != nil {
		delete(s.open, oldest)
		s.opened.Store(int64(len(s.open)))
		if oldest.users == 0 && s.accounts[oldest.id] == oldest {
			s.forget(oldest)
		}
	}
	return oldest
}

// forgetOpen is for a database that its account closes.
func (s *SQLite) forgetOpen(a *account) {
	s.mu.Lock()
	delete(s.open, a)
	s.opened.Store(int64(len(s.open)))
	s.mu.Unlock()
}
