package delivery

import (
	"context"
	"slices"
	"time"

	"posthouse/delivery/hop"
	"posthouse/directory"
	"posthouse/mail/smtp"
	"posthouse/spool"
)

// noSuchAddress are the codes of an address that is none, which another message will not change: RFC 3463 §3.2, RFC 7505 §4.2.
func noSuchAddress() []smtp.Enhanced {
	return []smtp.Enhanced{{5, 1, 1}, {5, 1, 2}, {5, 1, 3}, {5, 1, 6}, {5, 1, 10}}
}

// suppress remembers the addresses that our user's message came back from for good, so that the next one is told at once.
func (s *scheduler) suppress(j *spool.Job, all []tried) {
	if j.Origin.Account == "" || s.opts.SuppressFor < 0 {
		return
	}
	now := time.Now()
	for i := range all {
		t := &all[i]
		if t.result.Status != hop.Permanent || t.hop.Kind == hop.Local || !slices.Contains(noSuchAddress(), statusOf(t.result.Reply)) {
			continue
		}
		err := s.opts.Directory.Suppress(context.WithoutCancel(s.work), directory.Suppression{
			Address: t.Address, Reason: t.result.Reply.String(), Since: now, Expires: now.Add(s.opts.SuppressFor),
		})
		if err != nil {
			s.opts.Log.Error("an address is not suppressed", "mid", j.Envelope.ID, "to", t.Address, "err", err)
		}
	}
}
