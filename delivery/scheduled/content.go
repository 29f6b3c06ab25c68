package scheduled

import (
	"context"
	"errors"
	"io"
	"iter"

	"posthouse/mail"
	"posthouse/mail/mime"
	"posthouse/mailbox"
	"posthouse/spool"
)

// Open is mailbox.Account. Only what is on the account's schedule is opened.
func (a *account) Open(ctx context.Context, id mailbox.BlobID) (mail.Content, error) {
	schedule, err := a.store.queue.Scheduled(ctx, a.id)
	if err != nil {
		return nil, err
	}
	for _, m := range schedule.Messages {
		if m.ID == mail.ID(id) {
			return a.open(ctx, m.ID)
		}
	}
	return nil, mailbox.ErrNoBlob
}

func (a *account) open(ctx context.Context, id mail.ID) (mail.Content, error) {
	content, err := a.store.queue.Open(ctx, id)
	if errors.Is(err, spool.ErrNotFound) {
		err = mailbox.ErrNoBlob
	}
	return content, err
}

// Facts is mailbox.Account. They are made anew each time: there are few messages.
func (a *account) Facts(ctx context.Context, want mailbox.FactSet, blobs iter.Seq[mailbox.BlobID]) iter.Seq2[*mailbox.Facts, error] {
	return func(yield func(*mailbox.Facts, error) bool) {
		schedule, err := a.store.queue.Scheduled(ctx, a.id)
		if err != nil {
			yield(nil, err)
			return
		}
		own := make(map[mailbox.BlobID]bool, len(schedule.Messages))
		for _, m := range schedule.Messages {
			own[mailbox.BlobID(m.ID)] = true
		}
		for id := range blobs {
			if !own[id] {
				continue
			}
			f, err := a.facts(ctx, id, want)
			if errors.Is(err, mailbox.ErrNoBlob) {
				continue
			}
			if !yield(f, err) || err != nil {
				return
			}
		}
	}
}

// facts reads a message once.
func (a *account) facts(ctx context.Context, id mailbox.BlobID, want mailbox.FactSet) (*mailbox.Facts, error) {
	content, err := a.open(ctx, mail.ID(id))
	if err != nil {
		return nil, err
	}
	defer content.Close() //nolint:errcheck // it was only read
	f := &mailbox.Facts{Blob: id, Size: content.Size()}
	if want == 0 {
		return f, nil
	}
	parser := mime.NewParser()
	if _, err := io.Copy(parser, io.NewSectionReader(content, 0, content.Size())); err != nil {
		return nil, err
	}
	root := parser.Close()
	f.Envelope, f.Body, f.BodyStructure = mime.AppendEnvelope(nil, root.Envelope), mime.AppendBody(nil, root), mime.AppendBodyStructure(nil, root)
	f.Parts = root
	if root.Header.Len > mailbox.MaxCachedHeader {
		return f, nil
	}
	f.Header = make([]byte, root.Header.Len)
	if _, err := content.ReadAt(f.Header, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	keys := mime.KeysOf(f.Header)
	f.Keys = &keys
	if texts, ok := mime.TextsOf(f.Header); ok {
		f.Texts = &texts
	}
	return f, nil
}

// Stage is mailbox.Account: nothing is filed here but by submission.
func (a *account) Stage(context.Context, io.Reader) (mailbox.BlobID, error) {
	return 0, mailbox.ErrReadOnly
}

// Discard is mailbox.Account.
func (a *account) Discard(mailbox.BlobID) {}
