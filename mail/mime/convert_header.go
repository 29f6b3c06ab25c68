package mime

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// header writes a part's header, with its transfer encoding said to be this; top tells the header of a message.
func (c *converter) header(p *Part, encoding string, top bool) error {
	if p.Header.Len > MaxHeader {
		return ErrForm
	}
	raw := make([]byte, p.Header.Len)
	if n, err := c.from.ReadAt(raw, p.Header.Off); err != nil && !(err == io.EOF && n == len(raw)) {
		return err
	}
	h := headerWriter{converter: c, part: p, encoding: encoding}
	rest := raw
	for f := range Fields(raw) {
		if err := h.field(f); err != nil {
			return err
		}
		rest = rest[len(f.Raw):]
	}
	if h.encodes() {
		h.describe(top)
	}
	if len(rest) > 0 {
		h.text("\r\n")
	}
	return h.err
}

// headerWriter writes the fields of one header.
type headerWriter struct {
	*converter
	part     *Part
	encoding string

	hasEncoding, hasVersion, hasType bool
	err                              error
}

// encodes tells whether the part gets an encoding that it did not have.
func (h *headerWriter) encodes() bool {
	return h.encoding != h.part.Encoding && (h.encoding == "base64" || h.encoding == "quoted-printable")
}

// composites are the types that have no encoding, ever: RFC 2045 §6.4, RFC 2046 §5.2. What the parser could not take apart reads as
// text, and is still called so.
var composites = [...]string{"multipart/", "message/rfc822", "message/partial", "message/external-body"}

func isComposite(contentType []byte) bool {
	value := strings.ToLower(string(skipSpace(contentType)))
	return slices.ContainsFunc(composites[:], func(prefix string) bool { return strings.HasPrefix(value, prefix) })
}

func (h *headerWriter) text(s string) {
	if h.err == nil {
		_, h.err = h.w.WriteString(s)
	}
}

// describe adds what says how the part is encoded now, where nothing did.
func (h *headerWriter) describe(top bool) {
	if top && !h.hasVersion {
		h.text("MIME-Version: 1.0\r\n")
		if !h.hasType { // it is no message of MIME, and its author did not say what its octets are
			h.text("Content-Type: text/plain; charset=unknown-8bit\r\n")
		}
	}
	if !h.hasEncoding {
		h.text("Content-Transfer-Encoding: " + h.encoding + "\r\n")
	}
}

// field writes one field, another in its place, or none.
func (h *headerWriter) field(f Field) error {
	name := strings.ToLower(string(f.Name))
	switch name {
	case "mime-version":
		h.hasVersion = true
	case "content-transfer-encoding":
		if first := !h.hasEncoding; h.encoding != h.part.Encoding {
			h.hasEncoding = true
			if first {
				h.text(string(f.Name) + ": " + h.encoding + "\r\n")
			}
			return h.err
		}
		h.hasEncoding = true
	case "content-type":
		h.hasType = true
		if h.encodes() && isComposite(f.Value) { // nobody could read what is inside
			return ErrForm
		}
		if h.part.Message != nil && h.part.Subtype == "global" && h.isASCII() { // whose header is of ASCII now: RFC 6532 §3.7
			f = makeField(replaceFold(f.Raw, "global", "rfc822"))
		}
	}
	if !h.isASCII() || isASCII(f.Raw) {
		h.text(cleanLines(f.Raw))
		return h.err
	}
	text, err := asciiField(name, f)
	h.text(text)
	if h.err != nil {
		err = h.err
	}
	return err
}

// replaceFold has another word in the place of the first that is this one in any case; both are of one length.
func replaceFold(b []byte, word, by string) []byte {
	b = bytes.Clone(b)
	if i := bytes.Index(bytes.ToLower(b), []byte(word)); i >= 0 {
		copy(b[i:], by)
	}
	return b
}

// isASCII tells whether the header is to be of ASCII.
func (h *headerWriter) isASCII() bool { return h.form.SevenBit || h.form.ASCIIHeader }

