package imapd

import (
	"bytes"
	"context"
	"io"
	"strings"
	"sync"

	"github.com/klauspost/compress/flate"

	"posthouse/internal/inflate"
)

// compress is COMPRESS=DEFLATE: RFC 4978.
func compress() extension {
	return extension{
		name: "COMPRESS=DEFLATE", rfc: "RFC 4978",
		offered:  func(s *session) bool { return s.account != nil && !s.link.Layered() },
		commands: []command{{name: "COMPRESS", rfc: "RFC 4978 §3", in: loggedIn, parse: parseCompress}},
	}
}

func parseCompress(p *parser) (runner, error) {
	var mechanism string
	if !p.SP() || !p.Atom(&mechanism) || !p.End() {
		return nil, p.Err()
	}
	if !strings.EqualFold(mechanism, "DEFLATE") {
		return nil, errOption
	}
	return runnerFunc(runCompress), nil
}

func runCompress(_ context.Context, s *session) (reply, error) {
	if s.link.Layered() {
		return reply{}, errCompressed
	}
	s.after = func(context.Context) {
		// What the client sent before it saw the answer was not compressed: it is dropped with the old input.
		limits := s.in.Limits
		s.link.Layer(newDeflated)
		s.listen()
		s.in.Limits = limits
	}
	return reply{text: "DEFLATE active"}, nil
}

// deflated is a layer of compression over a link.
type deflated struct {
	*inflate.Reader
	out io.Writer
}

func newDeflated(below io.ReadWriter) io.ReadWriter {
	return &deflated{inflate.NewReader(below), below}
}

// compressionLevel is the quickest one: answers shrink to a third by it, and another tenth costs as much again.
const compressionLevel = 1

// compressor makes one write of one write.
type compressor struct {
	*flate.Writer
	out bytes.Buffer
}

// compressors have no memory of what went through them: each write begins anew, so that an idle session needs none.
var compressors = sync.Pool{New: func() any {
	c := &compressor{}
	var err error
	if c.Writer, err = flate.NewWriter(&c.out, compressionLevel); err != nil {
		panic(err) // the level is one there is
	}
	return c
}}

// Write compresses and sends.
func (d *deflated) Write(p []byte) (int, error) {
	c := compressors.Get().(*compressor) //nolint:forcetypeassert // the pool holds nothing else
	defer compressors.Put(c)
	c.out.Reset()
	c.Reset(&c.out)
	_, err := c.Writer.Write(p)
	if err == nil {
		err = c.Flush()
	}
	if err == nil {
		_, err = d.out.Write(c.out.Bytes())
	}
	return len(p), err
}
