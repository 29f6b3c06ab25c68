package mta

import "time"

// talksFirst waits, and tells whether the client says something before it is greeted.
func (s *session) talksFirst(wait time.Duration) bool {
	s.mu.Lock()
	s.waiting = true
	ready := !s.closing && s.raw.SetReadDeadline(time.Now().Add(wait)) == nil
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.waiting = false
		s.mu.Unlock()
	}()
	return ready && s.in.early(s.conn)
}
