package delivery

import (
	"context"
	"errors"
	"sync"
	"time"

	"posthouse/spool"
)

const (
	// DrainTime is how long Run goes on with what is under way when it is to end.
	DrainTime = 8 * time.Second

	leaseTime   = 30 * time.Minute // renewed while a job is under way; a restart ends all leases anyway
	maxBatch    = 256              // jobs of one Take
	localAtOnce = 32               // workers for our own mailboxes: who waits for the same disk shares its syncs
	perWorker   = 4                // jobs for which another worker is worth its connection
	troubleTime = time.Second      // after an error of the spool that may pass
)

// scheduler is one Run.
type scheduler struct {
	*Mover
	spool   spool.Spool
	work    context.Context // of attempts: ends when the time to drain is over
	stop    context.CancelFunc
	leases  leases
	workers sync.WaitGroup
	freed   chan struct{} // a worker left; holds one

	mu      sync.Mutex         // guards what follows
	lines   map[string]*line   // of the destinations that have workers
	n       int                // workers
	skipped map[string]bool    // what the Take under way passes over
	again   context.CancelFunc // ends that Take
	failure error              // of the spool; ends the Run
}

func newScheduler(m *Mover, sp spool.Spool) *scheduler {
	return &scheduler{Mover: m, spool: sp, freed: make(chan struct{}, 1), lines: make(map[string]*line)}
}

func (s *scheduler) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.work, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	defer s.stop()
	var keeper sync.WaitGroup
	keeper.Go(func() { s.leases.keep(s.work, s.spool, s.opts.Log) })
	for ctx.Err() == nil && s.failed() == nil {
		s.dispatch(ctx)
	}
	cancel()
	drained := time.AfterFunc(DrainTime, s.stop)
	s.workers.Wait()
	drained.Stop()
	s.stop()
	keeper.Wait()
	return s.failed()
}

// dispatch takes jobs once, and gives them to workers.
func (s *scheduler) dispatch(ctx context.Context) {
	taking, again := context.WithCancel(ctx)
	defer again()
	w, ok := s.want(again)
	if !ok {
		select {
		case <-s.freed:
		case <-ctx.Done():
		}
		return
	}
	jobs, err := s.spool.Take(taking, w)
	if err != nil && taking.Err() == nil {
		s.trouble(ctx, err)
	}
	s.spread(ctx, jobs)
}

// trouble ends the Run if the spool is of no use any more, else waits a little.
func (s *scheduler) trouble(ctx context.Context, err error) {
	if errors.Is(err, spool.ErrFailed) || errors.Is(err, spool.ErrClosed) {
		s.fail(err)
		return
	}
	s.opts.Log.Error("the spool gives no jobs", "err", err)
	select {
	case <-time.After(troubleTime):
	case <-ctx.Done():
	}
}

func (s *scheduler) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure == nil {
		s.failure = err
	}
	if s.again != nil {
		s.again()
	}
}

func (s *scheduler) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failure
}

// want says what to take next, if there is a free worker; again is called when it could want more.
func (s *scheduler) want(again context.CancelFunc) (spool.Want, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	free := s.opts.Workers - s.n
	if free <= 0 {
		return spool.Want{}, false
	}
	w := spool.Want{Limit: min(free, maxBatch), Lease: leaseTime}
	s.skipped, s.again = make(map[string]bool), again
	for destination, l := range s.lines {
		if s.room(l) <= 0 {
			s.skipped[destination] = true
			w.Skip = append(w.Skip, destination)
		}
	}
	return w, true
}

// room is how many more workers a destination may have; s.mu is held.
func (s *scheduler) room(l *line) int {
	limit := 1
	if s.n < s.opts.Workers/2 {
		limit = s.opts.PerDestination
		if l.destination == localDestination {
			limit = localAtOnce
		}
	}
	return min(limit-l.workers, s.opts.Workers-s.n)
}

// spread gives the jobs to workers, by destination. There is room for one at least: Take was told of the destinations without, and of how
// many workers are free.
func (s *scheduler) spread(ctx context.Context, jobs []spool.Job) {
	var order []string
	by := make(map[string][]spool.Job)
	for _, j := range jobs {
		if by[j.Destination] == nil {
			order = append(order, j.Destination)
		}
		by[j.Destination] = append(by[j.Destination], j)
	}
	s.leases.add(jobs)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, destination := range order {
		l := s.line(destination)
		l.add(by[destination])
		s.start(ctx, l, workersFor(len(l.jobs), s.room(l)-(len(order)-1-i)))
	}
}

// workersFor is how many workers so many jobs are worth.
func workersFor(jobs, room int) int {
	return max(1, min((jobs+perWorker-1)/perWorker, room))
}

// start starts n workers for a line; s.mu is held.
func (s *scheduler) start(ctx context.Context, l *line, n int) {
	for ; n > 0; n-- {
		l.workers++
		s.n++
		s.workers.Go(func() { s.worker(ctx, l) })
	}
}

// worker attempts jobs of one destination until there are none, or others need a worker.
func (s *scheduler) worker(ctx context.Context, l *line) {
	defer s.leave(l)
	for jobs := s.next(ctx, l); len(jobs) > 0; jobs = s.next(ctx, l) {
		var g sync.WaitGroup
		for i := range jobs[1:] {
			g.Go(func() { s.do(ctx, &jobs[1+i]) })
		}
		s.do(ctx, &jobs[0])
		g.Wait()
	}
}

// do attempts a job, or gives it back if the Run is to end.
func (s *scheduler) do(ctx context.Context, j *spool.Job) {
	if ctx.Err() != nil || s.failed() != nil {
		s.release(j)
		return
	}
	s.attempt(j)
	s.leases.drop(j.Lease)
}

// release gives back a job that was not begun.
func (s *scheduler) release(j *spool.Job) {
	s.leases.drop(j.Lease)
	if err := s.spool.Settle(context.WithoutCancel(s.work), j.Lease, nil); err != nil {
		s.opts.Log.Warn("a job waits for its lease to end", "mid", j.Envelope.ID, "err", err)
	}
}

// leave makes room for another worker.
func (s *scheduler) leave(l *line) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n--
	if l.workers--; l.workers == 0 {
		delete(s.lines, l.destination)
	}
	// What was passed over has room now: this destination, or all of them when half of the workers are free.
	if s.again != nil && (s.skipped[l.destination] || len(s.skipped) > 0 && s.n == s.opts.Workers/2-1) {
		s.again()
	}
	select {
	case s.freed <- struct{}{}:
	default:
	}
}
