package mta

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"posthouse/directory"
	"posthouse/mail"
	"posthouse/mail/smtp"
	"posthouse/mta/stage"
	"posthouse/spool"
)

var errEdit = errors.New("mta: a stage's change cannot be made")

// newDraft makes room for a message that a stage writes anew. It ends with the transaction, unless it becomes the message.
func (s *session) newDraft(ctx context.Context, d *incoming) (stage.Draft, error) {
	draft, err := s.server.opts.Spool.Create(ctx, *d.draft.Envelope())
	if err != nil {
		return nil, err
	}
	d.spare = append(d.spare, draft)
	return draft, nil
}

// edit makes the change that a stage's verdict wants, all of it or nothing. If nobody is left they all stay, in quarantine: what was
// answered 250 does not disappear here.
func (s *session) edit(ctx context.Context, d *incoming, v *stage.Verdict) error {
	e, old := v.Edit, d.draft.Envelope().To
	to, err := s.editedRecipients(ctx, old, e)
	if err != nil {
		return err
	}
	if len(to) == 0 {
		to, v.Action, v.Result, v.Detail = old, stage.Quarantine, "quarantine", "nobody was to get it"
	}
	if e.Content != nil {
		i := slices.IndexFunc(d.spare, func(draft spool.Draft) bool { return any(draft) == any(e.Content) })
		if i < 0 {
			return fmt.Errorf("%w: a draft that is none of its own", errEdit)
		}
		d.draft, d.spare[i] = d.spare[i], d.draft
		env, id := d.draft.Envelope(), d.draft.Envelope().ID
		*env = *d.spare[i].Envelope()
		env.ID = id
	}
	env := d.draft.Envelope()
	env.To = to
	if e.From != nil {
		env.From = *e.From
	}
	env.MessageID = d.header.MessageID
	return nil
}

// editedRecipients are the recipients with some added and some removed.
func (s *session) editedRecipients(ctx context.Context, old []mail.Recipient, e *stage.Edit) ([]mail.Recipient, error) {
	removed := map[mail.Address]bool{}
	for _, a := range e.Remove {
		removed[a], removed[a.FoldLocal()] = true, true // of our addresses the queue has the latter
	}
	to := slices.DeleteFunc(slices.Clone(old), func(r mail.Recipient) bool { return s.tx.isRemoved(r.Address, removed) })
	for _, a := range e.Add {
		more, err := s.resolve(ctx, &smtp.Rcpt{To: a})
		if errors.Is(err, directory.ErrNotLocal) { // a filter of ours may send a copy anywhere
			more, err = []mail.Recipient{{Address: a}}, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%w: <%s>: %w", errEdit, a, err)
		}
		for _, r := range more {
			if !slices.ContainsFunc(to, func(there mail.Recipient) bool { return there.Address == r.Address }) {
				to = append(to, r)
			}
		}
	}
	if len(to) > maxExpanded {
		return nil, fmt.Errorf("%w: %d recipients", errEdit, len(to))
	}
	return to, nil
}
