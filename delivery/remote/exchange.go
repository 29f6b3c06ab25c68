package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"posthouse/delivery/hop"
	"posthouse/mail"
	"posthouse/mail/smtp"
)

// used is how a connection fared.
type used uint8

const (
	fine  used = iota // back in the pool, or closed in good order
	lost              // broke
	stale             // broke before its first reply: it was closed while it was idle
)

// use delivers to the pending recipients over a connection. Who is left pending may be taken by another host.
func (d *delivery) use(ctx context.Context, c *conn) used {
	host := c.peer.host.name
	aside, f := d.prepare(c)
	d.note(f)
	if f == nil || len(aside) > 0 {
		f = d.unfit(c)
		d.note(f)
	}
	if f != nil {
		d.pending = slices.Concat(d.pending, aside)
		d.sessions = append(d.sessions, host)
		d.keep(c)
		return fine
	}
	stop := c.abortWith(ctx)
	outcome := d.transactions(ctx, c)
	d.pending = slices.Concat(d.pending, aside)
	if outcome != stale {
		d.sessions = append(d.sessions, host)
	}
	// A host that said more than it was asked is out of step: its next reply would be taken for one to the next message.
	if !stop() || outcome != fine || c.closing || c.r.Buffered() > 0 {
		c.Close()
		return outcome
	}
	d.keep(c)
	return fine
}

// keep lets the next message have the connection, or ends it in good order.
func (d *delivery) keep(c *conn) {
	if !d.client.pool.put(d.key(), c) {
		c.quit()
	}
}

// transactions runs as many as it takes: servers may limit the recipients of one (RFC 5321 §4.5.3.1.10).
func (d *delivery) transactions(ctx context.Context, c *conn) used {
	todo := d.pending
	d.pending = nil
	for len(todo) > 0 {
		batch, rest := d.batch(c, todo)
		if len(batch) == 0 {
			d.left = append(d.left, todo...)
			break
		}
		reused := c.uses > 0
		x := exchange{delivery: d, conn: c, recipients: batch, answered: make([]bool, len(batch))}
		err := x.run()
		todo = slices.Concat(x.overflow, rest)
		if err == nil {
			continue
		}
		x.broke(ctx, err)
		d.pending = append(d.pending, todo...)
		if reused && !x.heard {
			return stale
		}
		return lost
	}
	return fine
}

// unfit tells why the host cannot take the message as it is.
func (d *delivery) unfit(c *conn) *failure {
	size := d.out.content.Size()
	switch {
	case c.limit > 0 && size > c.limit: // RFC 1870 §6.2
		return c.peer.at(&failure{status: hop.Permanent, reply: smtp.Reply{Code: 552, Enhanced: smtp.Enhanced{5, 3, 4},
			Text: fmt.Sprintf("the message has %d octets, and the host takes %d", size, c.limit)}})
	case d.requireTLS() && !c.offered.Has(smtp.RequireTLS): // RFC 8689 §4.2.1
		return c.peer.at(refusal(smtp.Enhanced{5, 7, 30}, "the host does not offer REQUIRETLS"))
	case d.tooLate(c): // RFC 2852 §4.1.4.1
		return c.peer.at(refusal(smtp.Enhanced{5, 4, 7}, "the host does not promise to deliver in time"))
	}
	return nil
}

// exchange is one transaction: RFC 5321 §3.3.
type exchange struct {
	*delivery
	conn       *conn
	recipients []int  // those it is for
	answered   []bool // of each of them, by this host
	accepted   []int  // positions in recipients
	overflow   []int  // recipients that the host takes in another transaction
	heard      bool   // any reply
	open       bool   // MAIL was taken
	willing    bool   // DATA was answered 354
	ended      bool   // the end of the message was sent: who is not answered may have got it
	doing      string // for words about a failure
}

func (x *exchange) run() error {
	x.conn.uses++
	x.doing = "giving the envelope"
	steps := x.envelope()
	if x.conn.unclean {
		steps = append([]step{{[]byte("RSET\r\n"), mailTime, x.onReset}}, steps...)
	}
	x.conn.unclean = true
	if err := x.conn.steps(steps); err != nil {
		return err
	}
	if x.out.chunks {
		x.willing = len(x.accepted) > 0
	}
	if !x.willing {
		return nil
	}
	if len(x.accepted) == 0 { // RFC 2920 §3.1: a host that says 354 all the same is given nothing
		return x.sendNothing()
	}
	return x.data()
}

// broke settles what can be settled when the connection broke. Whoever is not answered goes to another host, unless this one may have
// the message, or the fault is ours.
func (x *exchange) broke(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	f := x.conn.peer.at(ioFailure(err, x.doing))
	mine := errors.Is(err, errNoContent)
	if mine {
		x.client.opts.Log.Error("a message could not be read", "mid", x.task.Envelope.ID, "err", err)
		f = trouble(smtp.Enhanced{4, 3, 0}, "the message could not be read")
	}
	x.note(f)
	for n, i := range x.recipients {
		switch {
		case x.answered[n]:
		case x.ended || mine:
			x.results[i] = f.result()
		default:
			x.pending = append(x.pending, i)
		}
	}
}

