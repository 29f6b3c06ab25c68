// Package local takes messages into the mailboxes of this house: the last hop.
//
// It must not know the queue, retry policy, SMTP sessions or how mailboxes are kept. The flow of Deliver, for each recipient: resolve
// (an account, or on to the targets of an alias) → not if it was here before → Stage the message under its trace fields → Apply one Add
// to the inbox, or to Junk if admission put it in quarantine; a sender's own copy goes to Sent as it is. The Add has a key made of the
// message's ID and the recipient, so that a crash before the queue knows of it files nothing twice. Errors of the directory and of
// mailboxes become replies in one table.
package local

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"posthouse/delivery/convert"
	"posthouse/delivery/hop"
	"posthouse/directory"
	"posthouse/mail"
	"posthouse/mail/mime"
	"posthouse/mail/smtp"
	"posthouse/mailbox"
)

// maxAtOnce is how many recipients of one message are served at the same time.
const maxAtOnce = 8

// resolver says where mail for an address goes; directory.Directory is one.
type resolver interface {
	Resolve(ctx context.Context, a mail.Address) (directory.Resolution, error)
}

// Options say who is here.
type Options struct {
	Directory resolver
	Store     mailbox.Store
	Log       *slog.Logger // nil: none
}

// Transport files messages. It is a hop.Transport.
type Transport struct{ opts Options }

var _ hop.Transport = (*Transport)(nil)

// New makes a transport.
func New(o Options) *Transport {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Transport{o}
}

// Close is hop.Transport.
func (t *Transport) Close() error { return nil }

// Deliver is hop.Transport.
func (t *Transport) Deliver(ctx context.Context, _ hop.Hop, task hop.Task) []hop.Result {
	results := make([]hop.Result, len(task.Recipients))
	if task.Envelope.Body == mail.BodyBinaryMIME { // mailboxes hold lines
		text, err := convert.Content(task.Content, mime.Form{})
		if err != nil {
			return t.failed(&task, err)
		}
		defer func() {
			if err := text.Close(); err != nil {
				t.opts.Log.Warn("a converted message was not closed", "mid", task.Envelope.ID, "err", err)
			}
		}()
		task.Content = text
	}
	if len(results) == 1 {
		results[0] = t.one(ctx, &task, 0)
		return results
	}
	var g errgroup.Group
	g.SetLimit(maxAtOnce)
	for i := range task.Recipients {
		g.Go(func() error {
			results[i] = t.one(ctx, &task, i)
			return nil
		})
	}
	// No function of the group has an error.
	_ = g.Wait()
	return results
}

// failed is the result of all recipients of a message that cannot be converted.
func (t *Transport) failed(task *hop.Task, err error) []hop.Result {
	reply := replyTo(err)
	if reply.Code < 500 {
		t.opts.Log.Warn("local delivery must wait", "mid", task.Envelope.ID, "err", err)
	}
	return slices.Repeat([]hop.Result{{Status: hop.StatusOf(reply), Reply: reply, Via: "local"}}, len(task.Recipients))
}

// one delivers to one recipient.
func (t *Transport) one(ctx context.Context, task *hop.Task, i int) (result hop.Result) {
	defer func() {
		if p := recover(); p != nil {
			result = hop.Panicked(t.opts.Log, *task, p)
		}
	}()
	to := task.Recipients[i].Address
	r, err := t.attempt(ctx, task, i)
	if err == nil {
		return r
	}
	if ctx.Err() != nil {
		return hop.Result{}
	}
	reply := replyTo(err)
	if reply.Code < 500 {
		t.opts.Log.Warn("local delivery must wait", "mid", task.Envelope.ID, "to", to, "err", err)
	}
	return hop.Result{Status: hop.StatusOf(reply), Reply: reply, Via: "local"}
}

func (t *Transport) attempt(ctx context.Context, task *hop.Task, i int) (hop.Result, error) {
	to := task.Recipients[i].Address
	res, err := t.opts.Directory.Resolve(ctx, to)
	if err != nil {
		return hop.Result{}, err
	}
	if task.Recipients[i].Own {
		if res.Account == "" || res.Account != task.Envelope.Origin.Account { // meanwhile it leads elsewhere, where this is nobody's business
			return hop.Result{}, directory.ErrNoAddress
		}
		return t.keep(ctx, task, res)
	}
	body, err := strip(task.Content, to)
	if err != nil {
		return hop.Result{}, err
	}
	if res.Account == "" {
		return hop.Result{Status: hop.Delivered, Reply: replyAlias, Via: "alias", Targets: res.Targets}, nil
	}
	body = io.MultiReader(strings.NewReader(traceFields(task.Envelope.From, to)), body)
	m := filing{quota: res.Quota, content: body, key: task.Envelope.ID.String() + " " + to.String()}
	if task.Envelope.Quarantined {
		m.use = mailbox.Junk
	}
	if err := t.file(ctx, res.Account, m); err != nil {
		return hop.Result{}, err
	}
	return hop.Result{Status: hop.Delivered, Reply: replyFiled, Via: m.box() + " of " + res.Login.String()}, nil
}

