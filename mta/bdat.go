package mta

import (
	"context"
	"io"
	"time"

	"posthouse/mail"
	"posthouse/mail/smtp"
)

// bdat is BDAT: RFC 3030 §2. Whatever is wrong, the chunk is read away: it is never a command.
func bdat(ctx context.Context, s *session, args []byte) answer {
	size, last, err := smtp.ParseChunk(args)
	if err != nil { // nobody knows where the next command begins
		return answer{reply: replyTo(err), then: hangUp}
	}
	r := s.missing(needsHello|needsUser, nil)
	switch {
	case r.Code != 0:
	case s.tx == nil:
		r = replyRcptFirst
	case s.tx.taken == 0:
		r = s.noRecipient()
	case s.tx.data == nil:
		d, err := s.receive(ctx)
		if err != nil {
			r = s.failed(err)
			break
		}
		d.chunks = &smtp.Chunks{Binary: s.tx.env.Body == mail.BodyBinaryMIME, W: d, Limit: s.server.opts.Limits.MessageSize}
	}
	return answer{then: func(ctx context.Context, s *session) (answer, error) {
		if r.Code != 0 {
			defer s.endTransaction()
			a := say(r)
			if last {
				a = s.outcome(r)
			}
			return a, s.skipChunk(size)
		}
		return s.readChunk(ctx, size, last)
	}}
}

func hangUp(context.Context, *session) (answer, error) { return answer{}, errHangUp }

func (s *session) readChunk(ctx context.Context, size int64, last bool) (answer, error) {
	d := s.tx.data
	s.expectData(d.until)
	if size == 0 && !last {
		s.junk++
	}
	refusal, err := d.chunks.Read(&s.in, size)
	if err != nil {
		return answer{}, err
	}
	if !last && refusal == nil {
		return say(replyChunk), nil
	}
	defer s.endTransaction() // RFC 3030 §2: after a refusal the transaction is over
	if !last {
		return say(s.failed(refusal)), nil
	}
	if refusal == nil {
		refusal = d.chunks.Close()
	}
	return s.finish(ctx, d, refusal), nil
}

func (s *session) skipChunk(size int64) error {
	s.expectData(time.Now().Add(s.server.opts.Limits.MessageTime))
	away := smtp.Chunks{W: io.Discard, Limit: s.server.opts.Limits.MessageSize}
	_, err := away.Read(&s.in, size)
	return err
}

// chunking is CHUNKING: RFC 3030. BDAT reads its chunk before it complains, so it asks itself for what it needs.
func chunking() extension {
	return extension{name: "CHUNKING", rfc: "RFC 3030", bit: smtp.Chunking, verbs: []verb{{"BDAT", "RFC 3030 §2", 0, bdat}}}
}

// binaryMIME is BINARYMIME: RFC 3030 §3. The message is kept octet for octet, behind a header of lines.
func binaryMIME() extension {
	return extension{name: "BINARYMIME", rfc: "RFC 3030", bit: smtp.BinaryMIME}
}
