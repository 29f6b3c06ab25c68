package stage

import (
	"context"
	"net/netip"
	"strconv"
	"time"

	"posthouse/mail"
	"posthouse/mail/mime"
	"posthouse/mail/smtp"
	"posthouse/mta/milter"
)

// MilterOptions say which filter is asked, and what happens without it.
type MilterOptions struct {
	Name     string // in the log and the metrics: "milter", or "milter:" and a name
	Filter   *milter.Filter
	Hostname string // ours, for its macros
	// Lost is the action when the filter does not answer, or answers nonsense: Defer, Refuse, Quarantine, or Accept to go on without it.
	Lost Action
	// Patience is how long it may take over one message; 0: a minute.
	Patience time.Duration
}

const milterPatience = time.Minute

// Milter has a filter take part in the session: it hears of each phase as it happens, and may refuse there. What it discards is
// quarantined: nothing that was answered 250 disappears here.
type Milter struct{ o MilterOptions }

// NewMilter makes the stage. The filter may be that of other servers, too, and is closed by who made it.
func NewMilter(o MilterOptions) *Milter {
	if o.Patience == 0 {
		o.Patience = milterPatience
	}
	return &Milter{o}
}

// Name is Stage.
func (s *Milter) Name() string { return s.o.Name }

// Patience is Patient.
func (s *Milter) Patience() time.Duration { return s.o.Patience }

// conversation is what a filter has been told in a session.
type conversation struct {
	session     *milter.Session
	connected   bool
	greeted     string // what it was told of the greeting, and took: it comes again after STARTTLS
	quarantined bool   // the message, before its content was known
	lost        error  // nil: it is there
}

func (c *conversation) close() {
	if c.session != nil {
		c.session.Close()
	}
}

// endMessage ends what concerns a message. A filter that was lost meanwhile is asked anew about the next one.
func (c *conversation) endMessage() {
	c.quarantined = false
	switch {
	case c.lost != nil:
		c.close()
		*c = conversation{}
	case c.session != nil:
		c.session.Abort()
	}
}

var (
	filterRefused  = smtp.Reply{Code: 550, Enhanced: smtp.Enhanced{5, 7, 1}, Text: "refused by a filter"}
	filterDeferred = smtp.Reply{Code: 451, Enhanced: smtp.Enhanced{4, 7, 1}, Text: "deferred by a filter, try again later"}
	filterLost     = smtp.Reply{Code: 451, Enhanced: smtp.Enhanced{4, 3, 0}, Text: "the message cannot be filtered now, try again later"}
)

// with asks the filter something, after it has been told all that came before.
func (s *Milter) with(ctx context.Context, c *Client, ask func(context.Context, *conversation) (milter.Answer, error)) Verdict {
	ctx, cancel := context.WithTimeout(ctx, s.o.Patience)
	defer cancel()
	f := c.filters[s]
	if f == nil {
		f = &conversation{}
		if c.filters == nil {
			c.filters = map[*Milter]*conversation{}
		}
		c.filters[s] = f
	}
	if f.lost != nil { // for the rest of the message, of which the filter would know the half only
		return s.withoutFilter(f.lost)
	}
	answer, err := s.catchUp(ctx, c, f)
	if err == nil && answer.Kind <= milter.Skip && ask != nil {
		answer, err = ask(ctx, f)
	}
	if err != nil {
		f.lost = err
		return s.withoutFilter(err)
	}
	return verdictOf(answer, f)
}

func (s *Milter) withoutFilter(why error) Verdict {
	v := Verdict{Result: "lost", Detail: clean(why.Error())}
	switch s.o.Lost {
	case Accept:
		v.Action = Tag // it is noted at least
		return v
	case Quarantine:
		v.Action = Quarantine
		return v
	case Refuse:
		return v.by(Refuse, filterRefused)
	}
	return v.answered(filterLost)
}

