package delivery

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"posthouse/mail"
	"posthouse/spool"
)

const (
	perTake       = 4         // jobs that are taken for each worker of a line that is empty
	maxInLine     = 8192      // recipients that are taken for our own mailboxes: the more there are, the more of them are for the same one
	maxSideBySide = 16        // messages for the same mailbox that a worker delivers at the same time
	maxTogether   = 256 << 10 // octets of these, if there are several
)

// line is the leased jobs of one destination that wait for its workers.
type line struct {
	destination string
	workers     int
	jobs        []spool.Job // those that are next stand first

	taking sync.Mutex // held by the worker that takes further jobs; scheduler.mu is not needed for it, but may be taken then
}

// add puts jobs into the line, those of our own mailboxes by mailbox: what is for the same one is delivered at the same time then, and shares
// transactions and syncs. Greater priorities come first: RFC 6710 §5.1.
func (l *line) add(jobs []spool.Job) {
	l.jobs = append(l.jobs, jobs...)
	if l.destination == localDestination {
		slices.SortStableFunc(l.jobs, func(a, b spool.Job) int {
			return cmp.Or(-cmp.Compare(a.Priority, b.Priority), cmp.Compare(firstOf(&a).Domain(), firstOf(&b).Domain()),
				cmp.Compare(firstOf(&a).Local(), firstOf(&b).Local()))
		})
	}
}

func firstOf(j *spool.Job) mail.Address { return j.Recipients[0].Address }

// pop is the jobs that a worker does next, at the same time: of our own mailboxes those for the same one, else one. Nothing: there are none.
func (l *line) pop() []spool.Job {
	n := min(1, len(l.jobs))
	if l.destination == localDestination && n > 0 {
		for size := l.jobs[0].Size; n < min(maxSideBySide, len(l.jobs)) && firstOf(&l.jobs[n]) == firstOf(&l.jobs[0]); n++ {
			if size += l.jobs[n].Size; size > maxTogether {
				break
			}
		}
	}
	jobs := l.jobs[:n:n]
	l.jobs = l.jobs[n:]
	return jobs
}

// line is a destination's; s.mu is held.
func (s *scheduler) line(destination string) *line {
	l := s.lines[destination]
	if l == nil {
		l = &line{destination: destination}
		s.lines[destination] = l
	}
	return l
}

// next is what a worker of the line does next; nothing: there is nothing, or others need the worker.
func (s *scheduler) next(ctx context.Context, l *line) []spool.Job {
	if jobs := s.pop(l); len(jobs) > 0 {
		return jobs
	}
	l.taking.Lock()
	defer l.taking.Unlock()
	if jobs := s.pop(l); len(jobs) > 0 { // another took them
		return jobs
	}
	jobs := s.more(ctx, l)
	s.leases.add(jobs)
	s.mu.Lock()
	defer s.mu.Unlock()
	l.add(jobs)
	s.start(ctx, l, workersFor(len(jobs), s.room(l)+l.workers)-l.workers)
	return l.pop()
}

func (s *scheduler) pop(l *line) []spool.Job {
	s.mu.Lock()
	defer s.mu.Unlock()
	return l.pop()
}

// more takes further jobs of a destination, if nobody else does: the Take for all passes it over. It stops when every worker is busy,
// so that those who wait longest are served next, whoever they are.
func (s *scheduler) more(ctx context.Context, l *line) (jobs []spool.Job) {
	s.mu.Lock()
	useful := s.skipped[l.destination] && s.n < s.opts.Workers
	w := spool.Want{Destination: l.destination, Limit: min(perTake*l.workers, maxBatch), Lease: leaseTime}
	s.mu.Unlock()
	wanted := 1
	if l.destination == localDestination {
		w.Limit, wanted = maxBatch, maxInLine // in pieces: a Take keeps all from the spool who write to it
	}
	for useful && wanted > 0 && ctx.Err() == nil {
		some, err := s.spool.Take(ctx, w)
		if err != nil && ctx.Err() == nil {
			s.opts.Log.Error("the spool gives no jobs", "destination", l.destination, "err", err)
		}
		for i := range some {
			wanted -= len(some[i].Recipients)
		}
		jobs = append(jobs, some...)
		useful = len(some) == w.Limit
	}
	return jobs
}
