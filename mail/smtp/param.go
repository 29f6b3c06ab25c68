package smtp

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"

	"posthouse/mail"
)

// param is a parameter of MAIL or RCPT (RFC 5321 §4.1.1.11). An extension brings it: without that extension it is unknown. mail and
// rcpt read its value ("" if it has none) and tell whether it is good; showMail and showRcpt write it back with its "=", "" for nothing.
type param struct {
	name      string
	extension Extensions
	mail      func(m *Mail, value string) bool
	showMail  func(m Mail) string
	rcpt      func(r *Rcpt, value string) bool
	showRcpt  func(r Rcpt) string
}

var params = [...]param{
	{name: "SIZE", extension: Size, mail: parseSize, showMail: showSize},
	{name: "BODY", extension: EightBitMIME, mail: parseBody, showMail: showBody},
	{name: "BODY", extension: BinaryMIME, mail: parseBinary, showMail: showBinary},
	{name: "SMTPUTF8", extension: SMTPUTF8, mail: parseUTF8, showMail: showUTF8},
	{name: "AUTH", extension: Auth, mail: parseAuth, showMail: showAuth},
	{name: "RET", extension: DSN, mail: parseReturn, showMail: showReturn},
	{name: "ENVID", extension: DSN, mail: parseEnvID, showMail: showEnvID},
	{name: "REQUIRETLS", extension: RequireTLS, mail: parseRequireTLS, showMail: showRequireTLS},
	{name: "BY", extension: DeliverBy, mail: parseBy, showMail: showBy},
	{name: "HOLDFOR", extension: FutureRelease, mail: parseHoldFor, showMail: showHoldFor},
	{name: "HOLDUNTIL", extension: FutureRelease, mail: parseHoldUntil, showMail: showHoldUntil},
	{name: "MT-PRIORITY", extension: MTPriority, mail: parsePriority, showMail: showPriority},
	{name: "NOTIFY", extension: DSN, rcpt: parseNotify, showRcpt: showNotify},
	{name: "ORCPT", extension: DSN, rcpt: parseORCPT, showRcpt: showORCPT},
}

// target is what parameters are read into: one of the two.
type target struct {
	mail *Mail
	rcpt *Rcpt
}

// read reads a value of the parameter, which must be the target's.
func (t target) read(p *param, value string) bool {
	if t.mail != nil {
		return p.mail(t.mail, value)
	}
	return p.rcpt(t.rcpt, value)
}

func (t target) has(p *param) bool {
	return t.mail != nil && p.mail != nil || t.rcpt != nil && p.rcpt != nil
}

// parseParams reads parameters, each after a space.
func parseParams(rest []byte, offered Extensions, t target) error {
	var seen [len(params)]bool
	for word := range bytes.SplitSeq(rest, []byte(" ")) {
		if len(word) == 0 {
			continue
		}
		if err := parseParam(word, offered, t, &seen); err != nil {
			return err
		}
	}
	return nil
}

func parseParam(word []byte, offered Extensions, t target, seen *[len(params)]bool) error {
	name, value, hasValue := bytes.Cut(word, []byte("="))
	problem := ErrUnknownParameter
	for i := range params {
		p := &params[i]
		if !t.has(p) || !offered.Has(p.extension) || !bytes.EqualFold(name, []byte(p.name)) {
			continue
		}
		problem = ErrParameter
		if hasValue && len(value) == 0 || !isValue(value) || seen[i] {
			break
		}
		if t.read(p, string(value)) {
			for j := range params { // the name may stand for a second row
				seen[j] = seen[j] || params[j].name == p.name
			}
			return nil
		}
	}
	return fmt.Errorf("%w: %q", problem, word)
}

// isValue is esmtp-value, with the UTF-8 of RFC 6531 §3.3: no controls, no space, no "=".
func isValue(value []byte) bool {
	for _, c := range value {
		if c <= ' ' || c == '=' || c == 0x7f {
			return false
		}
	}
	return true
}

func appendParam(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	b = append(b, ' ')
	b = append(b, name...)
	if value == "=" { // a name alone
		return b
	}
	return append(b, value...)
}

// SIZE, RFC 1870 §6.1: up to 20 digits, which is more than an int64 takes.
func parseSize(m *Mail, value string) bool {
	if value == "" || len(value) > 20 || strings.Trim(value, "0123456789") != "" {
		return false
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		n = math.MaxInt64
	}
	m.Size = n
	return true
}

func showSize(m Mail) string {
	if m.Size == 0 {
		return ""
	}
	return "=" + strconv.FormatInt(m.Size, 10)
}

