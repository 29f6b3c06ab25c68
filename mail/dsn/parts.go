package dsn

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/emersion/go-message/textproto"

	"posthouse/mail"
	"posthouse/mail/smtp"
)

// Limits of a notice.
const (
	maxHeader       = 256 << 10 // octets of a header; the rest of a longer one is not returned
	maxFull         = 1 << 20   // a larger message is not returned whole though RET=FULL asks for it, which RFC 3461 §6.2 lets us decide
	maxFullUnasked  = 64 << 10  // the same where RET says nothing
	maxWords        = 900       // octets of a stranger's words: they fit in a line whatever they are (RFC 5322 §2.1.1)
	textRecipients  = 50        // named in the text; all of them are in the status part
	widthOfTextLine = 76
)

// explanations begin the text, by what happened.
var explanations = map[Action]string{
	Failed:    "Your message could not be delivered to these recipients:",
	Delayed:   "Your message could not be delivered yet to these recipients. It is still being\r\ntried; you need not send it again.",
	Delivered: "Your message was delivered to these recipients:",
	Expanded:  "Your message was sent on to all that this address stands for; what becomes of it\r\nthere is told only if it fails:",
	Relayed:   "Your message was handed on for these recipients, to a host that tells nothing further:",
}

// writeText writes the part for people: RFC 6522 §3, the first one.
func (r *Report) writeText(mw *textproto.MultipartWriter) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "This is the mail system at %s.\r\n", r.Hostname)
	for _, action := range []Action{Failed, Delayed, Delivered, Relayed, Expanded} {
		r.explain(&b, action)
	}
	if !r.Postmaster.IsNull() {
		fmt.Fprintf(&b, "\r\nIf you need help, write to %s.\r\n", r.Postmaster)
	}
	return r.part(mw, "text/plain; charset=utf-8", b.Bytes())
}

func (r *Report) explain(b *bytes.Buffer, action Action) {
	n := 0
	for i := range r.Recipients {
		rcpt := &r.Recipients[i]
		if rcpt.Action != action {
			continue
		}
		if n++; n == 1 {
			fmt.Fprintf(b, "\r\n%s\r\n", explanations[action])
		}
		if n > textRecipients {
			continue
		}
		fmt.Fprintf(b, "\r\n<%s>\r\n", r.text(rcpt.Address.String()))
		if rcpt.Diagnostic != "" {
			fold(b, r.text(rcpt.speaker()+" says: "+rcpt.Diagnostic))
		}
		if !rcpt.RetryUntil.IsZero() {
			fmt.Fprintf(b, "    It will be tried until %s.\r\n", rcpt.RetryUntil.Format(dateLayout))
		}
	}
	if n > textRecipients {
		fmt.Fprintf(b, "\r\nand %d more.\r\n", n-textRecipients)
	}
}

func (rcpt *Recipient) speaker() string {
	if rcpt.RemoteMTA == "" {
		return "This host"
	}
	return "The host " + rcpt.RemoteMTA
}

// fold writes a paragraph, indented, in lines.
func fold(b *bytes.Buffer, text string) {
	width := 0
	for word := range strings.FieldsSeq(text) {
		if width > 0 && width+1+len(word) > widthOfTextLine {
			b.WriteString("\r\n")
			width = 0
		}
		if width == 0 {
			b.WriteString("   ")
			width = 3
		}
		b.WriteString(" " + word)
		width += 1 + len(word)
	}
	b.WriteString("\r\n")
}

// part writes a part whose octets are at hand.
func (r *Report) part(mw *textproto.MultipartWriter, contentType string, body []byte) error {
	w, err := mw.CreatePart(partHeader(contentType, !mail.IsASCII(body)))
	if err != nil {
		return err
	}
	_, err = w.Write(body)
	return err
}

func partHeader(contentType string, eightBit bool) textproto.Header {
	var h fields
	h.add("Content-Type", contentType)
	if eightBit {
		h.add("Content-Transfer-Encoding", "8bit")
	}
	return h.header()
}

// writeStatus writes the part for programs: RFC 3464 §2, RFC 6533 §3.
func (r *Report) writeStatus(mw *textproto.MultipartWriter) error {
	var b bytes.Buffer
	var h fields
	if r.Original.EnvID != "" {
		h.add("Original-Envelope-Id", r.Original.EnvID)
	}
	h.add("Reporting-MTA", "dns; "+r.Hostname)
	if from := r.Original.Origin.HELO; from != "" {
		h.add("Received-From-MTA", "dns; "+r.text(from))
	}
	h.add("Arrival-Date", r.Original.Received.Format(dateLayout))
	if by := r.Original.By; by != nil { // RFC 2852 §5
		h.add("Deliver-By-Date", by.Time.Format(dateLayout))
	}
	if hold := r.Original.Hold; hold != "" { // RFC 4865 §5.1.2
		h.add("Future-Release-Request", hold)
	}
	if err := textproto.WriteHeader(&b, h.header()); err != nil {
		return err
	}
	for i := range r.Recipients {
		if err := textproto.WriteHeader(&b, r.status(&r.Recipients[i])); err != nil {
			return err
		}
	}
	kind := "message/delivery-status"
	if r.utf8() {
		kind = "message/global-delivery-status"
	}
	return r.part(mw, kind, b.Bytes())
}

