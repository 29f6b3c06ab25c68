package admin

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"net/http"
	"strings"
	"time"

	"posthouse/directory"
	"posthouse/mail/mime"
	"posthouse/mailbox"
)

// ExpungedFilter chooses expunged messages of an account; the zero value chooses all.
type ExpungedFilter struct {
	Box     string `json:"box,omitempty"`
	Since   string `json:"since,omitempty"` // expunged so long ago at most: a duration, "48h"
	From    string `json:"from,omitempty"`  // the field has these words, without regard to case
	Subject string `json:"subject,omitempty"`
	Into    string `json:"into,omitempty"` // where they are filed again; empty: where they were
}

// ExpungedMessage is a message that can be filed again.
type ExpungedMessage struct {
	Box      string    `json:"box"` // where it was
	UID      uint32    `json:"uid"` // it had there
	Expunged time.Time `json:"expunged"`
	Size     int64     `json:"size"`
	Received time.Time `json:"received"` // INTERNALDATE
	From     string    `json:"from"`
	Subject  string    `json:"subject"`

	row mailbox.ExpungedID
}

// Restored is how many messages were filed again.
type Restored struct {
	Messages int `json:"messages"`
}

// expunged lists the messages that the filter in the query chooses.
func (a *api) expunged(r *http.Request) (any, error) {
	q := r.URL.Query()
	f := ExpungedFilter{Box: q.Get("box"), Since: q.Get("since"), From: q.Get("from"), Subject: q.Get("subject")}
	_, account, err := a.mailOf(r)
	if err != nil {
		return nil, err
	}
	chosen, err := f.choose(r.Context(), account)
	if err != nil {
		account.Close() //nolint:errcheck // it was only read
		return nil, err
	}
	return many(func(yield func(ExpungedMessage, error) bool) {
		defer account.Close() //nolint:errcheck // it was only read
		for m, err := range chosen {
			if !yield(m, err) {
				return
			}
		}
	})
}

// restore files messages again, all or none, within the account's quota.
func (a *api) restore(r *http.Request) (any, error) {
	var f ExpungedFilter
	if err := decode(r, &f); err != nil {
		return nil, err
	}
	who, account, err := a.mailOf(r)
	if err != nil {
		return nil, err
	}
	defer account.Close() //nolint:errcheck // what was done is durable
	chosen, err := f.choose(r.Context(), account)
	if err != nil {
		return nil, err
	}
	changes := []mailbox.Mutation{mailbox.Within(who.Quota)}
	for m, err := range chosen {
		if err != nil {
			return nil, err
		}
		last, ok := changes[len(changes)-1].(mailbox.Restore)
		if !ok || last.ID != m.row {
			last = mailbox.Restore{ID: m.row, Into: f.Into}
			changes = append(changes, nil)
		}
		last.UIDs = last.UIDs.Append(mailbox.UID(m.UID))
		changes[len(changes)-1] = last
	}
	applied, err := account.Apply(r.Context(), changes...)
	if err != nil {
		return nil, err
	}
	var done Restored
	for _, result := range applied.Results {
		done.Messages += int(result.UIDs.Len())
	}
	return done, nil
}

func (a *api) purge(r *http.Request) (any, error) {
	_, account, err := a.mailOf(r)
	if err != nil {
		return nil, err
	}
	defer account.Close() //nolint:errcheck // what was done is durable
	_, err = account.Apply(r.Context(), mailbox.Purge{})
	return done{}, err
}

// mailOf opens the mail of the account in the path.
func (a *api) mailOf(r *http.Request) (directory.Account, mailbox.Account, error) {
	name, err := login(r)
	if err != nil {
		return directory.Account{}, nil, err
	}
	who, err := a.Directory.Account(r.Context(), name)
	if err != nil {
		return who, nil, err
	}
	account, err := a.Store.Account(r.Context(), who.ID)
	return who, account, err
}

// choose yields what the filter chooses, the messages of a row one after the other.
func (f ExpungedFilter) choose(ctx context.Context, account mailbox.Account) (iter.Seq2[ExpungedMessage, error], error) {
	var since time.Time
	if f.Since != "" {
		d, err := time.ParseDuration(f.Since)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errRequest, err)
		}
		since = time.Now().Add(-d)
	}
	return func(yield func(ExpungedMessage, error) bool) {
		for e, err := range account.Expunged(ctx) {
			if err != nil {
				yield(ExpungedMessage{}, err)
				return
			}
			if f.Box != "" && f.Box != e.Box || e.At.Before(since) {
				continue
			}
			for m, err := range messagesOf(ctx, account, &e) {
				if (err != nil || contains(m.From, f.From) && contains(m.Subject, f.Subject)) && !yield(m, err) || err != nil {
					return
				}
			}
		}
	}, nil
}

// messagesOf yields the messages that one change expunged, with what their headers say.
func messagesOf(ctx context.Context, account mailbox.Account, e *mailbox.Expunged) iter.Seq2[ExpungedMessage, error] {
	blobs := func(yield func(mailbox.BlobID) bool) {
		for i := range e.Messages {
			if !yield(e.Messages[i].Blob) {
				return
			}
		}
	}
	return func(yield func(ExpungedMessage, error) bool) {
		at := 0
		for facts, err := range account.Facts(ctx, mailbox.WantHeader, blobs) {
			if err != nil {
				yield(ExpungedMessage{}, err)
				return
			}
			for at < len(e.Messages) && e.Messages[at].Blob != facts.Blob {
				at++
			}
			if at == len(e.Messages) {
				return
			}
			m := &e.Messages[at]
			at++
			x := ExpungedMessage{Box: e.Box, UID: uint32(m.UID), Expunged: e.At, Size: m.Size, Received: m.InternalDate(), row: e.ID}
			for field := range mime.Fields(facts.Header) {
				switch strings.ToLower(string(field.Name)) {
				case "from":
					x.From = string(mime.AppendDecoded(nil, field.Value))
				case "subject":
					x.Subject = string(mime.AppendDecoded(nil, field.Value))
				}
			}
			if !yield(x, nil) {
				return
			}
		}
	}
}

// contains compares as IMAP's SEARCH does.
func contains(text, words string) bool {
	return bytes.Contains(mime.AppendCollated(nil, []byte(text)), mime.AppendCollated(nil, []byte(words)))
}
