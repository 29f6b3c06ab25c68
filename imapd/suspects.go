package imapd

import (
	"context"
	"strings"
	"unicode/utf8"

	"posthouse/mail/mime"
	"posthouse/mailbox"
)

// question is what the index of an account is asked: which messages may have a text. All may, until it is.
type question struct {
	text     []byte // folded
	suspects mailbox.Suspects
}

// suspecting is a matcher of messages that have a text: those that have not, as far as the index knows, are not looked into.
func (g *program) suspecting(text string, m matcher) matcher {
	if text == "" || len(g.questions) >= maxQuestions {
		return m
	}
	q := &question{text: fold(nil, []byte(text))}
	g.questions = append(g.questions, q)
	return func(c *candidate) answer {
		if !q.suspects.Has(c.message.Blob) {
			return nope
		}
		return m(c)
	}
}

// suspectingField is suspecting for a text in a field of that name: the message has the name too, which says something. Fields whose
// texts are kept beside the messages are not asked for: they are looked through in less time.
func (g *program) suspectingField(name, text string, m matcher) matcher {
	if mime.HasText(name) {
		return m
	}
	m = g.suspecting(text, m)
	if strings.ContainsFunc(name, func(r rune) bool { return r >= utf8.RuneSelf }) { // it is compared otherwise
		return m
	}
	return g.suspecting(name+": ", m)
}

// worthAsking is how many messages are looked into rather than asking which of them to look into.
const worthAsking = 16

// ask asks the index, if so many messages are undecided that it is worth it, and decides what can be decided now.
func (g *program) ask(ctx context.Context, v *view, r *found) error {
	if len(g.questions) == 0 || r.open.len() < worthAsking {
		return nil
	}
	texts := make([][]byte, len(g.questions))
	for i, q := range g.questions {
		texts[i] = q.text
	}
	for i, suspects := range v.account.Suspects(ctx, texts...) {
		g.questions[i].suspects = suspects
	}
	for k, err := range v.facts(ctx, 0, r.again()) {
		if err != nil {
			return err
		}
		r.judge(candidate{pos: k.pos, message: k.message})
	}
	return nil
}