// cleanLines makes lines of what has bare CRs and LFs in it, as the parser saw them.
func cleanLines(raw []byte) string {
	var b strings.Builder
	for i, c := range raw {
		switch {
		case c == '\n' && (i == 0 || raw[i-1] != '\r'):
			b.WriteString("\r\n")
		case c == '\r' && (i+1 == len(raw) || raw[i+1] != '\n'), c == 0:
			b.WriteByte(' ')
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// asciiFields says how the fields that are no mere text are written in ASCII, by name in lower case; column is how long their first line is
// so far.
var asciiFields = map[string]func(value []byte, column int) (string, error){
	"from": asciiAddresses, "sender": asciiAddresses, "reply-to": asciiAddresses, "to": asciiAddresses, "cc": asciiAddresses, "bcc": asciiAddresses,
	"resent-from": asciiAddresses, "resent-sender": asciiAddresses, "resent-to": asciiAddresses, "resent-cc": asciiAddresses,
	"resent-bcc": asciiAddresses, "resent-reply-to": asciiAddresses, "disposition-notification-to": asciiAddresses,
	"content-type": asciiParams, "content-disposition": asciiParams,
	"message-id": asciiTokens, "in-reply-to": asciiTokens, "references": asciiTokens, "resent-message-id": asciiTokens, "content-id": asciiTokens,
	"received": asciiTokens, "return-path": asciiTokens, "delivered-to": asciiTokens, "authentication-results": asciiTokens,
	"dkim-signature": asciiTokens, "arc-seal": asciiTokens, "arc-message-signature": asciiTokens, "arc-authentication-results": asciiTokens,
	"received-spf": asciiTokens,
}

// asciiField is a field in ASCII.
func asciiField(name string, f Field) (string, error) {
	if !isASCII(f.Name) || len(f.Name) == 0 {
		return question(string(AppendUnfolded(nil, f.Raw))) + "\r\n", nil
	}
	if len(f.Value) > MaxField {
		return "", ErrForm
	}
	write := asciiFields[name]
	if write == nil {
		write = asciiText
	}
	text, err := write(f.Value, len(f.Name)+len(": "))
	return string(f.Name) + ": " + text + "\r\n", err
}

// asciiText is unstructured text: RFC 2047 §5 (1).
func asciiText(value []byte, column int) (string, error) {
	return encodedWords(string(AppendDecoded(nil, AppendUnfolded(nil, value))), column), nil
}

// Limits of RFC 2047 §2, in octets.
const (
	maxWord     = 75 // of an encoded word
	maxWordLine = 76 // of a line that has one
)

// encodedWords is text as encoded words, each on a line of its own; the first where its line is so long already, if there is room. All of
// base64: that may stand in a phrase too (RFC 2047 §5 (3)).
func encodedWords(text string, column int) string {
	begin, end := "=?utf-8?b?", "?="
	if !utf8.ValidString(text) {
		begin = "=?unknown-8bit?b?"
	}
	var b strings.Builder
	for text != "" {
		room := (min(maxWord, maxWordLine-column) - len(begin) - len(end)) / 4 * 3
		n := wholeRunes(text, room)
		if n == 0 {
			b.WriteString("\r\n ")
			column = 1
			continue
		}
		b.WriteString(begin + base64.StdEncoding.EncodeToString([]byte(text[:n])) + end)
		text, column = text[n:], maxWordLine
	}
	return b.String()
}

// wholeRunes is how many octets of s, at most so many, do not end within a character.
func wholeRunes(s string, most int) int {
	if most >= len(s) {
		return len(s)
	}
	n := max(most, 0)
	for ; n > max(most-utf8.UTFMax, 0) && !utf8.RuneStart(s[n]); n-- {
	}
	return n
}

// question has a "?" for every character that is not ASCII.
func question(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= utf8.RuneSelf {
			return '?'
		}
		return r
	}, s)
}

// asciiTokens is a field of tokens that no encoding is for, and that only programs and the curious read.
func asciiTokens(value []byte, _ int) (string, error) {
	return question(strings.TrimLeft(cleanLines(value), " ")), nil
}

// asciiParams is a type and its parameters, those that need it as RFC 2231 §4 has them.
func asciiParams(value []byte, _ int) (string, error) {
	word, rest, _ := bytes.Cut(value, []byte(";"))
	var b strings.Builder
	b.WriteString(question(string(AppendUnfolded(nil, word))))
	for _, p := range readParams(&keeper{left: MaxKept}, append([]byte(";"), rest...)) {
		if name := question(p.Name); isQuotable(p.Value) && len(p.Value) < maxLine/2-len(name) {
			b.WriteString(";\r\n\t" + name + "=" + quote(p.Value))
		} else {
			writeSections(&b, name, p.Value)
		}
	}
	return b.String(), nil
}

// maxSection is how long an encoded section of a parameter's value is, in octets.
const maxSection = 50

// writeSections writes a parameter encoded, on as many lines as it takes: RFC 2231 §4.1.
func writeSections(b *strings.Builder, name, value string) {
	sections := []string{"utf-8''"}
	for i := range len(value) {
		octet := value[i : i+1]
		if !isAttributeChar(value[i]) {
			octet = fmt.Sprintf("%%%02X", value[i])
		}
		if last := &sections[len(sections)-1]; len(*last)+len(octet) <= maxSection {
			*last += octet
		} else {
			sections = append(sections, octet)
		}
	}
	for i, section := range sections {
		number := "*"
		if len(sections) > 1 {
			number = fmt.Sprintf("*%d*", i)
		}
		b.WriteString(";\r\n\t" + name + number + "=" + section)
	}
}

// quote is a quoted string: RFC 5322 §3.2.4.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// asciiAddresses is a list of addresses with their names as encoded words and their domains as A-labels.
func asciiAddresses(value []byte, column int) (string, error) {
	list := ParseAddresses(value)
	if len(list) >= MaxAddresses-2 { // there may be more
		return "", ErrForm
	}
	var b strings.Builder
	for i, a := range list {
		follows := i > 0 && list[i-1].Group != GroupStart
		if follows && a.Group != GroupEnd {
			b.WriteByte(',')
		}
		if i > 0 && a.Group != GroupEnd {
			b.WriteString("\r\n ")
			column = 1
		}
		switch a.Group {
		case GroupStart:
			b.WriteString(asciiPhrase(a.Mailbox, column) + ":")
		case GroupEnd:
			b.WriteByte(';')
		case NoGroup:
			text, err := asciiMailbox(a, column)
			if err != nil {
				return "", err
			}
			b.WriteString(text)
		}
	}
	return b.String(), nil
}

// asciiMailbox is one address. A local part has no other form in ASCII (RFC 6531 §3.6), nor has a control character anywhere in one.
func asciiMailbox(a Address, column int) (string, error) {
	host := a.Host
	if !isASCII([]byte(host)) {
		var err error
		if host, err = idna.Lookup.ToASCII(host); err != nil {
			return "", ErrAddress
		}
	}
	if !isQuotable(a.Mailbox) || !isQuotable(host) {
		return "", ErrAddress
	}
	local := a.Mailbox
	if strings.Trim(local, atext+".") != "" || strings.HasPrefix(local, ".") || strings.HasSuffix(local, ".") || strings.Contains(local, "..") {
		local = quote(local)
	}
	switch {
	case host == "": // it is no address, whatever it is
		return local, nil
	case a.Name == "":
		return "<" + local + "@" + host + ">", nil
	}
	phrase, address := asciiPhrase(a.Name, column), " <"+local+"@"+host+">"
	if line := phrase[strings.LastIndexByte(phrase, '\n')+1:]; column+len(line)+len(address) >= maxWordLine { // and perhaps a comma
		address = "\r\n" + address
	}
	return phrase + address, nil
}

const atext = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-/=?^_`{|}~"

// asciiPhrase is the name of somebody, or of a group: RFC 2047 §5 (3).
func asciiPhrase(name string, column int) string {
	decoded := string(AppendDecoded(nil, []byte(name)))
	if isQuotable(decoded) && len(decoded) < maxWordLine {
		return quote(decoded)
	}
	return encodedWords(decoded, column)
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