// verdictOf is what an answer means.
func verdictOf(a milter.Answer, f *conversation) Verdict {
	switch a.Kind {
	case milter.Reject:
		return Verdict{Result: "reject", Detail: a.Reply.Text}.answered(orElse(a.Reply, filterRefused))
	case milter.TempFail:
		return Verdict{Result: "tempfail", Detail: a.Reply.Text}.answered(orElse(a.Reply, filterDeferred))
	case milter.Discard:
		f.quarantined = true
	}
	return Verdict{}
}

func orElse(r, other smtp.Reply) smtp.Reply {
	if r.Code == 0 {
		return other
	}
	return r
}

// catchUp tells the filter of the connection and the greeting, as far as it has not heard of them.
func (s *Milter) catchUp(ctx context.Context, c *Client, f *conversation) (a milter.Answer, err error) {
	if f.session == nil {
		if f.session, err = s.o.Filter.Begin(ctx); err != nil {
			return a, err
		}
	}
	if !f.connected {
		f.connected = true
		a, err = f.session.Connect(ctx, clientName(c.Remote), c.Remote, milter.Macros{
			"j": s.o.Hostname, "{daemon_name}": s.o.Hostname, "v": "Posthouse", "_": clientName(c.Remote), "{client_name}": clientName(c.Remote),
			"{client_addr}": c.Remote.Addr().String(), "{client_port}": strconv.Itoa(int(c.Remote.Port())),
		})
	}
	if greeting := c.HELO + " " + c.TLS.Version; err == nil && a.Kind <= milter.Skip && c.HELO != "" && f.greeted != greeting {
		a, err = f.session.Hello(ctx, c.HELO, milter.Macros{"{tls_version}": c.TLS.Version, "{cipher}": c.TLS.Cipher})
		if f.greeted = greeting; a.Kind > milter.Accept { // and is refused again if it comes again
			f.greeted = ""
		}
	}
	return a, err
}

// clientName is the address of a client as the name of one that has none: its PTR is not known yet.
func clientName(a netip.AddrPort) string {
	if !a.IsValid() {
		return "unknown"
	}
	return "[" + a.Addr().String() + "]"
}

// Connect is ConnectStage.
func (s *Milter) Connect(ctx context.Context, c *Client) Verdict { return s.meet(ctx, c) }

// Hello is HelloStage.
func (s *Milter) Hello(ctx context.Context, c *Client) Verdict { return s.meet(ctx, c) }

// meet asks about the client. That the filter is lost is no fault of the client's, and no finding on the whole session: unless the client is
// put off at once, it is the message that goes without.
func (s *Milter) meet(ctx context.Context, c *Client) Verdict {
	v := s.with(ctx, c, nil)
	if s.o.Lost != Defer && c.filters[s].lost != nil {
		return Verdict{}
	}
	return v
}

// Mail is MailStage.
func (s *Milter) Mail(ctx context.Context, m *Message) Verdict {
	env := m.Envelope
	var params []string
	if env.Body != mail.Body7Bit {
		params = append(params, "BODY="+env.Body.String())
	}
	if env.UTF8 {
		params = append(params, "SMTPUTF8")
	}
	macros := milter.Macros{
		"i": m.Client.Session, "{mail_addr}": env.From.String(), "{auth_authen}": m.Client.Login, "{auth_type}": m.Client.Mechanism,
	}
	return s.with(ctx, m.Client, func(ctx context.Context, f *conversation) (milter.Answer, error) {
		return f.session.Mail(ctx, env.From.String(), params, macros)
	})
}

// Rcpt is RcptStage.
func (s *Milter) Rcpt(ctx context.Context, m *Message, to mail.Address) Verdict {
	return s.with(ctx, m.Client, func(ctx context.Context, f *conversation) (milter.Answer, error) {
		return f.session.Rcpt(ctx, to.String(), nil, milter.Macros{"{rcpt_addr}": to.String()})
	})
}

