package imapd

import (
	"context"
	"slices"
	"strings"

	"posthouse/imapd/wire"
	"posthouse/internal/link"
	"posthouse/mailbox"
)

// searchOption is a result option of SEARCH: RFC 4466 §2.6.
type searchOption struct {
	name  string
	parse func(*parser, *searchCommand) bool
}

func (o searchOption) label() string { return o.name }

// results is a set of result options.
type results uint8

const (
	resultMin results = 1 << iota
	resultMax
	resultAll
	resultCount
	resultSave
	resultRelevancy
	resultUpdate
	resultContext

	resultHints = resultUpdate | resultContext // what changes no response: RFC 5267 §4.1
)

func resultOption(name string, r results) searchOption {
	return searchOption{name, func(_ *parser, c *searchCommand) bool { c.results |= r; return true }}
}

func esearch() extension {
	return extension{
		name: "ESEARCH", rfc: "RFC 4731",
		returns: []searchOption{
			resultOption("MIN", resultMin), resultOption("MAX", resultMax),
			resultOption("ALL", resultAll), resultOption("COUNT", resultCount),
		},
	}
}

func searchRes() extension {
	return extension{name: "SEARCHRES", rfc: "RFC 5182", needs: "ESEARCH", returns: []searchOption{resultOption("SAVE", resultSave)}}
}

type searchCommand struct {
	by       numbering
	extended bool // RETURN was there: the answer is ESEARCH
	results  results
	charset  bool      // CHARSET was there
	multi    bool      // it is ESEARCH: responses say which mailbox they are about
	ordered  bool      // it is SORT: what is found keeps its order
	items    []fetcher // of messages that come to be found, by UPDATE
	refusal  error     // known when parsing, but of SEARCH itself: it is a NO, and empties "$"
	part     part
	program  program
	found    selection // what was found
}

// outcome is what a command makes of what a search finds.
type outcome interface {
	// arrange is what takes long of it. It touches nothing but the mailbox as it was when it was searched.
	arrange(ctx context.Context, v *view, found selection) error
	// tell writes it.
	tell(s *session, v *view) (reply, error)
	// tagless tells whether what it writes does not say which command it answers.
	tagless(d dialect) bool
}

func parseSearch(p *parser, by numbering) (runner, error) {
	c := &searchCommand{by: by}
	if !(p.SP() && p.searchReturn(c) && p.searchCharset(c) && p.searchProgram(&c.program) && p.End()) {
		return nil, p.Err()
	}
	return c, c.check()
}

// check looks at what was decoded as a whole.
func (c *searchCommand) check() error {
	if c.part.first != 0 && c.results&resultAll != 0 { // RFC 9394 §3.1
		return errTwoParts
	}
	if c.results&resultRelevancy != 0 && !c.program.anyFuzzy { // RFC 6203 §4
		return errNotFuzzy
	}
	if c.program.invalid {
		c.refusal = errCharset
	}
	if c.refusal != nil && c.program.filters != nil { // RFC 5466 §3.1
		return reply{statusBAD, errCharset.code, errCharset.text}
	}
	c.program.lasts = c.results&resultUpdate != 0
	return nil
}

// searchReturn decodes the result options and the space after them, if there are any.
func (p *parser) searchReturn(c *searchCommand) bool {
	if !p.Word("RETURN") {
		return true
	}
	c.extended = true
	last := ""
	return p.SP() && p.List(func() bool {
		if last == "UPDATE" && p.At('(') {
			last = ""
			return p.updateItems(c)
		}
		var name string
		if !p.Label(&name) {
			return false
		}
		option, known := p.table.returns[name]
		if !known {
			return p.Refuse(errOption)
		}
		last = name
		return option.parse(p, c)
	}) && p.SP()
}

// searchCharset decodes the charset and the space after it, if it is there.
func (p *parser) searchCharset(c *searchCommand) bool {
	if !p.Word("CHARSET") {
		return true
	}
	c.charset = true
	return p.SP() && p.charset(c) && p.SP()
}

