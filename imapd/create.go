package imapd

import (
	"context"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"posthouse/mailbox"
)

// change is a command that is one change of the account and has no more to say.
type change func(s *session) (mailbox.Mutation, error)

func (c change) run(ctx context.Context, s *session) (reply, error) {
	mutation, err := c(s)
	if err == nil {
		_, err = s.account.Apply(ctx, mutation)
	}
	if err != nil {
		return reply{}, err
	}
	return reply{}, s.ownNames(ctx, namesOf(mutation)...)
}

// namesOf are the names that a change is about.
func namesOf(m mailbox.Mutation) []string {
	switch m := m.(type) {
	case mailbox.Subscribe:
		return []string{m.Name}
	case mailbox.Unsubscribe:
		return []string{m.Name}
	}
	return nil
}

// changeOf parses a command whose only argument is the name of a mailbox.
func (p *parser) changeOf(mutation func(name string) mailbox.Mutation) (runner, error) {
	var raw string
	if !p.SP() || !p.AString(&raw) || !p.End() {
		return nil, p.Err()
	}
	return change(func(s *session) (mailbox.Mutation, error) {
		name, err := s.dialect.name(raw)
		return mutation(name), err
	}), nil
}

func parseSubscribe(p *parser) (runner, error) {
	return p.changeOf(func(name string) mailbox.Mutation { return mailbox.Subscribe{Name: canonicalForeign(name)} })
}

func parseUnsubscribe(p *parser) (runner, error) {
	return p.changeOf(func(name string) mailbox.Mutation { return mailbox.Unsubscribe{Name: canonicalForeign(name)} })
}

// renameCommand is RENAME. A mailbox stays with the account that has it.
type renameCommand struct{ from, to string }

func parseRename(p *parser) (runner, error) {
	c := &renameCommand{}
	if !(p.SP() && p.AString(&c.from) && p.SP() && p.AString(&c.to) && p.End()) {
		return nil, p.Err()
	}
	return c, nil
}

func (c *renameCommand) run(ctx context.Context, s *session) (reply, error) {
	from, err := s.place(ctx, c.from, toDelete)
	if err != nil {
		return reply{}, err
	}
	name, err := s.dialect.name(c.to)
	if err != nil {
		return reply{}, err
	}
	to, err := s.nest(ctx, name)
	switch {
	case err != nil:
		return reply{}, err
	case to.owner != from.owner:
		return reply{}, errOtherOwner
	case from.prefix != "" && from.Name == mailbox.Inbox: // its messages would go, for which the right to rename it is not enough
		return reply{}, mailbox.ErrInbox
	}
	if _, err := from.account.Apply(ctx, mailbox.RenameBox{From: from.Name, To: to.name}); err != nil {
		return reply{}, err
	}
	return reply{}, s.ownNames(ctx, from.prefix+from.Name, to.prefix+to.name)
}

type createCommand struct {
	name   string
	params []func(*mailbox.CreateBox) error
}

func parseCreate(p *parser) (runner, error) {
	c := &createCommand{}
	if !p.SP() || !p.AString(&c.name) || !p.createParams(&c.params) || !p.End() {
		return nil, p.Err()
	}
	return c, nil
}

func (c *createCommand) run(ctx context.Context, s *session) (reply, error) {
	name, err := s.dialect.name(c.name)
	if err != nil {
		return reply{}, err
	}
	name = strings.TrimSuffix(name, mailbox.Separator) // RFC 9051 §6.3.4: a declaration that we need not have
	at, err := s.nest(ctx, name)
	if err != nil {
		return reply{}, err
	}
	create := mailbox.CreateBox{Name: at.name}
	for _, apply := range c.params {
		if err := apply(&create); err != nil {
			return reply{}, err
		}
	}
	if create.Special != "" && at.prefix != "" { // what others use their mailboxes for is theirs to say
		return reply{}, errUseAttr
	}
	applied, err := at.account.Apply(ctx, create)
	if err != nil {
		return reply{}, err
	}
	box := shownBox(applied.Results[0].Box, at.prefix)
	if err := s.ownNames(ctx, box.Name); err != nil {
		return reply{}, err
	}
	return done(string(appendMailboxID([]byte("MAILBOXID "), &box))), // RFC 8474 §4.1
		s.write(func(b []byte) []byte { return s.dialect.appendCreated(b, box, name) })
}

// createParams decodes the parameters of RFC 4466 §2.3, if there are any.
func (p *parser) createParams(params *[]func(*mailbox.CreateBox) error) bool {
	return p.AtEnd() || p.SP() && p.List1(func() bool {
		var name string
		if !p.Label(&name) {
			return false
		}
		param, known := p.table.creates[name]
		if !known {
			return p.Refuse(errOption)
		}
		apply, ok := param.parse(p)
		*params = append(*params, apply)
		return ok
	})
}

func createSpecialUse() extension {
	return extension{name: "CREATE-SPECIAL-USE", rfc: "RFC 6154", needs: "SPECIAL-USE", creates: []createParam{{"USE", parseUse}}}
}

// specialUses are those that a mailbox can be made for. The others of RFC 6154 §2 are of mailboxes that show messages of others.
func specialUses() []mailbox.SpecialUse {
	return []mailbox.SpecialUse{mailbox.Archive, mailbox.Drafts, mailbox.Junk, mailbox.Sent, mailbox.Trash}
}

// parseUse decodes a list of uses: RFC 6154 §3. A box has one; no use is ours that goes with another.
func parseUse(p *parser) (func(*mailbox.CreateBox) error, bool) {
	var asked []imap.Flag
	if !p.SP() || !p.List(func() bool {
		asked = append(asked, "")
		return p.Flag(&asked[len(asked)-1])
	}) {
		return nil, false
	}
	return func(box *mailbox.CreateBox) error {
		for _, attr := range asked {
			i := slices.IndexFunc(specialUses(), func(use mailbox.SpecialUse) bool {
				return strings.EqualFold(`\`+string(use), string(attr))
			})
			if i < 0 || box.Special != "" {
				return errUseAttr
			}
			box.Special = specialUses()[i]
		}
		return nil
	}, true
}
