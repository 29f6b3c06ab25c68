package pop3d

import (
	"cmp"
	"time"

	"posthouse/internal/link"
)

// Limits of a server. A zero field means the default beside it.
type Limits struct {
	Sessions           int           // in all; 20,000
	SessionsPerNetwork int           // of one IPv4 address or IPv6 /64; 200
	SessionsPerAccount int           // 20
	LoginTime          time.Duration // from connecting to being authenticated; 2 minutes
	IdleTime           time.Duration // between commands; RFC 1939 §3 asks for 10 minutes
	CommandTime        time.Duration // to wait for the next octets of a command that has begun; 2 minutes
	WriteTime          time.Duration // for a client to take 64 KiB; 2 minutes
	LoginDelay         time.Duration // of the answer to a failed login, doubled by each further one; 1 second
}

func (l Limits) withDefaults() Limits {
	return Limits{
		Sessions:           cmp.Or(l.Sessions, 20_000),
		SessionsPerNetwork: cmp.Or(l.SessionsPerNetwork, 200),
		SessionsPerAccount: cmp.Or(l.SessionsPerAccount, 20),
		LoginTime:          cmp.Or(l.LoginTime, 2*time.Minute),
		IdleTime:           cmp.Or(l.IdleTime, 10*time.Minute),
		CommandTime:        cmp.Or(l.CommandTime, 2*time.Minute),
		WriteTime:          cmp.Or(l.WriteTime, 2*time.Minute),
		LoginDelay:         cmp.Or(l.LoginDelay, time.Second),
	}
}

func (l Limits) times() link.Times {
	return link.Times{Login: l.LoginTime, Idle: l.IdleTime, Command: l.CommandTime, Write: l.WriteTime}
}

// Limits of one session.
const (
	maxLine         = 255      // octets of a command with its CRLF: RFC 2449 §4
	maxResponse     = 12 << 10 // octets of a line of AUTH, with its CRLF: RFC 5034 §4 names none; a token of OAuth takes 2 or 3 KiB
	maxSkip         = 64 << 10 // octets of a line that are read to find its end; then the session ends
	maxFailedLogins = 4        // then the session ends
	maxEarlyErrors  = 10       // commands that were none, before authentication; then the session ends
	maxErrors       = 100      // the same afterwards
)