// charset decodes a charset. Only those that RFC 9051 §6.4.4 requires are known.
func (p *parser) charset(c *searchCommand) bool {
	var charset string
	if !p.AString(&charset) {
		return false
	}
	if !strings.EqualFold(charset, "UTF-8") && !strings.EqualFold(charset, "US-ASCII") {
		c.refusal = errCharset
	}
	return true
}

func (c *searchCommand) run(ctx context.Context, s *session) (reply, error) {
	return c.find(ctx, s, c)
}

func (c *searchCommand) arrange(_ context.Context, _ *view, found selection) error {
	c.found = found
	return nil
}

func (c *searchCommand) tagless(d dialect) bool { return !c.extended && d.searchesPlainly() }

func (c *searchCommand) tell(s *session, v *view) (reply, error) {
	err := c.save(v, c.saved(c.found))
	if err != nil {
		return reply{}, err
	}
	if c.tagless(s.dialect) {
		err = c.writeNumbers(s.out, v, c.found)
	} else {
		err = s.write(func(b []byte) []byte { return c.appendResponse(b, s, v, c.found) })
	}
	if err == nil {
		err = c.keepUpdated(s, c.found, nil)
	}
	if err != nil {
		return reply{}, err
	}
	return s.upTo(c.program.lowest, reply{})
}

// find searches the selected mailbox. Answers that do not say what they answer come in the order of the commands. An error empties the
// variable that SAVE was to fill: RFC 9051 §6.4.4.1.
func (c *searchCommand) find(ctx context.Context, s *session, o outcome) (r reply, err error) {
	err = c.allowed(ctx, s)
	if err == nil && o.tagless(s.dialect) {
		err = s.await(ctx, 0)
	}
	if err == nil {
		c.program.most = s.server.opts.Limits.CommandMessages
		c.program.progress.goal = int64(s.view.told.Len())
		r, err = c.in(ctx, s, s.view, o)
	}
	if failed, _ := replyTo(err); err != nil && s.view != nil && failed.status != statusBAD { // a BAD changes nothing: RFC 5182 §2.1
		c.save(s.view, nil) //nolint:errcheck // nothing is not too much
	}
	return r, err
}

// in searches a mailbox and tells the outcome. Bodies are read beside other commands, in the mailbox as it is now, unless these may depend
// on what is found.
func (c *searchCommand) in(ctx context.Context, s *session, v *view, o outcome) (reply, error) {
	var r *found
	now := *v
	read := func(ctx context.Context) error {
		found, err := c.program.read(ctx, &now, r)
		if err != nil {
			return err
		}
		return o.arrange(ctx, &now, found)
	}
	beside := false
	err := s.meanwhile(&c.program.progress, func() (err error) {
		if r, err = c.program.look(ctx, v, v.everything()); err != nil {
			return err
		}
		if beside = len(r.open) > 0 && c.results&(resultSave|resultUpdate) == 0; beside {
			return nil
		}
		return read(ctx)
	})
	switch {
	case err != nil:
		return reply{}, err
	case beside:
		s.leave(&c.program.progress, read, func(context.Context) (reply, error) { return o.tell(s, &now) })
		return reply{}, nil
	}
	return o.tell(s, v)
}

// allowed is what comes before the search, wherever it is done.
func (c *searchCommand) allowed(ctx context.Context, s *session) error {
	switch {
	case c.charset && s.dialect.accept:
		return errNoCharset
	case c.results&resultUpdate != 0 && s.view.updating(s.tag) != nil:
		return errTagUsed
	case c.refusal != nil:
		return c.refusal
	}
	err := c.program.fill(ctx, s)
	if err == nil && c.program.modSeqs {
		err = s.learnModSeqs()
	}
	return err
}

// save keeps what was found, if it is to be kept; nothing of what is too much: RFC 5182 §2.5.
func (c *searchCommand) save(v *view, sel selection) error {
	if c.results&resultSave == 0 {
		return nil
	}
	if v.saved = v.uids(sel); len(v.saved) > maxSaved {
		v.saved = nil
		return errNotSaved
	}
	return nil
}

