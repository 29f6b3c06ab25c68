package remote

import (
	"errors"
	"slices"

	"posthouse/delivery/convert"
	"posthouse/delivery/hop"
	"posthouse/mail"
	"posthouse/mail/mime"
	"posthouse/mail/smtp"
)

// outgoing is the message as a host gets it.
type outgoing struct {
	content mail.Content
	body    mail.Body
	utf8    bool // SMTPUTF8 is said
	chunks  bool // it goes by BDAT, with nothing to escape: RFC 3030 §2
}

// prepare makes the message fit for the host: what the host has no extension for is converted. It puts aside the recipients that the host
// cannot be given, for another; the failure is that of all, or of those.
func (d *delivery) prepare(c *conn) (aside []int, f *failure) {
	env := d.task.Envelope
	o := outgoing{content: d.task.Content, body: env.Body, utf8: env.UTF8 || d.addressesNeedUTF8(), chunks: c.offered.Has(smtp.Chunking)}
	var form mime.Form
	if o.body == mail.BodyBinaryMIME && !c.offered.Has(smtp.Chunking|smtp.BinaryMIME) { // RFC 3030 §3
		o.body = mail.Body8BitMIME
	}
	if o.body == mail.Body8BitMIME && !c.offered.Has(smtp.EightBitMIME) { // RFC 6152 §3
		o.body, form.SevenBit = mail.Body7Bit, true
	}
	if o.utf8 && !c.offered.Has(smtp.SMTPUTF8) { // RFC 6531 §3.6
		o.utf8, form.ASCIIHeader = false, true // of the parts, too
		aside = d.putAside()
		if env.From.NeedsUTF8() || len(d.pending) == 0 {
			d.pending = slices.Concat(d.pending, aside)
			return nil, c.peer.at(needsUTF8())
		}
		if len(aside) > 0 {
			f = c.peer.at(needsUTF8())
		}
	}
	if o.body != env.Body || form != (mime.Form{}) {
		content, err := d.converted(form)
		if err != nil {
			d.pending = slices.Concat(d.pending, aside)
			return nil, c.peer.at(d.notConverted(err))
		}
		o.content = content
	}
	d.out = o
	return aside, f
}

func needsUTF8() *failure {
	return refusal(smtp.Enhanced{5, 6, 7}, "the message needs SMTPUTF8, which the host does not offer")
}

// putAside takes the recipients off the pending ones whose addresses need SMTPUTF8.
func (d *delivery) putAside() (aside []int) {
	needs := func(i int) bool { return d.task.Recipients[i].Address.NeedsUTF8() }
	for _, i := range d.pending {
		if needs(i) {
			aside = append(aside, i)
		}
	}
	d.pending = slices.DeleteFunc(slices.Clone(d.pending), needs)
	return aside
}

// conversions say why a message cannot be converted: RFC 3463 §3.7.
var conversions = []struct {
	err      error
	enhanced smtp.Enhanced
	text     string
}{
	{mime.ErrSealed, smtp.Enhanced{5, 6, 2}, "the message would have to be converted, and is signed or encrypted"},
	{mime.ErrAddress, smtp.Enhanced{5, 6, 7}, "the message needs SMTPUTF8, which the host does not offer"},
	{mime.ErrForm, smtp.Enhanced{5, 6, 3}, "the message cannot be converted to what the host takes"},
}

func (d *delivery) notConverted(err error) *failure {
	for _, c := range conversions {
		if errors.Is(err, c.err) {
			return refusal(c.enhanced, c.text)
		}
	}
	d.client.opts.Log.Error("a message could not be converted", "mid", d.task.Envelope.ID, "err", err)
	return &failure{status: hop.Temporary, reply: smtp.Reply{Code: 451, Enhanced: smtp.Enhanced{4, 3, 0}, Text: "the message could not be converted now"}}
}

// converted is the message in a form, made once for all hosts. Our signature no longer fits it, so it gets another.
func (d *delivery) converted(form mime.Form) (mail.Content, error) {
	if c, ok := d.forms[form]; ok {
		return c, nil
	}
	c, err := convert.Content(d.task.Content, form)
	if err != nil {
		return nil, err
	}
	if sign := d.client.opts.Sign; sign != nil {
		fields, err := sign(d.task.Envelope, c, c.Size())
		if err != nil {
			d.client.opts.Log.Error("a converted message goes without a signature", "mid", d.task.Envelope.ID, "err", err)
		}
		c = convert.Prepend(fields, c)
	}
	if d.forms == nil {
		d.forms = make(map[mime.Form]mail.Content)
	}
	d.forms[form] = c
	return c, nil
}

// dropForms lets go of what was converted.
func (d *delivery) dropForms() {
	for _, c := range d.forms {
		if err := c.Close(); err != nil {
			d.client.opts.Log.Warn("a converted message was not closed", "mid", d.task.Envelope.ID, "err", err)
		}
	}
}

// addressesNeedUTF8 tells whether an address of the envelope can only travel with SMTPUTF8: RFC 6531 §3.4.
func (d *delivery) addressesNeedUTF8() bool {
	return d.task.Envelope.From.NeedsUTF8() || slices.ContainsFunc(d.pending, func(i int) bool { return d.task.Recipients[i].Address.NeedsUTF8() })
}
