package smtp

import (
	"strconv"
	"strings"
	"time"

	"posthouse/mail"
)

// Limits of the parameters that say when a message is to move.
const (
	maxByDigits   = 9 // RFC 2852 §4
	maxHoldDigits = 9 // RFC 4865 §3
)

// By is the BY parameter of MAIL: RFC 2852 §4. The zero value is none.
type By struct {
	Seconds int64 // from now; negative: the time is past, which only ByNotify goes on with
	Mode    ByMode
	Trace   bool // tell the sender of hosts that do not know of it
}

// ByMode is what happens when the time has passed; its value is the letter on the wire.
type ByMode byte

// The modes.
const (
	ByReturn ByMode = 'R'
	ByNotify ByMode = 'N'
)

// parseBy reads by-time ";" by-mode [by-trace]. A message to be returned needs some time: RFC 2852 §4.
func parseBy(m *Mail, value string) bool {
	number, mode, ok := strings.Cut(strings.ToUpper(value), ";")
	digits := strings.TrimLeft(number, "+-")
	if !ok || len(number)-len(digits) > 1 || !isNumber(digits, maxByDigits) {
		return false
	}
	seconds, err := strconv.ParseInt(number, 10, 64)
	mode, trace := strings.CutSuffix(mode, "T")
	if err != nil || mode != "R" && mode != "N" || mode == "R" && seconds <= 0 {
		return false
	}
	m.By = By{seconds, ByMode(mode[0]), trace}
	return true
}

func showBy(m Mail) string {
	if m.By.Mode == 0 {
		return ""
	}
	s := "=" + strconv.FormatInt(m.By.Seconds, 10) + ";" + string(rune(m.By.Mode))
	if m.By.Trace {
		s += "T"
	}
	return s
}

// HOLDFOR, RFC 4865 §3: seconds. It excludes HOLDUNTIL.
func parseHoldFor(m *Mail, value string) bool {
	if !isNumber(value, maxHoldDigits) || !m.HoldUntil.IsZero() {
		return false
	}
	seconds, err := strconv.ParseInt(value, 10, 64)
	m.HoldFor = time.Duration(seconds) * time.Second
	return err == nil && seconds > 0
}

func showHoldFor(m Mail) string {
	if m.HoldFor == 0 {
		return ""
	}
	return "=" + strconv.FormatInt(int64(m.HoldFor/time.Second), 10)
}

// HOLDUNTIL, RFC 4865 §3: an Internet date and time. It excludes HOLDFOR.
func parseHoldUntil(m *Mail, value string) bool {
	t, err := time.Parse(time.RFC3339, strings.ToUpper(value))
	m.HoldUntil = t.UTC()
	return err == nil && !t.IsZero() && m.HoldFor == 0
}

func showHoldUntil(m Mail) string {
	if m.HoldUntil.IsZero() {
		return ""
	}
	return "=" + m.HoldUntil.UTC().Format(time.RFC3339Nano)
}

// MT-PRIORITY, RFC 6710 §7.
func parsePriority(m *Mail, value string) bool {
	if !isNumber(strings.TrimPrefix(value, "-"), 1) || value == "-0" {
		return false
	}
	n, err := strconv.ParseInt(value, 10, 8)
	m.Priority = mail.Priority(n)
	return err == nil
}

func showPriority(m Mail) string {
	if m.Priority == 0 {
		return ""
	}
	return "=" + strconv.Itoa(int(m.Priority))
}

// REQUIRETLS, RFC 8689 §2: it takes no value.
func parseRequireTLS(m *Mail, value string) bool {
	m.RequireTLS = true
	return value == ""
}

func showRequireTLS(m Mail) string {
	if !m.RequireTLS {
		return ""
	}
	return "="
}

// isNumber tells 1 to limit digits.
func isNumber(s string, limit int) bool {
	return s != "" && len(s) <= limit && strings.Trim(s, "0123456789") == ""
}