// envelope is MAIL, a RCPT for each recipient, and DATA unless the message goes by BDAT: that comes when it is known that somebody gets it.
func (x *exchange) envelope() []step {
	env, c := x.task.Envelope, x.conn
	m := smtp.Mail{
		From: env.From, Size: x.out.content.Size(), Body: x.out.body, UTF8: x.out.utf8, Return: env.Return, EnvID: env.EnvID,
		RequireTLS: env.TLS == mail.TLSRequired, By: timeLeft(env.By), Priority: env.Priority,
	}
	if x.hop.Username != "" { // it is us who are authenticated, and not whose message it is: RFC 4954 §5
		m.Auth = "<>"
	}
	line := m.Append([]byte("MAIL "), c.offered)
	steps := make([]step, 0, len(x.recipients)+3)
	steps = append(steps, step{append(line, "\r\n"...), mailTime, x.onMail})
	for n, i := range x.recipients {
		to := &x.task.Recipients[i]
		r := smtp.Rcpt{To: to.Address, Notify: x.notify(to.Notify), Original: to.Original}
		line := append(r.Append([]byte("RCPT "), c.offered), "\r\n"...)
		steps = append(steps, step{line, rcptTime, func(r smtp.Reply) bool { return x.onRcpt(n, r) }})
	}
	if x.out.chunks {
		return steps
	}
	return append(steps, step{[]byte("DATA\r\n"), dataTime, x.onData})
}

func (x *exchange) onReset(r smtp.Reply) bool {
	x.heard = r.Code != 421
	return true
}

func (x *exchange) onMail(r smtp.Reply) bool {
	x.heard = x.heard || r.Code != 421
	if x.open = hop.StatusOf(r) == hop.Delivered; !x.open {
		for n := range x.recipients {
			x.answer(n, r)
		}
	}
	return x.open
}

// onRcpt notes a recipient's reply, and tells whether to go on.
func (x *exchange) onRcpt(n int, r smtp.Reply) bool {
	switch {
	case !x.open: // the reply to MAIL was its answer
	case hop.StatusOf(r) == hop.Delivered:
		x.accepted = append(x.accepted, n)
	case (r.Code == 452 || r.Code == 552) && len(x.accepted) > 0: // too many at once: RFC 5321 §4.5.3.1.10
		x.answered[n] = true
		x.overflow = append(x.overflow, x.recipients[n])
	default:
		x.answer(n, r)
	}
	return n < len(x.recipients)-1 || len(x.accepted) > 0
}

func (x *exchange) onData(r smtp.Reply) bool {
	if x.willing = r.Code == 354; !x.willing {
		for _, n := range x.accepted {
			x.answer(n, r)
		}
	}
	return x.willing
}

// answer notes a host's word on a recipient. While the message was not sent, another host may be asked if this one cannot now.
func (x *exchange) answer(n int, r smtp.Reply) {
	if r.Positive() && !(x.ended && r.Code < 300) {
		r = outOfTurn(r)
	}
	i, status := x.recipients[n], hop.StatusOf(r)
	x.answered[n] = true
	x.results[i] = hop.Result{Status: status, Reply: r, Host: x.conn.peer.host.name, Via: x.conn.via,
		Relayed: !x.conn.offered.Has(smtp.DSN), Untimed: !x.conn.offered.Has(smtp.DeliverBy)}
	if status == hop.Temporary && !x.ended {
		x.pending = append(x.pending, i)
	}
}

func (x *exchange) sendNothing() error {
	if _, err := x.conn.command(".", endTime); err != nil {
		return err
	}
	x.conn.unclean = false
	return nil
}

// data sends the message and reads what the host says of it.
func (x *exchange) data() error {
	x.doing = "sending the message"
	if err := x.send(); err != nil {
		if !errors.Is(err, errNoContent) {
			x.lastWord()
		}
		return err
	}
	x.doing = "waiting for the reply to the message"
	x.ended = true
	var r smtp.Reply
	for k, n := range x.accepted {
		if k == 0 || x.conn.peer.lmtp() { // which answers for each recipient: RFC 2033 §4.2
			var err error
			if r, err = x.conn.reply(endTime); err != nil {
				return err
			}
		}
		x.answer(n, r)
	}
	x.conn.unclean = false
	return nil
}

// errNoContent is a fault of ours, not of the connection.
var errNoContent = errors.New("the message could not be read")

// send writes the message. If it cannot be read to its end, the host must not take what it got for the whole: no end of data then.
func (x *exchange) send() error {
	c := x.conn
	if x.out.chunks { // one chunk is all of it: what we hold is complete
		if _, err := fmt.Fprintf(c.w, "BDAT %d LAST\r\n", x.out.content.Size()); err != nil {
			return err
		}
		if err := x.copyTo(c.w); err != nil {
			return err
		}
		return c.w.Flush()
	}
	dot := smtp.NewDotWriter(c.w)
	if err := x.copyTo(dot); err != nil {
		return err
	}
	if err := dot.Close(); err != nil {
		return err
	}
	return c.w.Flush()
}

// copyTo writes the message's octets, all of them or an error.
func (x *exchange) copyTo(w io.Writer) error {
	c := x.conn
	if c.piece == nil {
		c.piece = make([]byte, bufferSize)
	}
	for off, size := int64(0), x.out.content.Size(); off < size; {
		n, err := x.out.content.ReadAt(c.piece[:min(int64(len(c.piece)), size-off)], off)
		if n == 0 {
			return fmt.Errorf("%w: %w", errNoContent, err)
		}
		if _, err := w.Write(c.piece[:n]); err != nil {
			return err
		}
		off += int64(n)
	}
	return nil
}

// lastWord reads why a host stopped taking the message, if it said that before it closed the connection.
func (x *exchange) lastWord() {
	r, err := x.conn.reply(lastWordTime)
	if err != nil || r.Positive() {
		return
	}
	for _, n := range x.accepted {
		x.answer(n, r)
	}
}
