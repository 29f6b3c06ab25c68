package mta

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"

	"posthouse/directory"
	"posthouse/mail"
	"posthouse/mail/mime"
)

// idempotencyKey is the field by which a client names a submission, so that it can send it again when it did not hear the answer: the
// name that HTTP APIs have for it. It does not travel.
const idempotencyKey = "X-Idempotency-Key"

// submitted is what is remembered of a message from our user beside the message.
type submitted struct {
	key    string    // the value of X-Idempotency-Key
	bcc    []byte    // the Bcc fields that were taken out
	digest hash.Hash // of the message as it came, if its envelope has a name; nil: it has none
}

// Write is io.Writer: message data on its way to the header filter.
func (d *incoming) Write(p []byte) (int, error) {
	if d.submitted.digest != nil {
		d.submitted.digest.Write(p)
	}
	return d.filter.Write(p)
}

// private are the fields of our user's message that do not travel, and what is remembered of them. Whoever is in Bcc is nobody's business
// (RFC 5322 §3.6.3), and a Message-ID that is none makes room for another (RFC 6409 §8.3).
var private = []struct {
	name     string
	drops    func(f mime.Field) bool
	remember func(u *submitted, f mime.Field)
}{
	{"Bcc", always, func(u *submitted, f mime.Field) { u.bcc = append(u.bcc, f.Raw...) }},
	{"Resent-Bcc", always, func(*submitted, mime.Field) {}},
	{"Message-ID", isEmptyID, func(*submitted, mime.Field) {}},
	{idempotencyKey, always, func(u *submitted, f mime.Field) {
		if u.key == "" {
			u.key = strings.Join(strings.Fields(string(f.Value)), " ")
		}
	}},
}

func always(mime.Field) bool { return true }

// isEmptyID tells a Message-ID field without one, in whose place missingFields puts another.
func isEmptyID(f mime.Field) bool { return len(bytes.Trim(f.Value, " \t\r\n<>")) == 0 }

// take tells whether a field does not travel, and remembers it.
func (u *submitted) take(f mime.Field) bool {
	for _, p := range private {
		if strings.EqualFold(string(f.Name), p.name) && p.drops(f) {
			p.remember(u, f)
			return true
		}
	}
	return false
}

// once is the name of a submission, among all there are: what its sender called it, or its ENVID (RFC 3461 §4.4) with the same message,
// which clients that know of neither give anew each time. Empty: it has none. The same recipients belong to both: who has more of them than
// go in one transaction gives the same message again for the rest (RFC 5321 §4.5.3.1.10).
func (s *session) once(d *incoming) string {
	env := d.draft.Envelope()
	var parts []string
	switch {
	case s.account.ID == "":
		return ""
	case d.submitted.key != "":
		parts = []string{"key", d.submitted.key}
	case d.submitted.digest != nil:
		parts = []string{"envid", env.EnvID, string(d.submitted.digest.Sum(nil))}
	default:
		return ""
	}
	to := make([]string, len(env.To))
	for i := range env.To {
		to[i] = env.To[i].Address.String()
	}
	slices.Sort(to)
	parts = append(append(parts, env.From.String()), to...)
	sum := sha256.New()
	for _, part := range append([]string{string(s.account.ID)}, parts...) {
		io.WriteString(sum, part) //nolint:errcheck // a hash has no errors
		sum.Write([]byte{0})
	}
	return base64.RawURLEncoding.EncodeToString(sum.Sum(nil))
}

// spend counts a message of our user's against what may be sent in a day.
func (s *session) spend(ctx context.Context, env *mail.Envelope) error {
	if s.account.ID == "" {
		return nil
	}
	to := make([]mail.Address, len(env.To))
	for i := range env.To {
		to[i] = env.To[i].Address
	}
	return s.server.opts.Directory.Spend(ctx, s.account.ID, to)
}

// keepCopy adds our user's own copy of what is sent, with the Bcc fields that nobody else sees.
func (s *session) keepCopy(d *incoming) {
	env := d.draft.Envelope()
	if s.account.SentCopies != directory.SentByServer || env.From.IsNull() {
		return
	}
	env.Bcc = string(d.submitted.bcc)
	env.To = append(env.To, mail.Recipient{Address: s.account.Login, Notify: mail.NotifyNever, Own: true})
}

// errSuppressed is an address that nothing is sent to any more.
var errSuppressed = errors.New("mta: the address is on the suppression list")

// suppressed tells our user at once what would come back later.
func (s *session) suppressed(ctx context.Context, a mail.Address) error {
	if s.account.ID == "" {
		return nil
	}
	found, err := s.server.opts.Directory.Suppressed(ctx, a)
	if err == nil && !found.Address.IsNull() {
		err = fmt.Errorf("%w: %s", errSuppressed, found.Reason)
	}
	return err
}
