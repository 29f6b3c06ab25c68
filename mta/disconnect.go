package mta

import (
	"time"

	"posthouse/directory"
	"posthouse/mail"
)

// becomesUser makes the session an account's, that came in by a mechanism; noAccount: nobody's.
func (s *session) becomesUser(who directory.Account, mechanism string) {
	s.account, s.client.Login, s.client.Mechanism = who, who.Login.String(), ""
	if who.ID != "" {
		s.client.Mechanism = mechanism
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.user = who.ID
}

// Disconnect ends the sessions of an account after the commands they run: it was disabled or removed, or its password is another.
func (s *Server) Disconnect(id mail.AccountID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for sess := range s.sessions {
		sess.disconnect(id)
	}
}

func (s *session) disconnect(id mail.AccountID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.user == id && id != "" {
		s.stop()
	}
}

// stop ends the session now if it waits for a command, otherwise after the answer to the one it has; s.mu is held.
func (s *session) stop() {
	s.closing = true
	if s.waiting {
		s.raw.SetReadDeadline(time.Unix(1, 0)) //nolint:errcheck // a closed connection ends the wait as well
	}
}