// Judge is DataStage: the content goes to the filter, and its changes are made.
func (s *Milter) Judge(ctx context.Context, m *Message) Verdict {
	var v Verdict
	e := &edition{m: m}
	asked := s.with(ctx, m.Client, func(ctx context.Context, f *conversation) (milter.Answer, error) {
		answer, changes, err := e.ask(ctx, f.session)
		if err != nil || answer.Kind > milter.Discard {
			return answer, err
		}
		v.Edit, err = e.edit(ctx, changes)
		v.Result, v.Detail = "pass", ""
		if f.quarantined || answer.Kind == milter.Discard || changes.Quarantine != "" {
			v.Action, v.Result, v.Detail = Quarantine, "quarantine", clean(changes.Quarantine)
		}
		return milter.Answer{}, err
	})
	switch {
	case e.err != nil: // whatever is done without the filter
		return Verdict{Result: "temperror", Detail: clean(e.err.Error())}.answered(filterLost)
	case asked.Action != Accept || asked.Result != "":
		return asked
	}
	return v
}

// edition is the message on its way through the filter.
type edition struct {
	m      *Message
	header []byte
	body   *replacement
	err    error // of ours: there is no space, say
}

// newDraft is the message's.
func (e *edition) newDraft(ctx context.Context) (written, error) {
	var d Draft
	d, e.err = e.m.NewDraft(ctx)
	return written{d, e}, e.err
}

// written is a draft that tells of its errors.
type written struct {
	Draft
	e *edition
}

func (w written) Write(p []byte) (n int, err error) {
	n, w.e.err = w.Draft.Write(p)
	return n, w.e.err
}

const (
	maxHeader = 1 << 20 // octets of a header that are shown to a filter
	chunk     = 32 << 10
)

// ask shows the content, and gives the answer that decides.
func (e *edition) ask(ctx context.Context, f *milter.Session) (milter.Answer, *milter.Changes, error) {
	var err error
	if e.header, err = readHeader(e.m); err != nil {
		return milter.Answer{}, nil, err
	}
	steps := []func() (milter.Answer, error){
		func() (milter.Answer, error) { return f.Data(ctx, nil) },
		func() (milter.Answer, error) { return e.showHeader(ctx, f) },
		func() (milter.Answer, error) { return f.EndOfHeader(ctx) },
		func() (milter.Answer, error) { return e.showBody(ctx, f) },
	}
	for _, step := range steps {
		if a, err := step(); err != nil || a.Kind == milter.Discard || a.Kind == milter.Reject || a.Kind == milter.TempFail {
			return a, &milter.Changes{}, err
		}
	}
	e.body = &replacement{binary: e.m.Envelope.Body == mail.BodyBinaryMIME, create: func() (Draft, error) { return e.newDraft(ctx) }, most: e.m.MaxSize}
	return f.EndOfMessage(ctx, milter.Macros{"i": e.m.Envelope.ID.String()}, e.body)
}

func (e *edition) showHeader(ctx context.Context, f *milter.Session) (milter.Answer, error) {
	for field := range mime.Fields(e.header) {
		if field.Name == nil {
			continue
		}
		if a, err := f.Header(ctx, string(field.Name), string(field.Value)); err != nil || a.Kind > milter.Skip {
			return a, err
		}
	}
	return milter.Answer{}, nil
}

func (e *edition) showBody(ctx context.Context, f *milter.Session) (milter.Answer, error) {
	buf := make([]byte, chunk)
	for at := e.bodyStart(); at < e.m.Size && f.WantsBody(); {
		n, err := e.m.Content.ReadAt(buf[:min(chunk, e.m.Size-at)], at)
		if n == 0 && err != nil {
			return milter.Answer{}, err
		}
		at += int64(n)
		if a, err := f.Body(ctx, buf[:n]); err != nil || a.Kind > milter.Skip {
			return a, err
		}
	}
	return milter.Answer{}, nil
}

// bodyStart is behind the empty line.
func (e *edition) bodyStart() int64 { return min(int64(len(e.header))+2, e.m.Size) }
