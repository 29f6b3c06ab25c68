package index

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"posthouse/internal/db"

	"zombiezen.com/go/sqlite"
)

// Ranks are how well contents fit what was looked for.
type Ranks struct {
	Reach
	Hits []Hit // ascending by ID
}

// Hit is a content that fits.
type Hit struct {
	ID    int64
	Score float64 // the more, the better; more than 0
}

// Score is that of a content; 0: it does not fit.
func (r *Ranks) Score(id int64) float64 {
	i, found := slices.BinarySearchFunc(r.Hits, id, func(h Hit, id int64) int { return cmp.Compare(h.ID, id) })
	if !found {
		return 0
	}
	return r.Hits[i].Score
}

// Limits of a ranked search.
const (
	maxRanked     = 100_000 // contents, the best ones
	maxFuzzyWords = 16      // of what is looked for: RFC 6203 §8
)

// A word in the subject says more of a message than one in its text.
const weights = "10.0, 5.0, 4.0, 3.0, 3.0, 1.0"

// columns are those of the table fuzzy by the field they are of.
func columns() map[string]string {
	return map[string]string{"subject": "subject", "from": "sender", "to": "receiver", "cc": "copied", "bcc": "blind", Body: "body"}
}

// Body is what Fuzzy calls the text of a message.
const Body = "body"

// HasField tells whether Fuzzy can look in a field of that name.
func HasField(name string) bool {
	return columns()[strings.ToLower(name)] != "" && !strings.EqualFold(name, Body)
}

// Fuzzy ranks the contents that have all the words, or words that begin with them, whatever their case and accents: in the field of that
// name, in the Body, or anywhere ("").
func (x *Index) Fuzzy(ctx context.Context, in, text string) (r Ranks, err error) {
	query := match(columns()[strings.ToLower(in)], text)
	err = x.db.Read(ctx, func(c *sqlite.Conn) error {
		if r.Reach, err = readReach(c); err != nil || query == "" {
			return err
		}
		return db.Rows(c, "SELECT rowid, bm25(fuzzy, "+weights+") AS score FROM fuzzy WHERE fuzzy MATCH ? ORDER BY score LIMIT ?",
			func(s *sqlite.Stmt) {
				s.BindText(1, query)
				s.BindInt64(2, maxRanked)
			},
			func(s *sqlite.Stmt) error {
				r.Hits = append(r.Hits, Hit{s.ColumnInt64(0), -s.ColumnFloat(1)}) // SQLite's is the lower, the better
				return nil
			})
	})
	slices.SortFunc(r.Hits, func(a, b Hit) int { return cmp.Compare(a.ID, b.ID) })
	return r, err
}

// match is the query of FTS5: https://www.sqlite.org/fts5.html §3.
func match(column, text string) string {
	words := strings.Fields(strings.ReplaceAll(text, "\x00", " "))
	if len(words) == 0 {
		return ""
	}
	for i, word := range words[:min(len(words), maxFuzzyWords)] {
		words[i] = `"` + strings.ReplaceAll(word, `"`, `""`) + `"*`
	}
	query := strings.Join(words[:min(len(words), maxFuzzyWords)], " AND ")
	if column != "" {
		query = column + " : (" + query + ")"
	}
	return query
}
