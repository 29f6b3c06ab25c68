package delivery

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"posthouse/delivery/hop"
	"posthouse/mail"
	"posthouse/mail/dsn"
	"posthouse/mail/smtp"
	"posthouse/spool"
)

const (
	firstWait = time.Second // between attempts to settle while there is no space
	longWait  = 30 * time.Second
)

// tried is one recipient and what became of it.
type tried struct {
	*spool.Recipient
	env    *mail.Envelope
	hop    hop.Hop
	result hop.Result
	took   time.Duration
}

// attempt tries every recipient of a job once, and settles.
func (s *scheduler) attempt(j *spool.Job) {
	content, err := s.spool.Open(context.WithoutCancel(s.work), j.Envelope.ID)
	if err != nil {
		s.opts.Log.Error("a message cannot be opened", "mid", j.Envelope.ID, "err", err)
		content = nothing{strings.NewReader("")}
	}
	defer content.Close()
	var all []tried
	for _, group := range s.groups(j) {
		all = append(all, s.deliver(j, content, group)...)
	}
	s.settle(j, content, all)
}

// nothing stands for a message that cannot be opened.
type nothing struct{ *strings.Reader }

func (nothing) Close() error { return nil }

// groups puts the recipients of a job together that take the same hop: nearly always, that is all of them.
func (s *scheduler) groups(j *spool.Job) (groups [][]tried) {
	for i := range j.Recipients {
		t := tried{Recipient: &j.Recipients[i], env: &j.Envelope}
		var err error
		if t.isTooLate(time.Now()) {
			t.result = expired()
			groups = append(groups, []tried{t})
			continue
		}
		if t.hop, err = s.route(s.work, j.From, t.Recipient.Recipient); err != nil {
			s.opts.Log.Error("cannot tell whether a domain is ours", "mid", j.Envelope.ID, "domain", t.Address.Domain(), "err", err)
			t.result = unavailable.of()
			groups = append(groups, []tried{t})
			continue
		}
		n := 0
		for n < len(groups) && (groups[n][0].hop != t.hop || groups[n][0].result.Status != hop.Untried) {
			n++
		}
		if n == len(groups) {
			groups = append(groups, nil)
		}
		groups[n] = append(groups[n], t)
	}
	return groups
}

// trouble is a reason of ours to try again later.
type trouble string

const (
	unavailable trouble = "the directory cannot answer now"
	unreadable  trouble = "the message cannot be read now"
)

func (t trouble) of() hop.Result {
	return hop.Result{Status: hop.Temporary, Reply: smtp.Reply{Code: 451, Enhanced: smtp.Enhanced{4, 3, 0}, Text: string(t)}}
}

// deliver tries a group of recipients over their hop.
func (s *scheduler) deliver(j *spool.Job, content mail.Content, group []tried) []tried {
	if group[0].result.Status != hop.Untried {
		return group
	}
	if _, missing := content.(nothing); missing {
		for i := range group {
			group[i].result = unreadable.of()
		}
		return group
	}
	task := hop.Task{Envelope: &j.Envelope, Content: content}
	for _, t := range group {
		task.Recipients = append(task.Recipients, t.Recipient.Recipient)
	}
	transport, _ := s.transport(group[0].hop)
	start := time.Now()
	results := s.guarded(transport, group[0].hop, task)
	took := time.Since(start)
	for i := range group {
		group[i].result, group[i].took = results[i], took
	}
	return group
}

// guarded is Deliver, which a message that makes us panic must not turn into the end of everybody's mail.
func (s *scheduler) guarded(t hop.Transport, h hop.Hop, task hop.Task) (results []hop.Result) {
	defer func() {
		if p := recover(); p != nil {
			results = make([]hop.Result, len(task.Recipients))
			for i := range results {
				results[i] = hop.Panicked(s.opts.Log, task, p)
			}
		}
	}()
	return t.Deliver(s.work, h, task)
}

// settle records what became of the recipients; those that were not tried are released.
func (s *scheduler) settle(j *spool.Job, content mail.Content, all []tried) {
	now := time.Now()
	watched := &watched{Content: content}
	outcomes, n := s.decide(j, watched, all, now)
	wait := firstWait
	for {
		err := s.record(j, outcomes, n)
		if err == nil || errors.Is(err, spool.ErrLeaseLost) {
			if err != nil {
				s.opts.Log.Error("what became of a message came too late", "mid", j.Envelope.ID, "err", err)
			}
			s.log(j, all, outcomes)
			s.suppress(j, all)
			return
		}
		if watched.err != nil {
			s.opts.Log.Error("a message cannot be read to its end", "mid", j.Envelope.ID, "err", watched.err)
			watched.err = nil
			withoutContent(j, all)
			outcomes, n = s.decide(j, watched, all, now)
		}
		if errors.Is(err, spool.ErrFailed) || errors.Is(err, spool.ErrClosed) {
			s.fail(err)
			return
		}
		s.opts.Log.Error("what became of a message cannot be recorded yet", "mid", j.Envelope.ID, "err", err)
		select {
		case <-time.After(wait):
			wait = min(2*wait, longWait)
		case <-s.work.Done():
			return
		}
	}
}

// decide says what follows from the results, for those that were tried.
func (s *scheduler) decide(j *spool.Job, content mail.Content, all []tried, now time.Time) ([]spool.Outcome, *notices) {
	var outcomes []spool.Outcome
	n := &notices{scheduler: s, job: j, content: content, now: now}
	for i := range all {
		if all[i].result.Status == hop.Untried {
			continue
		}
		d := s.policy.decide(&all[i], now)
		outcomes = append(outcomes, d.outcome)
		n.add(&all[i], d)
	}
	return outcomes, n
}

