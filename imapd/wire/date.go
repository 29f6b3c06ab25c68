package wire

import (
	"strings"
	"time"
)

// Date decodes a date, quoted or not: "1-Feb-1994". It is midnight UTC of that day.
func (d *Decoder) Date(t *time.Time) bool {
	var text string
	if d.At('"') {
		if !d.quoted(&text) {
			return false
		}
	} else if !d.run(&text, isAtom, "a date") {
		return false
	}
	day, rest, _ := strings.Cut(text, "-")
	if len(day) == 1 {
		day = "0" + day
	}
	return parseTime(t, "02-Jan-2006", day+"-"+rest) || d.missing("a date")
}

// DateTime decodes a date-time: "17-Jul-1996 02:44:25 -0700", with a space for the leading zero of the day.
func (d *Decoder) DateTime(t *time.Time) bool {
	var text string
	if !d.quoted(&text) {
		return d.missing("a date and time")
	}
	if strings.HasPrefix(text, " ") {
		text = "0" + text[1:]
	}
	return parseTime(t, "02-Jan-2006 15:04:05 -0700", text) || d.missing("a date and time")
}

// parseTime is stricter than time.Parse, which takes fractions of a second.
func parseTime(t *time.Time, layout, text string) bool {
	parsed, err := time.Parse(layout, text)
	if err != nil || len(text) != len(layout) {
		return false
	}
	*t = parsed
	return true
}