// BODY, RFC 6152 §2 and RFC 3030 §3.
func parseBody(m *Mail, value string) bool {
	switch strings.ToUpper(value) {
	case "7BIT":
		m.Body = mail.Body7Bit
	case "8BITMIME":
		m.Body = mail.Body8BitMIME
	default:
		return false
	}
	return true
}

func showBody(m Mail) string {
	if m.Body != mail.Body8BitMIME {
		return ""
	}
	return "=" + m.Body.String()
}

func parseBinary(m *Mail, value string) bool {
	if !strings.EqualFold(value, "BINARYMIME") {
		return false
	}
	m.Body = mail.BodyBinaryMIME
	return true
}

func showBinary(m Mail) string {
	if m.Body != mail.BodyBinaryMIME {
		return ""
	}
	return "=" + m.Body.String()
}

// SMTPUTF8, RFC 6531 §3.4: it takes no value.
func parseUTF8(m *Mail, value string) bool {
	m.UTF8 = true
	return value == ""
}

func showUTF8(m Mail) string {
	if !m.UTF8 {
		return ""
	}
	return "="
}

// AUTH, RFC 4954 §5.
func parseAuth(m *Mail, value string) bool {
	text, ok := parseXtext(value)
	if !ok {
		return false
	}
	if text != "<>" {
		if _, err := mail.ParseAddress(text); err != nil {
			return false
		}
	}
	m.Auth = text
	return true
}

func showAuth(m Mail) string {
	if m.Auth == "" {
		return ""
	}
	if m.Auth == "<>" {
		return "=<>"
	}
	return "=" + formatXtext(m.Auth)
}

// RET, RFC 3461 §4.3.
func parseReturn(m *Mail, value string) bool {
	switch strings.ToUpper(value) {
	case "FULL":
		m.Return = mail.ReturnFull
	case "HDRS":
		m.Return = mail.ReturnHeaders
	default:
		return false
	}
	return true
}

func showReturn(m Mail) string {
	switch m.Return {
	case mail.ReturnFull:
		return "=FULL"
	case mail.ReturnHeaders:
		return "=HDRS"
	default:
		return ""
	}
}

// ENVID, RFC 3461 §4.4: printable ASCII in xtext.
func parseEnvID(m *Mail, value string) bool {
	text, ok := parseXtext(value)
	if !ok || len(value) > maxEnvID || text == "" || !isPrintable(text) {
		return false
	}
	m.EnvID = text
	return true
}

func showEnvID(m Mail) string {
	if m.EnvID == "" {
		return ""
	}
	return "=" + formatXtext(m.EnvID)
}

// notices are the words of NOTIFY, RFC 3461 §4.1.
var notices = [...]struct {
	word string
	bit  mail.Notify
}{
	{"NEVER", mail.NotifyNever}, {"SUCCESS", mail.NotifySuccess}, {"FAILURE", mail.NotifyFailure}, {"DELAY", mail.NotifyDelay},
}

func parseNotify(r *Rcpt, value string) bool {
	var set mail.Notify
	for word := range strings.SplitSeq(value, ",") {
		var bit mail.Notify
		for _, n := range notices {
			if strings.EqualFold(word, n.word) {
				bit = n.bit
			}
		}
		if bit == 0 {
			return false
		}
		set |= bit
	}
	r.Notify = set
	return set == mail.NotifyNever || set&mail.NotifyNever == 0
}

func showNotify(r Rcpt) string {
	var words []string
	for _, n := range notices {
		if r.Notify&n.bit != 0 {
			words = append(words, n.word)
		}
	}
	if words == nil {
		return ""
	}
	return "=" + strings.Join(words, ",")
}

// ORCPT, RFC 3461 §4.2 and RFC 6533 §3.
func parseORCPT(r *Rcpt, value string) bool {
	kind, address, ok := strings.Cut(value, ";")
	if !ok || kind == "" || len(value) > maxORCPT || !isAtom(kind) {
		return false
	}
	parse := parseXtext
	if strings.EqualFold(kind, addrUTF8) {
		parse = parseUTF8Addr
	}
	text, ok := parse(address)
	if raw, isXtext := decodeXtext(address); !ok && isPrintable(address) && !strings.EqualFold(kind, addrUTF8) && isXtext && isText(raw) {
		// Postfix writes an address in UTF-8 as if it were of type rfc822.
		kind, text, ok = addrUTF8, raw, true
	}
	if !ok || text == "" {
		return false
	}
	r.Original = kind + ";" + text
	return true
}

func showORCPT(r Rcpt) string {
	kind, address, ok := strings.Cut(r.Original, ";")
	if !ok {
		return ""
	}
	if strings.EqualFold(kind, addrUTF8) {
		return "=" + kind + ";" + FormatUTF8(address)
	}
	return "=" + kind + ";" + formatXtext(address)
}