// saved is what SAVE keeps: RFC 9051 §6.4.4.1, table 4.
func (c *searchCommand) saved(found selection) selection {
	if c.results&(resultAll|resultCount|resultRelevancy) != 0 || c.results&(resultMin|resultMax) == 0 && c.part.first == 0 || len(found) == 0 {
		return slices.Clone(found).normal()
	}
	var kept selection
	if c.part.first != 0 { // RFC 9394 §3.2
		kept = c.part.of(found)
	}
	first, last := found[0].from, found[len(found)-1].to-1
	if c.results&resultMin != 0 {
		kept = append(kept, span{first, first + 1})
	}
	if c.results&resultMax != 0 {
		kept = append(kept, span{last, last + 1})
	}
	return slices.Clone(kept).normal()
}

// writeNumbers is the response of RFC 3501 §7.2.5.
func (c *searchCommand) writeNumbers(w *link.Writer, v *view, found selection) error {
	if err := w.WriteString("* SEARCH"); err != nil {
		return err
	}
	for pos := range v.each(found) {
		if err := w.Advance(v.appendNumber(append(w.Available(), ' '), pos, c.by)); err != nil {
			return err
		}
	}
	if c.program.modSeqs && len(found) > 0 { // RFC 7162 §3.1.5
		b := wire.AppendNumber(append(w.Available(), " (MODSEQ "...), v.highest(found))
		if err := w.Advance(append(b, ')')); err != nil {
			return err
		}
	}
	return w.WriteString("\r\n")
}

// appendResponse writes the response of RFC 9051 §7.3.4.
func (c *searchCommand) appendResponse(b []byte, s *session, v *view, found selection) []byte {
	if c.results&^resultHints == resultSave && c.part.first == 0 {
		return b // RFC 9051 §6.4.4: SAVE alone has no response.
	}
	b = c.appendBy(c.appendHead(b, s, v))
	return append(c.appendResults(b, v, found), "\r\n"...)
}

// appendHead begins an ESEARCH response.
func (c *searchCommand) appendHead(b []byte, s *session, v *view) []byte {
	b = wire.AppendString(append(b, "* ESEARCH (TAG "...), s.tag)
	if c.multi {
		b = s.dialect.appendMailbox(b, v)
	}
	return append(b, ')')
}

// appendBy says what the numbers of an ESEARCH response are.
func (c *searchCommand) appendBy(b []byte) []byte {
	if c.by == byUID {
		return append(b, " UID"...)
	}
	return b
}

// appendResults writes the results that were asked for: RFC 9051 §7.3.4 search-return-data.
func (c *searchCommand) appendResults(b []byte, v *view, found selection) []byte {
	asked := c.results
	if asked == 0 && c.part.first == 0 {
		asked = resultAll
	}
	if len(found) > 0 {
		if asked&resultMin != 0 {
			b = v.appendNumber(append(b, " MIN "...), found[0].from, c.by)
		}
		if asked&resultMax != 0 {
			b = v.appendNumber(append(b, " MAX "...), found[len(found)-1].to-1, c.by)
		}
		if asked&resultAll != 0 {
			b = c.appendFound(append(b, " ALL "...), v, found)
		}
	}
	if c.part.first != 0 {
		b = append(append(append(b, " PARTIAL ("...), c.part.text...), ' ')
		if some := c.part.of(found); len(some) > 0 {
			b = c.appendFound(b, v, some)
		} else {
			b = append(b, "NIL"...)
		}
		b = append(b, ')')
	}
	if asked&resultRelevancy != 0 {
		b = c.appendRelevancy(b, v, found)
	}
	if asked&resultCount != 0 {
		b = wire.AppendNumber(append(b, " COUNT "...), found.len())
	}
	if c.program.modSeqs && len(found) > 0 { // RFC 7162 §3.1.10: of what is told
		b = wire.AppendNumber(append(b, " MODSEQ "...), v.highest(c.saved(found)))
	}
	return b
}

