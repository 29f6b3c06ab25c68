package delivery

import (
	"context"
	"io"
	"maps"
	"slices"
	"time"

	"posthouse/mail"
	"posthouse/mail/dsn"
	"posthouse/spool"
)

// notices are the messages that follow from an attempt: what the sender is to hear, and what goes on to the targets of an alias.
type notices struct {
	*scheduler
	job     *spool.Job
	content mail.Content
	now     time.Time
	reports []*dsn.Report // one for each kind of news
	aliases []*tried
}

// kinds puts actions together that go in one report.
var kinds = map[dsn.Action]int{dsn.Failed: 0, dsn.Delayed: 1, dsn.Delivered: 2, dsn.Relayed: 2, dsn.Expanded: 2}

// add notes what follows from one recipient's result. Nothing is told to the null sender (RFC 5321 §4.5.5), and nothing of a stranger's
// mail in quarantine, whose sender is likely to be somebody else (§6.2).
func (n *notices) add(t *tried, d decision) {
	if len(t.result.Targets) > 0 {
		n.aliases = append(n.aliases, t)
	}
	if d.notice == "" || n.job.From.IsNull() || n.job.Quarantined && n.job.Origin.Account == "" {
		return
	}
	if n.reports == nil {
		n.reports = make([]*dsn.Report, 1+slices.Max(slices.Collect(maps.Values(kinds))))
	}
	r := n.reports[kinds[d.notice]]
	if r == nil {
		r = &dsn.Report{
			Hostname: n.opts.Hostname, Postmaster: n.opts.Postmaster, Original: n.job.Envelope, Content: n.content, Time: n.now,
		}
		n.reports[kinds[d.notice]] = r
	}
	rcpt := dsn.Recipient{
		Recipient: t.Recipient.Recipient, Action: d.notice, Status: d.status, RemoteMTA: t.result.Host,
		Diagnostic: d.outcome.Reply, LastAttempt: n.now,
	}
	if d.notice == dsn.Delayed {
		rcpt.RetryUntil = d.until
	}
	r.Recipients = append(r.Recipients, rcpt)
}

// drafts writes them all. The caller commits or aborts what is returned, with an error too.
func (n *notices) drafts(ctx context.Context) (drafts []spool.Draft, err error) {
	for _, r := range n.reports {
		if r == nil {
			continue
		}
		d, err := n.spool.Create(ctx, r.Envelope())
		if err != nil {
			return drafts, err
		}
		drafts = append(drafts, d)
		if err := n.report(r, d); err != nil {
			return drafts, err
		}
	}
	for _, t := range n.aliases {
		d, err := n.spool.Create(ctx, n.onward(t))
		if err != nil {
			return drafts, err
		}
		drafts = append(drafts, d)
		if _, err := io.Copy(d, io.NewSectionReader(n.content, 0, n.content.Size())); err != nil {
			return drafts, err
		}
		d.Prepend([]byte("Delivered-To: " + t.Address.String() + "\r\n")) // whoever sends it back here is a loop
	}
	return drafts, nil
}

// report writes a notice, and signs it if that can be done.
func (n *notices) report(r *dsn.Report, d spool.Draft) error {
	r.ID = d.Envelope().ID
	d.Envelope().MessageID = r.Envelope().MessageID
	if err := r.Write(d); err != nil {
		return err
	}
	if n.opts.Sign == nil {
		return nil
	}
	fields, err := n.opts.Sign(n.opts.Hostname, d, d.Size())
	if err != nil {
		n.opts.Log.Error("a notice goes without a signature", "mid", r.ID, "err", err)
		return nil
	}
	d.Prepend(fields)
	return nil
}

// onward is the envelope of a message that goes on to the targets of an alias: the same, for others (RFC 5321 §3.9.1).
func (n *notices) onward(t *tried) mail.Envelope {
	env := n.job.Envelope
	env.To, env.Once = nil, ""
	original := t.Original
	if original == "" {
		original = "rfc822;" + t.Address.String()
		if t.Address.NeedsUTF8() {
			original = "utf-8;" + t.Address.String()
		}
	}
	notify := t.Notify
	if notify &^= mail.NotifySuccess; len(t.result.Targets) == 1 {
		notify = t.Notify
	} else if notify == 0 && t.Notify != 0 { // nothing else was asked for, and zero would be the default
		notify = mail.NotifyNever
	}
	for _, a := range t.result.Targets {
		env.To = append(env.To, mail.Recipient{Address: a, Original: original, Notify: notify})
	}
	return env
}
