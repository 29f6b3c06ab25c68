package mime

import (
	"bytes"
)

// maxDelimiter is the longest line that can be a boundary delimiter: RFC 2046 §5.1.1 lets white space follow it.
const maxDelimiter = 2 + MaxBoundary + 2 + 64

// Parser finds the structure of the message written to it, in pieces of any size. It holds no more than one header and the
// structure found so far. Only boundary lines, header ends and line ends are looked for; everything else is passed over.
type Parser struct {
	off   int64 // octets judged
	lines int64 // line ends among them
	eol   int64 // octets of the last of them: 1 or 2

	held    []byte // the beginning of a line that cannot be judged yet
	midLine bool   // the line up to off has been judged, but not ended
	cr      bool   // the octet before off is CR

	inHeader bool
	header   []byte  // what is looked at of the header being read
	open     []frame // parts that have not ended, each inside the one before it
	splits   int     // how many of them are divided by a boundary
	parts    int
	keeper   keeper
}

// frame is a part that has not ended.
type frame struct {
	part     *Part
	boundary string // of a multipart until its last delimiter
	lines    int64  // line ends before its Body
}

// NewParser is a Parser at the beginning of a message.
func NewParser() *Parser {
	p := &Parser{inHeader: true, keeper: keeper{left: MaxKept}}
	p.begin(&Part{})
	return p
}

// begin opens a part whose header begins here.
func (p *Parser) begin(part *Part) {
	part.Header.Off = p.off
	p.open = append(p.open, frame{part: part})
	p.parts++
	p.inHeader = true
}

// Write parses the next octets; it always takes them all.
func (p *Parser) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		switch {
		case p.midLine:
			b = p.restOfLine(b)
		case len(p.held) > 0 || p.inHeader || p.splits > 0 && b[0] == '-':
			b = p.judgeLine(b)
		case p.splits > 0:
			b = p.passLines(b)
		default: // nothing that follows can change the structure
			p.lines += int64(bytes.Count(b, []byte{'\n'}))
			p.off += int64(len(b))
			b = nil
		}
	}
	return n, nil
}

// passLines goes on to the end of the last line in b that cannot be a delimiter. b is not empty and begins with such a line.
func (p *Parser) passLines(b []byte) []byte {
	i := 0
	for i < len(b) && b[i] != '-' {
		n := bytes.IndexByte(b[i:], '\n')
		if n < 0 {
			p.pass(b[i:])
			i = len(b)
			break
		}
		i += n + 1
		p.lines++
		p.eol = 1
		if i > 1 && b[i-2] == '\r' {
			p.eol = 2
		}
		p.off += int64(n) + 1
	}
	return b[i:]
}

func (p *Parser) restOfLine(b []byte) []byte {
	end := bytes.IndexByte(b, '\n') + 1
	if end == 0 {
		end = len(b)
	}
	if p.inHeader {
		p.keepHeader(b[:end])
	}
	p.pass(b[:end])
	return b[end:]
}

// pass counts octets of one line.
func (p *Parser) pass(l []byte) {
	p.off += int64(len(l))
	last := l[len(l)-1]
	p.midLine = last != '\n'
	if p.midLine {
		p.cr = last == '\r'
		return
	}
	p.lines++
	p.eol = 1
	if len(l) > 1 && l[len(l)-2] == '\r' || len(l) == 1 && p.cr {
		p.eol = 2
	}
	p.cr = false
}

// judgeLine judges the line b begins with once enough of it is there, whatever the pieces it came in.
func (p *Parser) judgeLine(b []byte) []byte {
	room := maxDelimiter - len(p.held)
	end := bytes.IndexByte(b[:min(len(b), room)], '\n') + 1
	if end == 0 {
		if len(b) < room {
			p.held = append(p.held, b...)
			return nil
		}
		end = room
	}
	line := b[:end]
	if len(p.held) > 0 {
		p.held = append(p.held, line...)
		line = p.held
	}
	p.judge(line)
	p.held = p.held[:0]
	return b[end:]
}

// judge takes a line, or the beginning of one too long to be a delimiter.
func (p *Parser) judge(line []byte) {
	if p.splits > 0 && len(line) < maxDelimiter && bytes.HasPrefix(line, []byte("--")) {
		if k, last := p.delimiter(line[2:]); k >= 0 {
			p.divide(k, line, last)
			return
		}
	}
	if !p.inHeader {
		p.pass(line)
		return
	}
	p.keepHeader(line)
	blank := isBlank(line)
	p.pass(line)
	if blank {
		p.endHeader()
	}
}