// appendFound writes messages that were found: as a set, or in their order.
func (c *searchCommand) appendFound(b []byte, v *view, found selection) []byte {
	if c.ordered {
		return v.appendInOrder(b, found, c.by)
	}
	return v.appendSet(b, found, c.by)
}

// program is what a message must be, with what it takes to find that out.
type program struct {
	matches matcher
	keys    int
	want    mailbox.FactSet
	needles []needle // strings that are looked for in bodies
	// questions and rankings are what the index is asked.
	questions []*question
	rankings  []*ranking
	fuzzy     bool // the key that is decoded is in a FUZZY; anyFuzzy: one was
	anyFuzzy  bool
	prepare   []func(*view) error // what depends on the mailbox
	invalid   bool                // a string was no UTF-8
	modSeqs   bool                // mod-sequences were asked for
	varies    bool                // a key asks for what may change of a message
	ages      bool                // a key asks how old messages are
	lasts     bool                // it is run again when the mailbox has changed
	filters   []*filter           // whose keys are not there yet
	depth     int                 // of the filter that is being parsed

	progress progress

	scopes []*selection // what all must be in that is found
	most   int          // messages that may be looked at: the last of them; 0: all
	whole  bool         // it is all or nothing: more are too many
	lowest mailbox.UID  // of those that were looked at, if there were more
}

// run finds the messages among those of a selection, looking at what is near first.
func (g *program) run(ctx context.Context, v *view, all selection) (selection, error) {
	r, err := g.look(ctx, v, all)
	if err != nil {
		return nil, err
	}
	return g.read(ctx, v, r)
}

// look decides what can be decided without bodies: it looks at the view, then at the index, then at facts.
func (g *program) look(ctx context.Context, v *view, all selection) (*found, error) {
	for _, f := range g.prepare {
		if err := f(v); err != nil {
			return nil, err
		}
	}
	g.begin(ctx, v)
	among, err := g.among(v, all)
	if err != nil {
		return nil, err
	}
	r := &found{matches: g.matches}
	for k, err := range v.facts(ctx, 0, among) {
		if err != nil {
			return nil, err
		}
		r.judge(candidate{pos: k.pos, message: k.message})
	}
	if err := g.ask(ctx, v, r); err != nil {
		return nil, err
	}
	if g.want != 0 {
		for k, err := range v.facts(ctx, g.want, r.again()) {
			if err != nil {
				return nil, err
			}
			if k.Facts != nil { // else it is expunged, and nobody can tell whether it would match
				r.judge(candidate{pos: k.pos, message: k.message, header: k.Header, texts: k.Texts})
			}
		}
	}
	g.progress.done.Add(int64(all.len() - r.open.len()))
	return r, ctx.Err()
}

// read decides the rest by bodies. Of the view it needs no more than what was there when look looked.
func (g *program) read(ctx context.Context, v *view, r *found) (selection, error) {
	if len(r.open) == 0 {
		return r.hits.normal(), ctx.Err()
	}
	scan := newScanner(g.needles)
	for k, err := range v.facts(ctx, mailbox.WantParts, r.again()) {
		if err != nil {
			return nil, err
		}
		g.progress.done.Add(1)
		if k.Facts == nil {
			continue
		}
		c, err := scan.read(ctx, v.account, k)
		if err != nil {
			return nil, err
		}
		r.judge(c)
	}
	return r.hits.normal(), ctx.Err()
}

// found is the outcome of a search so far.
type found struct {
	matches matcher
	hits    selection // not in order, if there was more than one round
	open    selection // undecided
	at      candidate
}

func (f *found) judge(c candidate) {
	f.at = c
	switch f.matches(&f.at) {
	case yes:
		f.hits = f.hits.add(c.pos)
	case maybe:
		f.open = f.open.add(c.pos)
	}
}

// again takes what is undecided, to decide it with more.
func (f *found) again() selection {
	open := f.open
	f.open = nil
	return open
}
