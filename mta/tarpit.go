package mta

import "time"

// Tarpit lets clients that err wait for their replies. The zero value lets nobody wait.
type Tarpit struct {
	After    int           // errors since the last message that are answered at once
	Delay    time.Duration // of every later reply to an error
	Sessions int           // that may wait at the same time; the others are answered at once, so that waiting costs us little
}

// slow tells that the next replies may wait: one of them is to an error, and there were enough.
func (s *session) slow() bool {
	o := &s.server.opts
	return s.server.tarpit != nil && s.errors > o.Tarpit.After && !o.Clients.trusts(s.remote.Addr())
}

// waitInTarpit waits, if there is room.
func (s *session) waitInTarpit() {
	select {
	case s.server.tarpit <- struct{}{}:
		defer func() { <-s.server.tarpit }()
	default:
		return
	}
	wait := time.NewTimer(s.server.opts.Tarpit.Delay)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-s.server.closed:
	}
}