func (p *Parser) keepHeader(b []byte) {
	p.header = append(p.header, b[:min(len(b), MaxHeader-len(p.header))]...)
}

// delimiter finds the open multipart whose delimiter the line is, after its "--", and whether it is the last; -1: none. A line that
// is exactly a delimiter, of an inner multipart first, goes before one that only begins with a boundary, though RFC 2046 §5.1.1 takes
// those too: senders make boundaries that are the beginning of others.
func (p *Parser) delimiter(line []byte) (k int, last bool) {
	line = bytes.TrimRight(line, "\r\n\t ")
	best := -1
	for k := len(p.open) - 1; k >= 0; k-- {
		rest, ok := bytes.CutPrefix(line, []byte(p.open[k].boundary))
		if !ok || p.open[k].boundary == "" {
			continue
		}
		if best < 0 || len(p.open[k].boundary) > len(p.open[best].boundary) {
			best = k
		}
		if len(rest) == 0 || string(rest) == "--" {
			best = k
			break
		}
	}
	if best < 0 {
		return -1, false
	}
	last = bytes.HasPrefix(line[len(p.open[best].boundary):], []byte("--"))
	if !last && p.parts >= MaxParts {
		return -1, false
	}
	return best, last
}

// divide ends what is open inside the multipart at k; the line end before the delimiter belongs to the delimiter.
func (p *Parser) divide(k int, line []byte, last bool) {
	for p.inHeader { // again for the empty header of a message that ends before it began
		p.endHeader()
	}
	p.end(k+1, p.off-p.eol)
	p.pass(line)
	multipart := &p.open[k]
	if last {
		multipart.boundary = ""
		p.splits--
		return
	}
	part := &Part{}
	multipart.part.Parts = append(multipart.part.Parts, part)
	p.begin(part)
}

// end ends the open parts from k on at the offset. None ends before its own header, nor before a part inside it.
func (p *Parser) end(k int, end int64) {
	for i := len(p.open) - 1; i >= k; i-- {
		f := &p.open[i]
		part := f.part
		end = max(end, part.Body.Off)
		part.Body.Len = end - part.Body.Off
		part.Lines = p.lines - f.lines
		if end < p.off {
			part.Lines--
		}
		if f.boundary != "" {
			p.splits--
		}
		if part.Type == "multipart" && len(part.Parts) == 0 {
			part.makePlain()
		}
	}
	p.open = p.open[:k]
}

// makePlain is for a part that says it has others inside but has none: they were not found, or lie beyond a limit.
func (part *Part) makePlain() {
	part.Type, part.Subtype, part.Params = "text", "plain", nil
}

// endHeader reads the header that ends here, and opens what is inside the part.
func (p *Parser) endHeader() {
	p.inHeader = false
	f := &p.open[len(p.open)-1]
	part := f.part
	part.Header.Len = p.off - part.Header.Off
	part.Body.Off = p.off
	f.lines = p.lines
	p.readHeader(part)
	p.header = p.header[:0]

	room := len(p.open) < MaxDepth && p.parts < MaxParts
	switch {
	case part.Type == "multipart":
		boundary := part.param("boundary")
		if room && boundary != "" && len(boundary) <= MaxBoundary {
			f.boundary = boundary
			p.splits++
		}
	case part.isMessage() && room:
		part.Message = &Part{}
		p.begin(part.Message)
	case part.isMessage():
		part.makePlain()
	}
}

// Header is the message's header, and whether it has ended.
func (p *Parser) Header() (Span, bool) {
	root := p.open[0].part
	return root.Header, !p.inHeader || len(p.open) > 1
}

// Close ends the message and is its structure. The Parser is of no use after it.
func (p *Parser) Close() *Part {
	if len(p.held) > 0 {
		p.judge(p.held)
	}
	for p.inHeader {
		p.endHeader()
	}
	root := p.open[0].part
	p.end(0, p.off)
	return root
}

// isMessage tells whether there is a message inside: RFC 2046 §5.2.1, RFC 6532 §3.7.
func (part *Part) isMessage() bool {
	return part.Type == "message" && (part.Subtype == "rfc822" || part.Subtype == "global")
}

// param is the value of the first parameter of that name.
func (part *Part) param(name string) string {
	for _, p := range part.Params {
		if p.Name == name {
			return p.Value
		}
	}
	return ""
}

// Charset is the charset parameter, empty if there is none.
func (part *Part) Charset() string { return part.param("charset") }
