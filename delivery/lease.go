package delivery

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"posthouse/spool"
)

// leases are those of the jobs under way; they are renewed as long as that takes. The zero value is ready.
type leases struct {
	mu   sync.Mutex
	held map[spool.Lease]bool
}

func (l *leases) add(jobs []spool.Job) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held == nil {
		l.held = make(map[spool.Lease]bool)
	}
	for i := range jobs {
		l.held[jobs[i].Lease] = true
	}
}

func (l *leases) drop(lease spool.Lease) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.held, lease)
}

func (l *leases) all() []spool.Lease {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]spool.Lease, 0, len(l.held))
	for lease := range l.held {
		all = append(all, lease)
	}
	return all
}

// keep renews them until ctx ends.
func (l *leases) keep(ctx context.Context, s spool.Spool, log *slog.Logger) {
	tick := time.NewTicker(leaseTime / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, lease := range l.all() {
			if err := s.Extend(ctx, lease, leaseTime); err != nil && ctx.Err() == nil {
				log.Warn("a lease could not be renewed", "mid", lease.ID, "err", err) // or was settled at this moment
			}
		}
	}
}