// status is the group of fields of one recipient: RFC 3464 §2.3.
func (r *Report) status(rcpt *Recipient) textproto.Header {
	var h fields
	if kind, address, ok := strings.Cut(rcpt.Original, ";"); ok {
		h.add("Original-Recipient", r.text(kind+"; "+address))
	}
	h.add("Final-Recipient", r.typed(rcpt.Address))
	h.add("Action", string(rcpt.Action))
	h.add("Status", rcpt.Status.String())
	if rcpt.RemoteMTA != "" {
		h.add("Remote-MTA", "dns; "+r.text(rcpt.RemoteMTA))
	}
	if rcpt.Diagnostic != "" {
		h.add("Diagnostic-Code", rcpt.diagnosticType()+"; "+r.text(rcpt.Diagnostic))
	}
	for _, date := range []struct {
		name string
		time time.Time
	}{{"Last-Attempt-Date", rcpt.LastAttempt}, {"Will-Retry-Until", rcpt.RetryUntil}} {
		if !date.time.IsZero() {
			h.add(date.name, date.time.Format(dateLayout))
		}
	}
	return h.header()
}

// diagnosticType says whose words a diagnostic is: RFC 3464 §2.3.6.
func (rcpt *Recipient) diagnosticType() string {
	if rcpt.RemoteMTA == "" {
		return "x-posthouse"
	}
	return "smtp"
}

// typed is an address with its type: RFC 3464 §2.3.1, RFC 6533 §3.
func (r *Report) typed(a mail.Address) string {
	if a.NeedsUTF8() {
		if !r.utf8() { // the form of it that is ASCII: RFC 6533 §3
			return "utf-8; " + smtp.FormatUTF8(a.String())
		}
		return "utf-8; " + r.text(a.String())
	}
	return "rfc822; " + a.String()
}

// text makes a stranger's words fit for a field: one line without controls, and ASCII unless the notice is in UTF-8.
func (r *Report) text(s string) string {
	s = strings.Map(func(c rune) rune {
		switch {
		case c == '\t' || c == '\n':
			return ' '
		case c < ' ' || c == 0x7f || c == utf8.RuneError || c > 0x7f && !r.utf8():
			return '?'
		}
		return c
	}, s)
	if len(s) > maxWords {
		s = strings.ToValidUTF8(s[:maxWords], "") + "..."
	}
	return s
}

// writeOriginal returns the message, or its header: RFC 3461 §6.2.
func (r *Report) writeOriginal(mw *textproto.MultipartWriter) error {
	head, readable := r.originalHeader()
	if !readable || !r.full() {
		kind := "text/rfc822-headers" // RFC 6522 §4
		if r.utf8() {
			kind = "message/global-headers" // RFC 6533 §5
		}
		return r.part(mw, kind, head)
	}
	kind := "message/rfc822"
	if r.utf8() {
		kind = "message/global"
	}
	w, err := mw.CreatePart(partHeader(kind, r.Original.Body != mail.Body7Bit || !mail.IsASCII(head)))
	if err != nil {
		return err
	}
	_, err = io.Copy(w, io.NewSectionReader(r.Content, 0, r.Content.Size()))
	return err
}

// full tells whether the whole message goes back: never with a notice of anything but a failure (RFC 3461 §4.3).
func (r *Report) full() bool {
	switch {
	case r.Original.Body == mail.BodyBinaryMIME: // a part of a message cannot hold that without re-encoding: RFC 2046 §5.2.1
		return false
	case r.Original.TLS == mail.TLSRequired: // RFC 8689 §5: as if RET=HDRS had been said
		return false
	}
	switch size := r.Content.Size(); r.Original.Return {
	case mail.ReturnHeaders:
		return false
	case mail.ReturnFull:
		return r.failed() && size <= maxFull
	default:
		return r.failed() && size <= maxFullUnasked
	}
}

// originalHeader reads the message's header, without the empty line. What cannot be read does not go back, but the notice does: without
// it nobody would ever hear of the message.
func (r *Report) originalHeader() (head []byte, readable bool) {
	b := make([]byte, min(r.Content.Size(), maxHeader))
	n, err := r.Content.ReadAt(b, 0)
	readable, b = err == nil || errors.Is(err, io.EOF) && n == len(b), b[:n]
	if i := bytes.Index(b, []byte("\r\n\r\n")); i >= 0 {
		return b[:i+2], readable
	}
	return b[:bytes.LastIndexByte(b, '\n')+1], readable
}
