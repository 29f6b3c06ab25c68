package stage

import (
	"context"
	"errors"
	"strings"

	"posthouse/directory"
	"posthouse/mail"
	"posthouse/mail/mime"
	"posthouse/mail/smtp"
)

// owners is who knows which account may send as whom.
type owners interface {
	MaySend(ctx context.Context, id mail.AccountID, a mail.Address) error
}

// Originator holds what an account submits to the addresses it owns: every author in the From field must be one (RFC 6409 §6.1).
type Originator struct{ Owners owners }

// Name is Stage.
func (Originator) Name() string { return "originator" }

var (
	noAuthor   = smtp.Reply{Code: 550, Enhanced: smtp.Enhanced{5, 6, 0}, Text: "the message must have one From field, with an address"}
	notNow     = smtp.Reply{Code: 451, Enhanced: smtp.Enhanced{4, 3, 0}, Text: "the author cannot be checked now, try again later"}
	notOwnText = " is not an address of yours to send as"
)

// NotOwn is the reply to sending as an address of somebody else, naming it.
func NotOwn(address string) smtp.Reply {
	return smtp.Reply{Code: 550, Enhanced: smtp.Enhanced{5, 7, 1}, Text: "<" + clean(address) + ">" + notOwnText}
}

// Judge is Stage.
func (s Originator) Judge(ctx context.Context, m *Message) Verdict {
	authors := m.Header.Authors()
	if m.Header.FromFields != 1 || len(authors) == 0 {
		return Verdict{Result: "fail", Detail: "no author"}.answered(noAuthor)
	}
	for _, author := range authors {
		text := author.Mailbox + "@" + author.Host
		a, err := parseAuthor(author)
		if err == nil {
			err = s.Owners.MaySend(ctx, m.Envelope.Origin.Account, a)
		}
		switch {
		case err == nil:
		case errors.Is(err, directory.ErrNotOwner), errors.Is(err, mail.ErrAddress):
			return Verdict{Result: "fail", Detail: text}.answered(NotOwn(text))
		default:
			return Verdict{Result: "temperror", Detail: err.Error()}.answered(notNow)
		}
	}
	return Verdict{Result: "pass"}
}

// parseAuthor is the address of an author, whose local part came unquoted from the header.
func parseAuthor(a mime.Address) (mail.Address, error) {
	local := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(a.Mailbox)
	return mail.ParseAddress(`"` + local + `"@` + a.Host)
}