// watched is a content that remembers that it could not be read.
type watched struct {
	mail.Content
	err error
}

// ReadAt is io.ReaderAt.
func (w *watched) ReadAt(p []byte, off int64) (int, error) {
	n, err := w.Content.ReadAt(p, off)
	if err != nil && !errors.Is(err, io.EOF) {
		w.err = err
	}
	return n, err
}

// withoutContent makes of results what they are when the message cannot be read: whoever it was to go on to must wait, and a notice does
// without it.
func withoutContent(j *spool.Job, all []tried) {
	j.Return = mail.ReturnHeaders
	for i := range all {
		if len(all[i].result.Targets) > 0 {
			all[i].result = unreadable.of()
		}
	}
}

// record writes outcomes and notices in one transaction. It is not given up when Run is to end: what is known must not be forgotten.
func (s *scheduler) record(j *spool.Job, outcomes []spool.Outcome, n *notices) error {
	ctx := context.WithoutCancel(s.work)
	drafts, err := n.drafts(ctx)
	if err == nil {
		err = s.spool.Settle(ctx, j.Lease, outcomes, drafts...)
	}
	if err != nil {
		for _, d := range drafts {
			err = errors.Join(err, d.Abort())
		}
	}
	return err
}

// log tells of every outcome; they are in the order of what was tried.
func (s *scheduler) log(j *spool.Job, all []tried, outcomes []spool.Outcome) {
	for i := range all {
		t := &all[i]
		if t.result.Status == hop.Untried {
			continue
		}
		o := outcomes[0]
		outcomes = outcomes[1:]
		_, via := s.transport(t.hop)
		s.opts.Observe(Attempt{Via: via, Result: resultNames[o.Result], Took: t.took})
		s.opts.Log.Info(resultNames[o.Result], "mid", j.Envelope.ID, "to", t.Address, "hop", t.hop.String(), "reply", o.Reply, "via", o.Via)
	}
}

var resultNames = [...]string{spool.Delivered: "delivered", spool.Retry: "retry", spool.Failed: "failed"}

// policy is when to try again, and when to give up: RFC 5321 §4.5.4.1.
type policy struct {
	retry        []time.Duration
	giveUp, warn time.Duration
}

// decision is what follows from a result.
type decision struct {
	outcome spool.Outcome
	notice  dsn.Action // empty: none
	status  smtp.Enhanced
	until   time.Time // when we give up
}

// decide says what follows from a result.
func (p policy) decide(t *tried, now time.Time) decision {
	d := decision{
		outcome: spool.Outcome{N: t.N, Reply: t.result.Reply.String(), Via: t.result.Via},
		status:  statusOf(t.result.Reply),
		until:   t.Since.Add(p.giveUp),
	}
	d.until = t.lastTime(d.until)
	switch {
	case t.result.Status == hop.Delivered:
		d.notice = onDelivery(t)
	case t.result.Status == hop.Permanent:
		d.fail(t)
	case !now.Before(d.until):
		d.status = smtp.Enhanced{4, 4, 7} // RFC 3463 §3.5: delivery time expired
		if t.isTooLate(now) {
			d.status[0] = 5
		}
		d.fail(t)
	default:
		p.again(&d, t, now)
	}
	return d
}

func (d *decision) fail(t *tried) {
	d.outcome.Result = spool.Failed
	if t.hop.Kind != hop.Dead && t.Notify.Wants(mail.NotifyFailure) { // what is parked waits for an operator, not for the sender
		d.notice = dsn.Failed
	}
}

// again puts a recipient off: the last attempt is when time is up.
func (p policy) again(d *decision, t *tried, now time.Time) {
	d.outcome.Result = spool.Retry
	d.outcome.Due = now.Add(p.retry[min(t.Attempts, len(p.retry)-1)])
	if d.outcome.Due.After(d.until) {
		d.outcome.Due = d.until
	}
	warn := t.warnTime(t.Since.Add(p.warn))
	if !t.Warned && warn.After(now) && warn.Before(d.outcome.Due) && t.isTimed() {
		d.outcome.Due = warn
	}
	if d.outcome.Warned = !t.Warned && !now.Before(warn); d.outcome.Warned && t.Notify.Wants(mail.NotifyDelay) {
		d.notice = dsn.Delayed
		if t.isTimed() && t.env.By.Notify { // RFC 2852 §4.1.3
			d.status = smtp.Enhanced{4, 4, 7}
		}
	}
}

// onDelivery is what the sender hears of a success, having asked for it: RFC 3461 §5.2. A host that was told of the wish will say it
// itself. The target of an alias takes the wish with it; several do not, and the sender hears that there were several (§5.2.7).
func onDelivery(t *tried) dsn.Action {
	switch {
	case t.hop.Kind != hop.Local && t.wantsTrace():
		return dsn.Relayed
	case t.Notify&mail.NotifySuccess == 0 || len(t.result.Targets) == 1:
		return ""
	case len(t.result.Targets) > 1:
		return dsn.Expanded
	case t.hop.Kind == hop.Local:
		return dsn.Delivered
	case t.result.Relayed:
		return dsn.Relayed
	}
	return ""
}

// statusOf is a reply's enhanced code, or what its code says of it: RFC 3463 §2.
func statusOf(r smtp.Reply) smtp.Enhanced {
	if r.Enhanced != (smtp.Enhanced{}) {
		return r.Enhanced
	}
	return smtp.Enhanced{uint16(r.Code / 100), 0, 0}
}
