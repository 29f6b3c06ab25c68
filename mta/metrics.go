package mta

import (
	"maps"
	"sync"
	"sync/atomic"

	"posthouse/mta/stage"
)

// Metrics count what a server does. The zero value is ready.
type Metrics struct {
	Sessions   atomic.Int64 // open now
	Messages   atomic.Int64 // accepted
	Recipients atomic.Int64 // of them, aliases expanded
	Octets     atomic.Int64 // of them
	Repeated   atomic.Int64 // accepted, and known to be sent again

	refused       counters[string] // by stage, or by the verb that was answered 4yz or 5yz
	authenticated counters[Attempt]
	tls           counters[string] // handshakes by version, or failed
	judged        judged           // verdicts by stage and action
}

// Refused counts refusals by stage or verb.
func (m *Metrics) Refused() map[string]int64 { return m.refused.all() }

// Attempt is one to authenticate: by which mechanism, and what came of it.
type Attempt struct{ Mechanism, Outcome string }

// Authenticated counts attempts to authenticate.
func (m *Metrics) Authenticated() map[Attempt]int64 { return m.authenticated.all() }

// Judged counts the verdicts of stages by their action.
func (m *Metrics) Judged() map[Judged]int64 { return m.judged.all() }

// Judged is a stage, and what its verdict does.
type Judged struct {
	Stage  string
	Action stage.Action
}

// judged counts verdicts. Its map is made once, and read without a lock.
type judged map[string]*[stage.Actions]atomic.Int64

// of makes room for the stages of lists.
func (j *judged) of(lists ...*list) {
	*j = judged{}
	for _, l := range lists {
		for _, st := range l.all {
			(*j)[st.Name()] = &[stage.Actions]atomic.Int64{}
		}
	}
}

func (j judged) add(name string, a stage.Action) { j[name][a].Add(1) }

func (j judged) all() map[Judged]int64 {
	counts := map[Judged]int64{}
	for name, actions := range j {
		for a := range actions {
			counts[Judged{name, stage.Action(a)}] = actions[a].Load()
		}
	}
	return counts
}

// TLS counts handshakes by their outcome.
func (m *Metrics) TLS() map[string]int64 { return m.tls.all() }

// counters count by a name that is a constant of ours, so that there are few of them.
type counters[K comparable] struct {
	mu sync.Mutex
	n  map[K]int64
}

func (c *counters[K]) add(name K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = map[K]int64{}
	}
	c.n[name]++
}

func (c *counters[K]) all() map[K]int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.n)
}