// traceFields are those of the final delivery: RFC 5321 §4.4.
func traceFields(from, to mail.Address) string {
	return returnPath + ": <" + from.String() + ">\r\n" + deliveredTo + ": " + to.String() + "\r\n"
}

// The fields of a final delivery: the sender, and whose mailboxes the message has been to.
const (
	returnPath  = "Return-Path"
	deliveredTo = "Delivered-To"
)

// errLoop is a message that was delivered to the address before.
var errLoop = errors.New("delivered to the same address before")

// maxHeader is how much of a header is searched for these fields.
const maxHeader = 256 << 10

// strip is the message without Return-Path fields that came with it (RFC 5321 §4.4: there is one, ours). Its error is errLoop for a
// message that has a Delivered-To of the same address.
func strip(content mail.Content, to mail.Address) (io.Reader, error) {
	b := make([]byte, min(maxHeader, content.Size()))
	if n, err := content.ReadAt(b, 0); err != nil && !(errors.Is(err, io.EOF) && n == len(b)) {
		return nil, err
	}
	var kept []io.Reader
	from, at := int64(0), int64(0) // of what is kept next, and of the field
	for f := range mime.Fields(b) {
		next := at + int64(len(f.Raw))
		switch {
		case strings.EqualFold(string(f.Name), returnPath):
			kept = append(kept, io.NewSectionReader(content, from, at-from))
			from = next
		case strings.EqualFold(string(f.Name), deliveredTo):
			a, err := mail.ParseAddress(strings.TrimSpace(string(f.Value)))
			if err == nil && a.FoldLocal() == to.FoldLocal() {
				return nil, errLoop
			}
		}
		at = next
	}
	return io.MultiReader(append(kept, io.NewSectionReader(content, from, content.Size()-from))...), nil
}

// Replies of this hop.
var (
	replyFiled = smtp.Reply{Code: 250, Enhanced: smtp.Enhanced{2, 1, 5}, Text: "filed"}
	replyAlias = smtp.Reply{Code: 250, Enhanced: smtp.Enhanced{2, 1, 5}, Text: "sent on"}
)

// replies say errors in SMTP's words: RFC 3463. The first that matches counts.
var replies = []struct {
	err   error
	reply smtp.Reply
}{
	{errLoop, smtp.Reply{Code: 554, Enhanced: smtp.Enhanced{5, 4, 6}, Text: "mail loop: it was delivered to this address before"}},
	{mime.ErrSealed, smtp.Reply{Code: 554, Enhanced: smtp.Enhanced{5, 6, 2}, Text: "the message would have to be converted, and is signed or encrypted"}},
	{mime.ErrForm, smtp.Reply{Code: 554, Enhanced: smtp.Enhanced{5, 6, 3}, Text: "the message cannot be converted to lines"}},
	{directory.ErrNoAddress, smtp.Reply{Code: 550, Enhanced: smtp.Enhanced{5, 1, 1}, Text: "no such address here"}},
	{directory.ErrNotLocal, smtp.Reply{Code: 550, Enhanced: smtp.Enhanced{5, 1, 2}, Text: "not a domain of ours"}},
	{directory.ErrDisabled, smtp.Reply{Code: 550, Enhanced: smtp.Enhanced{5, 2, 1}, Text: "the account is disabled"}},
	{directory.ErrAliasLoop, smtp.Reply{Code: 554, Enhanced: smtp.Enhanced{5, 4, 6}, Text: "the alias leads to itself or to too many"}},
	{mailbox.ErrOverQuota, smtp.Reply{Code: 452, Enhanced: smtp.Enhanced{4, 2, 2}, Text: "the mailbox is full"}}, // RFC 3463 §3.3: persistent, yet transient
	{mailbox.ErrLimit, smtp.Reply{Code: 452, Enhanced: smtp.Enhanced{4, 2, 2}, Text: "the mailbox has too many messages"}},
	{mailbox.ErrFull, smtp.Reply{Code: 452, Enhanced: smtp.Enhanced{4, 3, 1}, Text: "no space for mail now"}},
	{mailbox.ErrClosed, smtp.Reply{Code: 451, Enhanced: smtp.Enhanced{4, 3, 2}, Text: "mailboxes are closed now"}},
}

// replyElse is for whatever is not in the table: a trouble of ours, which somebody will mend.
var replyElse = smtp.Reply{Code: 451, Enhanced: smtp.Enhanced{4, 3, 0}, Text: "the mailbox cannot be used now"}

func replyTo(err error) smtp.Reply {
	for _, r := range replies {
		if errors.Is(err, r.err) {
			return r.reply
		}
	}
	return replyElse
}
