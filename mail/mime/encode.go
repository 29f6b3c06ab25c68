package mime

import (
	"encoding/binary"
	"errors"
)

// ErrParts is what ParseParts answers to anything AppendParts did not write.
var ErrParts = errors.New("mime: not an encoded structure")

// partsVersion is the first octet of an encoded structure.
const partsVersion = 1

// AppendParts appends a structure in a compact form, all but its envelopes, which stand in AppendEnvelope's form beside it.
//
// The form: the version, then the part. A part is a varint each for the octets between where its container's reading stands and its
// header, the header's length, the body's length, the lines, then strings and lists (length or count as a varint before them) in the
// order of the fields of Part, then the parts inside: a count; for a message 1.
func AppendParts(b []byte, p *Part) []byte {
	w := partsWriter{b: append(b, partsVersion)}
	w.part(p)
	return w.b
}

// partsWriter keeps the offset up to which its parts have been described.
type partsWriter struct {
	b   []byte
	off int64
}

func (w *partsWriter) number(n int64) { w.b = binary.AppendUvarint(w.b, uint64(n)) }

func (w *partsWriter) text(s string) {
	w.number(int64(len(s)))
	w.b = append(w.b, s...)
}

func (w *partsWriter) params(params []Param) {
	w.number(int64(len(params)))
	for _, p := range params {
		w.text(p.Name)
		w.text(p.Value)
	}
}

func (w *partsWriter) part(p *Part) {
	for _, n := range [...]int64{p.Header.Off - w.off, p.Header.Len, p.Body.Len, p.Lines} {
		w.number(n)
	}
	w.off = p.Body.Off
	for _, s := range [...]string{p.Type, p.Subtype, p.ID, p.Description, p.Encoding, p.MD5, p.Disposition, p.Location} {
		w.text(s)
	}
	w.params(p.Params)
	w.params(p.DispParams)
	w.number(int64(len(p.Language)))
	for _, s := range p.Language {
		w.text(s)
	}
	inside := p.Parts
	if p.Message != nil {
		inside = []*Part{p.Message}
	}
	w.number(int64(len(inside)))
	for _, part := range inside {
		w.part(part)
	}
	w.off = p.Body.End()
}

// ParseParts reads what AppendParts wrote.
func ParseParts(b []byte) (*Part, error) {
	if len(b) == 0 || b[0] != partsVersion {
		return nil, ErrParts
	}
	r := partsReader{b: b[1:]}
	p := r.part(0)
	if r.bad || len(r.b) > 0 {
		return nil, ErrParts
	}
	return p, nil
}

type partsReader struct {
	b   []byte
	off int64
	bad bool // what was read since is of no meaning
}

func (r *partsReader) number() int64 {
	n, size := binary.Uvarint(r.b)
	if size <= 0 || n > 1<<56 {
		r.bad = true
		r.b = nil
		return 0
	}
	r.b = r.b[size:]
	return int64(n)
}

// count is a number of things that take at least one octet each.
func (r *partsReader) count() int {
	n := r.number()
	if n > int64(len(r.b)) {
		r.bad = true
		r.b = nil
		return 0
	}
	return int(n)
}

func (r *partsReader) text() string {
	n := r.count()
	s := intern(r.b[:n])
	r.b = r.b[n:]
	return s
}

func (r *partsReader) params() []Param {
	var params []Param
	for range r.count() {
		params = append(params, Param{r.text(), r.text()})
	}
	return params
}

func (r *partsReader) part(depth int) *Part {
	p := &Part{}
	p.Header.Off = r.off + r.number()
	p.Header.Len = r.number()
	p.Body = Span{p.Header.End(), r.number()}
	p.Lines = r.number()
	r.off = p.Body.Off
	for _, s := range [...]*string{&p.Type, &p.Subtype, &p.ID, &p.Description, &p.Encoding, &p.MD5, &p.Disposition, &p.Location} {
		*s = r.text()
	}
	p.Params, p.DispParams = r.params(), r.params()
	for range r.count() {
		p.Language = append(p.Language, r.text())
	}
	r.inside(p, depth)
	r.off = p.Body.End()
	return p
}

func (r *partsReader) inside(p *Part, depth int) {
	n := r.count()
	if n > 0 && depth >= MaxDepth {
		r.bad = true
		return
	}
	for range n {
		if r.bad {
			return
		}
		part := r.part(depth + 1)
		if p.Type == "multipart" {
			p.Parts = append(p.Parts, part)
		} else {
			p.Message = part
		}
	}
}
