package mime

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"
)

// AppendBody appends the BODY of RFC 9051 §7.5.2: the structure without extension data.
func AppendBody(b []byte, p *Part) []byte { return bodyWriter{}.append(b, p) }

// AppendBodyStructure appends the BODYSTRUCTURE of RFC 9051 §7.5.2.
func AppendBodyStructure(b []byte, p *Part) []byte { return bodyWriter{extended: true}.append(b, p) }

// bodyWriter writes the production `body` of RFC 9051 §9.
type bodyWriter struct{ extended bool }

func (w bodyWriter) append(b []byte, p *Part) []byte {
	b = append(b, '(')
	if p.Type == "multipart" {
		b = w.multipart(b, p)
	} else {
		b = w.single(b, p)
	}
	return append(b, ')')
}

func (w bodyWriter) multipart(b []byte, p *Part) []byte {
	for _, part := range p.Parts {
		b = w.append(b, part)
	}
	b = append(b, ' ')
	b = appendString(b, p.Subtype)
	if !w.extended {
		return b
	}
	b = append(b, ' ')
	b = appendParams(b, p.Params)
	return appendExtension(b, p)
}

func (w bodyWriter) single(b []byte, p *Part) []byte {
	b = appendString(b, p.Type)
	b = append(b, ' ')
	b = appendString(b, p.Subtype)
	b = append(b, ' ')
	b = appendParams(b, p.Params)
	b = append(b, ' ')
	b = appendNString(b, p.ID)
	b = append(b, ' ')
	b = appendNString(b, p.Description)
	b = append(b, ' ')
	b = appendString(b, p.Encoding)
	b = append(b, ' ')
	b = strconv.AppendInt(b, p.Body.Len, 10)
	if p.Message != nil {
		b = append(b, ' ')
		b = AppendEnvelope(b, p.Message.Envelope)
		b = append(b, ' ')
		b = w.append(b, p.Message)
	}
	if p.Message != nil || p.Type == "text" {
		b = append(b, ' ')
		b = strconv.AppendInt(b, p.Lines, 10)
	}
	if !w.extended {
		return b
	}
	b = append(b, ' ')
	b = appendNString(b, p.MD5)
	return appendExtension(b, p)
}

// appendExtension appends disposition, language and location.
func appendExtension(b []byte, p *Part) []byte {
	if p.Disposition == "" {
		b = append(b, " NIL"...)
	} else {
		b = append(b, " ("...)
		b = appendString(b, p.Disposition)
		b = append(b, ' ')
		b = appendParams(b, p.DispParams)
		b = append(b, ')')
	}
	b = append(b, ' ')
	b = appendLanguages(b, p.Language)
	b = append(b, ' ')
	return appendNString(b, p.Location)
}

func appendLanguages(b []byte, tags []string) []byte {
	switch len(tags) {
	case 0:
		return append(b, "NIL"...)
	case 1:
		return appendString(b, tags[0])
	}
	b = append(b, '(')
	for i, tag := range tags {
		if i > 0 {
			b = append(b, ' ')
		}
		b = appendString(b, tag)
	}
	return append(b, ')')
}

func appendParams(b []byte, params []Param) []byte {
	if len(params) == 0 {
		return append(b, "NIL"...)
	}
	b = append(b, '(')
	for i, p := range params {
		if i > 0 {
			b = append(b, ' ')
		}
		b = appendParam(b, p)
	}
	return append(b, ')')
}

// appendParam writes a value that is not printable ASCII in the form of RFC 2231 §4, as it travels in mail, which every client takes.
func appendParam(b []byte, p Param) []byte {
	if isQuotable(p.Value) || !utf8.ValidString(p.Value) {
		b = appendString(b, p.Name)
		b = append(b, ' ')
		return appendString(b, p.Value)
	}
	b = appendString(b, p.Name+"*")
	b = append(b, ` "utf-8''`...)
	for i := range len(p.Value) {
		if c := p.Value[i]; isAttributeChar(c) {
			b = append(b, c)
		} else {
			b = append(b, '%', "0123456789ABCDEF"[c>>4], "0123456789ABCDEF"[c&15])
		}
	}
	return append(b, '"')
}

// isAttributeChar is attribute-char of RFC 2231 §7.
func isAttributeChar(c byte) bool {
	return c > ' ' && c < 0x7f && strings.IndexByte(`*'%()<>@,;:\"/[]?=`, c) < 0
}

// appendNString appends nstring: NIL for nothing.
func appendNString(b []byte, s string) []byte {
	if s == "" {
		return append(b, "NIL"...)
	}
	return appendString(b, s)
}

// appendString appends a quoted string where one can hold s, else a literal; neither may hold NUL (RFC 9051 §9, CHAR8).
func appendString(b []byte, s string) []byte {
	if isQuotable(s) {
		b = append(b, '"')
		for i := range len(s) {
			if s[i] == '"' || s[i] == '\\' {
				b = append(b, '\\')
			}
			b = append(b, s[i])
		}
		return append(b, '"')
	}
	text := bytes.ReplaceAll([]byte(s), []byte{0}, nil)
	b = append(b, '{')
	b = strconv.AppendInt(b, int64(len(text)), 10)
	b = append(b, "}\r\n"...)
	return append(b, text...)
}

func isQuotable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
