package remote

import (
	"errors"
	"io"
	"strings"
	"testing"

	"posthouse/delivery/hop"
	"posthouse/mail"
)

// letter makes another message of a task's.
func letter(body mail.Body, text string) func(*hop.Task) {
	return func(t *hop.Task) { t.Envelope.Body, t.Content = body, content{strings.NewReader(text)} }
}

// TestChunks: RFC 3030 §2. To a host with CHUNKING the message goes as it is, once somebody is to get it.
func TestChunks(t *testing.T) {
	inWorld(t, southZone, func(w *world) {
		w.host("192.0.2.1:25", strings.Replace(hello, "250-PIPELINING", "250-PIPELINING\nS: 250-CHUNKING", 1)+`C: MAIL FROM:<alice@north.test>
			C: RCPT TO:<nobody@south.test>
			S: 250 2.1.0 ok
			S: 550 5.1.1 who?
			C: RSET
			C: MAIL FROM:<alice@north.test>
			C: RCPT TO:<bob@south.test>
			S: 250 2.0.0 ok
			S: 250 2.1.0 ok
			S: 250 2.1.5 ok
			C: BDAT 15 LAST
			C: A: b
			C:
			C: .body
			S: 250 2.0.0 taken`)
		w.want(w.deliver(south, nil, "nobody@south.test"), "permanent 550 5.1.1 who?")
		w.want(w.deliver(south, nil, "bob@south.test"), "delivered 250 2.0.0 taken")
	})
}

// TestConversion: what the message needs and the host has no extension for is converted (RFC 3030 §3, RFC 6152 §3, RFC 6531 §3.6).
func TestConversion(t *testing.T) {
	const binary = "Content-Type: image/x\r\nContent-Transfer-Encoding: binary\r\n\r\n\xff\x00\r\n"
	const eight = "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\na long \u0436\r\n"
	utf8 := func(t *hop.Task) {
		letter(0, "Subject: \u0436\r\n\r\nx\r\n")(t)
		t.Envelope.UTF8 = true
	}
	for name, c := range map[string]struct {
		offers []string
		change func(*hop.Task)
		sent   []string
	}{
		"binary as it is": {[]string{"CHUNKING", "BINARYMIME", "8BITMIME"}, letter(mail.BodyBinaryMIME, binary), []string{
			"MAIL FROM:<alice@north.test> BODY=BINARYMIME", "RCPT TO:<bob@south.test>", "BDAT 64 LAST",
			"Content-Type: image/x", "Content-Transfer-Encoding: binary", "", "\xff\x00"}},
		"binary in lines": {[]string{"CHUNKING", "8BITMIME"}, letter(mail.BodyBinaryMIME, binary), []string{
			"MAIL FROM:<alice@north.test> BODY=8BITMIME", "RCPT TO:<bob@south.test>", "BDAT 89 LAST",
			"Content-Type: image/x", "Content-Transfer-Encoding: base64", "MIME-Version: 1.0", "", "/wANCg=="}},
		"binary in ASCII": {nil, letter(mail.BodyBinaryMIME, binary), []string{
			"MAIL FROM:<alice@north.test>", "RCPT TO:<bob@south.test>", "DATA",
			"Content-Type: image/x", "Content-Transfer-Encoding: base64", "MIME-Version: 1.0", "", "/wANCg==", "."}},
		"8-bit in ASCII": {nil, letter(mail.Body8BitMIME, eight), []string{
			"MAIL FROM:<alice@north.test>", "RCPT TO:<bob@south.test>", "DATA",
			"MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: quoted-printable", "", "a long =D0=B6", "."}},
		"8-bit as it is": {[]string{"8BITMIME"}, letter(mail.Body8BitMIME, eight), []string{
			"MAIL FROM:<alice@north.test> BODY=8BITMIME", "RCPT TO:<bob@south.test>", "DATA",
			"MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit", "", "a long \u0436", "."}},
		"header in ASCII": {[]string{"8BITMIME"}, utf8, []string{
			"MAIL FROM:<alice@north.test>", "RCPT TO:<bob@south.test>", "DATA", "Subject: =?utf-8?b?0LY=?=", "", "x", "."}},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, southZone, func(w *world) {
				script := "S: 220 hi\nC~ EHLO\nS: 250-hi\n"
				for _, o := range c.offers {
					script += "S: 250-" + o + "\n"
				}
				script += "S: 250 ENHANCEDSTATUSCODES\n"
				replies := map[string]string{"MAIL": "250 ok", "RCPT": "250 ok", "DATA": "354 go", ".": "250 taken"}
				for _, line := range c.sent {
					script += "C: " + line + "\n"
					if reply, ok := replies[strings.SplitN(line, " ", 2)[0]]; ok {
						script += "S: " + reply + "\n"
					}
				}
				if c.sent[2] != "DATA" {
					script += "S: 250 taken\n"
				}
				w.host("192.0.2.1:25", script)
				w.want(w.deliver(south, c.change, "bob@south.test"), "delivered 250 taken")
			})
		})
	}
}

// TestConvertedIsSignedAnew: conversion breaks a signature of ours, so there is another.
func TestConvertedIsSignedAnew(t *testing.T) {
	inWorld(t, southZone, func(w *world) {
		w.client.opts.Sign = func(_ *mail.Envelope, c io.ReaderAt, size int64) ([]byte, error) {
			b, err := io.ReadAll(io.NewSectionReader(c, 0, size))
			if !strings.HasSuffix(string(b), "\r\n\r\nbody =FF\r\n") {
				return nil, errors.New("it is not converted")
			}
			return []byte("DKIM-Signature: again\r\n"), err
		}
		w.host("192.0.2.1:25", strings.Replace(hello+oneMessage, "C: A: b\n\tC:\n\tC: ..body", `C: DKIM-Signature: again
			C: Content-Type: text/plain
			C: MIME-Version: 1.0
			C: Content-Transfer-Encoding: quoted-printable
			C:
			C: body =FF`, 1))
		w.want(w.deliver(south, letter(mail.Body8BitMIME, "Content-Type: text/plain\r\n\r\nbody \xff\r\n"), "bob@south.test"), "delivered 250 2.0.0 taken")
	})
}

// TestSomeNeedUTF8: RFC 6531 §3.6. A host without SMTPUTF8 gets the message for those who can do without; one with it is told, though
// the message came without (it is for the target of an alias).
func TestSomeNeedUTF8(t *testing.T) {
	inWorld(t, southZone, func(w *world) {
		w.host("192.0.2.1:25", hello+oneMessage)
		w.want(w.deliver(south, nil, "\u0436@south.test", "bob@south.test"),
			"permanent 550 5.6.7 the message needs SMTPUTF8, which the host does not offer"+refusedByAll, "delivered 250 2.0.0 taken")
	})
	inWorld(t, southZone, func(w *world) {
		w.host("192.0.2.1:25", strings.NewReplacer("<bob@", "<\u0436@", "<alice@north.test>", "<alice@north.test> SMTPUTF8").Replace(offering("SMTPUTF8", "")))
		w.want(w.deliver(south, nil, "\u0436@south.test"), "delivered 250 2.0.0 taken")
	})
}
