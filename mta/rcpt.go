package mta

import (
	"context"
	"errors"
	"slices"

	"posthouse/directory"
	"posthouse/mail"
	"posthouse/mail/smtp"
)

// rcptTo is RCPT: RFC 5321 §4.1.1.3. Aliases are expanded here, so that the queue holds those who get the message.
func rcptTo(ctx context.Context, s *session, args []byte) answer {
	t := s.tx
	if t.data != nil {
		return say(replyChunksBegun)
	}
	if !t.env.UTF8 && !mail.IsASCII(args) {
		return say(replyNeedsUTF8)
	}
	r, err := smtp.ParseRcpt(args, s.hello.offered, s.server.opts.Postmaster)
	if err != nil {
		return say(replyTo(err))
	}
	if t.taken >= s.server.opts.Limits.Recipients {
		return say(replyManyTo)
	}
	targets, err := s.resolve(ctx, &r)
	if err != nil {
		s.log.Info("recipient refused", "stage", "recipient", "to", r.To, "from", t.env.From, "err", err)
		if errors.Is(err, directory.ErrNoAddress) || errors.Is(err, directory.ErrNoAccount) {
			return s.nobody(replyTo(err))
		}
		return say(replyTo(err))
	}
	if len(t.env.To)+len(targets) > maxExpanded {
		return say(replyManyTo)
	}
	if r := s.judgeRcpt(ctx, r.To); r.Code != 0 {
		return sayAll(r)
	}
	if slices.ContainsFunc(targets, func(to mail.Recipient) bool { return s.cannotTake(ctx, to.Address) }) {
		return say(replyNoUTF8)
	}
	for _, target := range targets {
		t.add(target, r.To)
	}
	if t.taken++; t.taken == 1 { // not before: who asks for nobody of ours costs no lookups
		t.first = r.To
		t.start(ctx, s.stages().start)
	}
	return say(replyRecipient)
}

// cannotTake tells whether the next hop is known to be without SMTPUTF8, and an address needs it: RFC 6531 §3.5. Where only the header
// may need it, the message is taken and converted, or comes back.
func (s *session) cannotTake(ctx context.Context, to mail.Address) bool {
	from := s.tx.env.From
	return s.server.opts.Lacks != nil && (from.NeedsUTF8() || to.NeedsUTF8()) && s.server.opts.Lacks(ctx, from, to, smtp.SMTPUTF8)
}

// resolve says who gets the mail for a recipient: the address itself, or what an alias of ours stands for.
func (s *session) resolve(ctx context.Context, r *smtp.Rcpt) ([]mail.Recipient, error) {
	self := []mail.Recipient{{Address: r.To, Notify: r.Notify, Original: r.Original}}
	if r.To.IsNull() { // "<postmaster>", and nobody is named
		return nil, directory.ErrNoAddress
	}
	res, err := s.server.opts.Directory.Resolve(ctx, r.To)
	if errors.Is(err, directory.ErrNotLocal) && (s.mayRelay() || r.To == s.server.opts.Postmaster) {
		return self, s.suppressed(ctx, r.To)
	}
	if err != nil {
		return nil, err
	}
	if res.Account == "" && len(res.Targets) == 0 {
		return nil, directory.ErrNoAddress
	}
	if len(res.Targets) > 1 && r.Notify&mail.NotifySuccess != 0 { // who moves it tells the sender that they are several: RFC 3461 §5.2.7.3
		return self, nil
	}
	if res.Account != "" { // ours to fold (RFC 5321 §2.4), so that the same mailbox named twice is one recipient
		self[0].Address = r.To.FoldLocal()
		return self, nil
	}
	original := r.Original
	if original == "" {
		original = originalOf(r.To)
	}
	targets := make([]mail.Recipient, len(res.Targets))
	for i, a := range res.Targets {
		targets[i] = mail.Recipient{Address: a, Notify: r.Notify, Original: original}
	}
	return targets, nil
}

// mayRelay tells who may send to other domains: our users, and the networks that are configured to. Nobody else, ever.
func (s *session) mayRelay() bool {
	return !s.server.traits.lmtp && (s.account.ID != "" || s.trusted && !s.server.traits.submission)
}

// originalOf is an address as ORCPT writes it: RFC 3461 §4.2, RFC 6533 §3.
func originalOf(a mail.Address) string {
	if a.NeedsUTF8() {
		return "utf-8;" + a.String()
	}
	return "rfc822;" + a.String()
}
