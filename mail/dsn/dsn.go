// Package dsn composes delivery status notifications: RFC 3464 in the multipart/report of RFC 6522, with RFC 6533 where the message
// needs SMTPUTF8.
//
// It must not know queues, retry policy or how a hop was tried: what happened comes in a Report, and the notice goes out as octets,
// every line of them ending in CRLF. The flow: Report.Envelope, for the queue, and Report.Write: header → writeText for people →
// writeStatus for programs → writeOriginal, as much of the message as RET asks for.
package dsn

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"io"
	"time"

	"github.com/emersion/go-message/textproto"

	"posthouse/mail"
	"posthouse/mail/smtp"
)

// Action is what a notice says became of a recipient: RFC 3464 §2.3.3.
type Action string

// The actions we report. Relayed means that the next hop sends no notices of its own.
const (
	Failed    Action = "failed"
	Delayed   Action = "delayed"
	Delivered Action = "delivered"
	Relayed   Action = "relayed"
	Expanded  Action = "expanded" // an alias of several: RFC 3461 §5.2.7.3
)

// Report is one notice on one message.
type Report struct {
	Hostname   string        // of the reporting MTA
	Postmaster mail.Address  // whom to ask; zero: nobody is named
	Original   mail.Envelope // of the message; its sender gets the notice, and so is not the null one
	Recipients []Recipient   // at least one
	Content    Content       // the message
	ID         mail.ID       // of the notice; its Message-ID is made of it
	Time       time.Time
}

// Content is the message a notice is about.
type Content interface {
	io.ReaderAt
	Size() int64
}

// Recipient is what became of one recipient.
type Recipient struct {
	mail.Recipient
	Action      Action
	Status      smtp.Enhanced
	RemoteMTA   string    // the host that said Diagnostic; empty: we did
	Diagnostic  string    // a reply, on one line
	LastAttempt time.Time // zero: there was none
	RetryUntil  time.Time // of Delayed
}

// Envelope is the envelope a notice travels in: from nobody, so that nothing ever answers it (RFC 5321 §4.5.5).
func (r *Report) Envelope() mail.Envelope {
	return mail.Envelope{
		To:        []mail.Recipient{{Address: r.Original.From, Notify: mail.NotifyNever}},
		Origin:    mail.Origin{Protocol: "local"},
		UTF8:      r.utf8(),
		Body:      mail.Body8BitMIME, // a header that goes back may hold anything
		TLS:       r.tls(),
		Priority:  r.Original.Priority, // RFC 6710 §4.6
		MessageID: r.messageID(),
		Received:  r.Time,
	}
}

// tls is what the notice asks of TLS: it holds what the message held (RFC 8689 §5).
func (r *Report) tls() mail.TLSNeed {
	if r.Original.TLS == mail.TLSRequired {
		return mail.TLSRequired
	}
	return mail.TLSByPolicy
}

// utf8 tells whether addresses and header fields may be UTF-8: whoever sent the message with SMTPUTF8 can read such a notice.
func (r *Report) utf8() bool { return r.Original.UTF8 }

func (r *Report) messageID() string { return r.ID.String() + ".dsn@" + r.Hostname }

// failed tells whether somebody did not get the message.
func (r *Report) failed() bool {
	for _, rcpt := range r.Recipients {
		if rcpt.Action == Failed {
			return true
		}
	}
	return false
}

// Write composes the notice.
func (r *Report) Write(w io.Writer) error {
	b := bufio.NewWriter(w)
	mw := textproto.NewMultipartWriter(b)
	if err := mw.SetBoundary(rand.Text()); err != nil {
		return err
	}
	if err := textproto.WriteHeader(b, r.header(mw.Boundary())); err != nil {
		return err
	}
	for _, part := range []func(*textproto.MultipartWriter) error{r.writeText, r.writeStatus, r.writeOriginal} {
		if err := part(mw); err != nil {
			return err
		}
	}
	if err := mw.Close(); err != nil {
		return err
	}
	return b.Flush()
}

// subjects by the action that matters most.
var subjects = map[Action]string{
	Failed:    "Undelivered mail returned to sender",
	Delayed:   "Delayed mail, still being tried",
	Delivered: "Your mail was delivered",
	Relayed:   "Your mail was relayed",
	Expanded:  "Your mail was sent on to several recipients",
}

func (r *Report) subject() string {
	if r.failed() {
		return subjects[Failed]
	}
	return subjects[r.Recipients[0].Action]
}

func (r *Report) header(boundary string) textproto.Header {
	var h fields
	h.add("Date", r.Time.Format(dateLayout))
	h.add("From", "Mail Delivery System <MAILER-DAEMON@"+r.Hostname+">")
	h.add("To", "<"+r.Original.From.String()+">")
	h.add("Subject", r.subject())
	h.add("Message-ID", "<"+r.messageID()+">")
	if id := r.Original.MessageID; id != "" && isReference(id) {
		h.add("In-Reply-To", "<"+id+">")
		h.add("References", "<"+id+">")
	}
	h.add("Auto-Submitted", "auto-replied") // RFC 3834 §5
	h.add("MIME-Version", "1.0")
	h.add("Content-Type", fmt.Sprintf("multipart/report; report-type=delivery-status; boundary=%q", boundary)) // RFC 6522 §3
	return h.header()
}

// dateLayout is date-time of RFC 5322 §3.3.
const dateLayout = "Mon, 2 Jan 2006 15:04:05 -0700"

// isReference tells whether a stranger's Message-ID can stand between angle brackets in a field of ours.
func isReference(id string) bool {
	const longest = 900 // octets; RFC 5322 §2.1.1 ends a line at 998
	for i := range len(id) {
		if c := id[i]; c <= ' ' || c >= 0x7f || c == '<' || c == '>' {
			return false
		}
	}
	return len(id) <= longest
}

// fields is a header in the order its fields are added: textproto.Header itself puts each one on top.
type fields [][2]string

func (f *fields) add(name, value string) { *f = append(*f, [2]string{name, value}) }

func (f fields) header() (h textproto.Header) {
	for i := len(f) - 1; i >= 0; i-- {
		h.Add(f[i][0], f[i][1])
	}
	return h
}
