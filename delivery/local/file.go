package local

import (
	"context"
	"errors"
	"io"
	"strings"

	"posthouse/delivery/hop"
	"posthouse/directory"
	"posthouse/mail"
	"posthouse/mail/mime"
	"posthouse/mailbox"
)

// filing is a message on its way into a box.
type filing struct {
	content io.Reader
	use     mailbox.SpecialUse // of the box; empty: the inbox
	marks   mailbox.Marks
	key     string // once for each key
	twin    *mime.Twin
	quota   directory.Quota
}

// box names the box for trace.
func (m *filing) box() string {
	if m.use == "" {
		return "mailbox"
	}
	return string(m.use) + " box"
}

// keep files the sender's own copy, with the Bcc fields that the others do not see. If the client has filed it meanwhile, there is
// nothing to do.
func (t *Transport) keep(ctx context.Context, task *hop.Task, res directory.Resolution) (hop.Result, error) {
	env := task.Envelope
	m := filing{
		quota: res.Quota, use: mailbox.Sent, marks: mailbox.Marks{System: mailbox.Seen}, key: env.ID.String() + " own", twin: mime.NewTwin(),
		content: io.MultiReader(strings.NewReader(env.Bcc), io.NewSectionReader(task.Content, 0, task.Content.Size())),
	}
	if err := t.file(ctx, res.Account, m); err != nil {
		return hop.Result{}, err
	}
	return hop.Result{Status: hop.Delivered, Reply: replyFiled, Via: m.box() + " of " + res.Login.String()}, nil
}

// file puts a message in a box of the account.
func (t *Transport) file(ctx context.Context, id mail.AccountID, m filing) (err error) {
	account, err := t.opts.Store.Account(ctx, id)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, account.Close()) }()
	box, err := boxFor(ctx, account, m.use)
	if err != nil {
		return err
	}
	if m.twin != nil {
		m.content = io.TeeReader(m.content, m.twin)
	}
	blob, err := account.Stage(ctx, m.content)
	if err != nil {
		return err
	}
	add := mailbox.Add{Box: box, Blob: blob, Key: m.key, Marks: m.marks}
	if m.twin != nil {
		add = add.ByServer(m.twin.String())
	}
	if _, err = account.Apply(ctx, add, mailbox.Within(m.quota)); err != nil {
		account.Discard(blob)
	}
	return err
}

// boxFor is the box of that use, or of that name; it is made if the account has neither any more.
func boxFor(ctx context.Context, account mailbox.Account, use mailbox.SpecialUse) (mailbox.BoxID, error) {
	if use == "" {
		inbox, err := account.Box(ctx, mailbox.Inbox)
		return inbox.ID, err
	}
	boxes, err := account.Boxes(ctx)
	if err != nil {
		return 0, err
	}
	for _, b := range boxes {
		if b.Special == use && !b.NoSelect {
			return b.ID, nil
		}
	}
	made, err := account.Apply(ctx, mailbox.CreateBox{Name: string(use), Special: use})
	if err == nil {
		return made.Results[0].Box.ID, nil
	}
	if !errors.Is(err, mailbox.ErrBoxExists) {
		return 0, err
	}
	named, err := account.Box(ctx, string(use))
	if err == nil && named.NoSelect {
		err = mailbox.ErrNoBox
	}
	return named.ID, err
}
