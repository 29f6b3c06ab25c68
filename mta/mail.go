package mta

import (
	"context"
	"time"

	"posthouse/mail"
	"posthouse/mail/smtp"
	"posthouse/mta/stage"
)

// mailFrom is MAIL: RFC 5321 §4.1.1.2.
func mailFrom(ctx context.Context, s *session, args []byte) answer {
	if s.tx != nil {
		return say(replyMailTwice)
	}
	if s.server.broken.Load() {
		return say(replyLocal)
	}
	m, err := smtp.ParseMail(args, s.hello.offered)
	if err != nil {
		if r := replyTo(err); r != replyTo(smtp.ErrPath) {
			return say(r)
		}
		return say(replyBadPath)
	}
	if r := s.judgeSender(ctx, &m, args); r.Code != 0 {
		return say(r)
	}
	t := s.begin(&m)
	for i := range s.server.extensions {
		if e := &s.server.extensions[i]; e.mail != nil {
			if r := e.mail(s, &m, t); r.Code != 0 {
				return sayAll(r)
			}
		}
	}
	s.tx = t
	if r := s.judgeMail(ctx); r.Code != 0 {
		defer s.endTransaction()
		return sayAll(r)
	}
	return say(replySender)
}

// judgeSender is the reply that refuses a sender; zero if it is taken.
func (s *session) judgeSender(ctx context.Context, m *smtp.Mail, args []byte) smtp.Reply {
	if !m.UTF8 && !mail.IsASCII(args) {
		return replyNeedsUTF8
	}
	if m.Size > s.server.opts.Limits.MessageSize {
		s.doing = "size"
		s.log.Info("sender refused", "stage", s.doing, "from", m.From, "size", m.Size)
		return replyTo(smtp.ErrTooBig)
	}
	// The null sender is everybody's: mail readers send their disposition notifications with it (RFC 8098 §3).
	if !s.server.traits.submission || m.From.IsNull() {
		return smtp.Reply{}
	}
	err := s.server.opts.Directory.MaySend(ctx, s.account.ID, m.From)
	if err == nil {
		return smtp.Reply{}
	}
	s.doing = "originator"
	s.log.Info("sender refused", "stage", s.doing, "from", m.From, "login", s.account.Login, "err", err)
	if r := replyTo(err); r.Temporary() {
		return r
	}
	return stage.NotOwn(m.From.String())
}

// begin makes a transaction. What AUTH= says is not asked for: nobody is trusted to speak for others, so that it counts as "<>" (RFC 4954 §5).
func (s *session) begin(m *smtp.Mail) *transaction {
	t := &transaction{}
	t.env = mail.Envelope{
		From:     m.From,
		Body:     m.Body,
		UTF8:     m.UTF8,
		Return:   m.Return,
		EnvID:    m.EnvID,
		Received: time.Now(),
		Origin: mail.Origin{
			Protocol: s.protocol(m.UTF8),
			Remote:   s.remote,
			HELO:     s.hello.name,
			Account:  s.account.ID,
			Login:    s.account.Login.String(),
			Session:  s.id,
		},
	}
	t.message.Client, t.message.Envelope = &s.client, &t.env
	return t
}
