package imapd

import (
	"bytes"
	"context"
	"strings"

	"posthouse/imapd/wire"
)

// filters is FILTERS: RFC 5466. A filter is an entry of the account's own metadata (RFC 5464), by which searches are kept for later.
func filters() extension {
	return extension{name: "FILTERS", rfc: "RFC 5466", needs: "METADATA", search: []searchKey{{"FILTER", parseFilterKey}}}
}

// The entries that have filters as values: RFC 5466 §3.2. A private one goes before a shared one of the same name.
const (
	privateFilters = "/private/filters/values/"
	sharedFilters  = "/shared/filters/values/"
)

// filter is a search key that stands for others.
type filter struct {
	name    string // as it was written
	depth   int    // how many filters it is inside of
	fuzzy   bool   // so are its strings matched: RFC 6203
	matches matcher
}

func parseFilterKey(p *parser, g *program) (matcher, bool) {
	f := &filter{depth: g.depth, fuzzy: g.fuzzy}
	if !p.SP() || !p.Atom(&f.name) {
		return nil, false
	}
	if strings.Contains(f.name, "/") { // RFC 5466 §4 filter-name
		return nil, p.Refuse(errFilterName)
	}
	g.filters = append(g.filters, f)
	return func(c *candidate) answer { return f.matches(c) }, true
}

// fill puts what they stand for in the place of filters, and of those inside them. A loop is a filter too deep inside others, and like
// one that is not there: RFC 5466 §3.1.
func (g *program) fill(ctx context.Context, s *session) error {
	if g.filters == nil {
		return nil
	}
	entries, err := s.account.Annotations(ctx, 0, 0)
	if err != nil {
		return err
	}
	values := make(map[string][]byte)
	for _, e := range entries {
		values[e.Entry] = e.Value // nil if it was taken away
	}
	for i := 0; i < len(g.filters); i++ {
		f := g.filters[i]
		value := values[privateFilters+strings.ToLower(f.name)]
		if value == nil {
			value = values[sharedFilters+strings.ToLower(f.name)]
		}
		g.depth, g.fuzzy = f.depth+1, f.fuzzy
		if value == nil || g.depth > maxFilterDepth || !g.parseFilter(s.table, value, &f.matches) {
			return no("UNDEFINED-FILTER "+f.name, "No such filter, or it cannot be used")
		}
	}
	g.filters = nil
	if g.invalid {
		return errCharset
	}
	return nil
}

// parseFilter parses search criteria that are the value of an entry. Beside them there must be nothing.
func (g *program) parseFilter(t *table, value []byte, m *matcher) bool {
	rest := bytes.NewReader(append(bytes.Clone(value), "\r\n"...))
	p := &parser{wire.NewDecoder(rest), t}
	p.Limits, p.Continue = lateLimits(0), func() error { return nil }
	if p.Next() != nil || p.AtEnd() {
		return false
	}
	outer, scopes := g.matches, len(g.scopes) // the filter may be a key that need not hold
	ok := p.searchProgram(g)
	*m, g.matches, g.scopes = g.matches, outer, g.scopes[:scopes]
	return ok && !p.Buffered() && rest.Len() == 0
}

// checkFilter refuses what cannot be a filter, when it is set: RFC 5466 §3.2.
func (s *session) checkFilter(entry string, value []byte) error {
	name, isFilter := strings.CutPrefix(entry, privateFilters)
	if !isFilter {
		name, isFilter = strings.CutPrefix(entry, sharedFilters)
	}
	if !isFilter || value == nil {
		return nil
	}
	p := &parser{wire.NewDecoder(strings.NewReader(" " + name + "\r\n")), s.table}
	p.Limits = lateLimits(0)
	var m matcher
	g := &program{}
	if p.Next() != nil {
		return errFilter
	}
	if _, ok := parseFilterKey(p, g); !ok || !p.End() || !g.parseFilter(s.table, value, &m) || g.invalid {
		return errFilter
	}
	return nil
}
