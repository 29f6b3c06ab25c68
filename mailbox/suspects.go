package mailbox

import (
	"context"
	"strings"

	"posthouse/internal/db"
	"posthouse/mailbox/index"
)

// Suspects are the contents that may have a text. The zero value suspects all.
type Suspects struct{ of *index.Suspects }

// Has tells whether the content may have the text; if not, it has it not.
func (s Suspects) Has(id BlobID) bool { return s.of == nil || s.of.Has(int64(id)) }

// Ranks are how well contents fit what was looked for. The zero value knows none.
type Ranks struct{ of *index.Ranks }

// Known tells whether the content was looked at.
func (r Ranks) Known(id BlobID) bool { return r.of != nil && r.of.Has(int64(id)) }

// Score is that of a content, the better it fits the more; 0: it does not.
func (r Ranks) Score(id BlobID) float64 {
	if r.of == nil {
		return 0
	}
	return r.of.Score(int64(id))
}

// Suspects is Account.
func (a *account) Suspects(ctx context.Context, texts ...[]byte) []Suspects {
	answers := make([]Suspects, len(texts))
	if len(texts) == 0 {
		return answers
	}
	var found []index.Suspects
	err := a.withIndex(func(_ *db.DB, x *index.Index) (err error) {
		found, err = x.Suspects(ctx, texts...)
		return err
	})
	if err != nil {
		return answers
	}
	for i := range found {
		answers[i] = Suspects{&found[i]}
	}
	a.catchUp(&found[0].Reach)
	return answers
}

// maxOnDemand is how many contents are indexed before a ranked search is answered; if there are more, those after them are not known.
const maxOnDemand = 256

// Place is where Fuzzy looks: Anywhere, InText, or a field.
type Place string

// Places that are no fields.
const (
	Anywhere Place = ""
	InText   Place = index.Body
)

// FieldPlace is the field of that name; false: it is not ranked.
func FieldPlace(name string) (Place, bool) { return Place(strings.ToLower(name)), index.HasField(name) }

// Fuzzy is Account.
func (a *account) Fuzzy(ctx context.Context, in Place, text string) Ranks {
	for n := 0; n < maxOnDemand; {
		indexed, more := a.indexSome()
		if n += indexed; !more || ctx.Err() != nil {
			break
		}
	}
	var found index.Ranks
	err := a.withIndex(func(_ *db.DB, x *index.Index) (err error) {
		found, err = x.Fuzzy(ctx, string(in), text)
		return err
	})
	if err != nil {
		return Ranks{}
	}
	a.catchUp(&found.Reach)
	return Ranks{&found}
}

// catchUp has the account indexed if there is something that the index has not reached.
func (a *account) catchUp(reach *index.Reach) {
	a.mu.RLock()
	last := int64(a.nextBlob - 1)
	a.mu.RUnlock()
	if last > reach.Last() || int64(a.settled()) > reach.To {
		a.store.index(a)
	}
}
