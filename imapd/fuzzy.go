package imapd

import (
	"cmp"
	"context"

	"posthouse/imapd/wire"
	"posthouse/mailbox"
)

// fuzzy is SEARCH=FUZZY: RFC 6203. A string is matched fuzzily if all its words, or words that begin with them, are there, whatever their
// case and accents. The other keys are matched exactly, as §5 allows: so are strings in messages that the index has not reached, and in
// fields that it has not.
func fuzzy() extension {
	return extension{
		name: "SEARCH=FUZZY", rfc: "RFC 6203",
		search:  []searchKey{{"FUZZY", parseFuzzy}},
		returns: []searchOption{resultOption("RELEVANCY", resultRelevancy)},
		sorts: []sortKey{{
			name: "RELEVANCY", fuzzy: true,
			compare: func(a, b *sorted) int { return cmp.Compare(b.relevancy, a.relevancy) }, // §6: the highest is first
		}},
	}
}

// parseFuzzy decodes the key that is matched fuzzily.
func parseFuzzy(p *parser, g *program) (matcher, bool) {
	if !p.SP() {
		return nil, false
	}
	before := g.fuzzy
	g.fuzzy, g.anyFuzzy = true, true
	m, ok := p.searchKey(g)
	g.fuzzy = before
	return m, ok
}

// ranking is a string that is matched fuzzily.
type ranking struct {
	in    mailbox.Place
	text  string
	ranks mailbox.Ranks
}

// ranked is a matcher of messages with a string in them, fuzzily if that is asked for; exact is for the messages that are not indexed.
func (g *program) ranked(in mailbox.Place, text string, exact matcher) matcher {
	if !g.fuzzy || len(g.rankings) >= maxRankings {
		return exact
	}
	r := &ranking{in: in, text: text}
	g.rankings = append(g.rankings, r)
	return func(c *candidate) answer {
		if r.ranks.Known(c.message.Blob) {
			return answerTo(r.ranks.Score(c.message.Blob) > 0)
		}
		return exact(c)
	}
}

// begin forgets what the index said before, which may be of another account's messages, and asks it which match fuzzily.
func (g *program) begin(ctx context.Context, v *view) {
	for _, q := range g.questions {
		q.suspects = mailbox.Suspects{}
	}
	for _, r := range g.rankings {
		r.ranks = v.account.Fuzzy(ctx, r.in, r.text)
	}
}

// relevancies are the scores of messages, in their order: what their strings score in all, brought to 1 to 100. Those that all score
// the same are all as relevant as can be.
func (g *program) relevancies(blobs []mailbox.BlobID) []int {
	scores := make([]float64, len(blobs))
	var least, most float64
	for i, blob := range blobs {
		for _, r := range g.rankings {
			scores[i] += r.ranks.Score(blob)
		}
		if i == 0 {
			least, most = scores[i], scores[i]
		}
		least, most = min(least, scores[i]), max(most, scores[i])
	}
	all := make([]int, len(blobs))
	for i, score := range scores {
		if all[i] = 100; most > least {
			all[i] = 1 + int(99*(score-least)/(most-least))
		}
	}
	return all
}

// appendRelevancy writes the scores of those that are told, in their order: RFC 6203 §4.
func (c *searchCommand) appendRelevancy(b []byte, v *view, found selection) []byte {
	blobs := make([]mailbox.BlobID, 0, found.len())
	for _, some := range found { // in whatever order
		for pos := some.from; pos < some.to; pos++ {
			blobs = append(blobs, v.told.At(pos).Blob)
		}
	}
	scores := c.program.relevancies(blobs)
	b = append(b, " RELEVANCY ("...)
	for i, score := range c.part.scores(scores) {
		if i > 0 {
			b = append(b, ' ')
		}
		b = wire.AppendNumber(b, score)
	}
	return append(b, ')')
}

// setRelevancy gives messages their scores.
func (g *program) setRelevancy(messages []sorted) {
	blobs := make([]mailbox.BlobID, len(messages))
	for i := range messages {
		blobs[i] = messages[i].message.Blob
	}
	for i, score := range g.relevancies(blobs) {
		messages[i].relevancy = score
	}
}
