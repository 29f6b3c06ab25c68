package wire

import (
	"strconv"
	"time"
)

// AppendNumber writes a number.
func AppendNumber[N ~int | ~int64 | ~uint32](b []byte, n N) []byte {
	return strconv.AppendInt(b, int64(n), 10)
}

// AppendString writes a quoted string where that can hold s, else a literal.
func AppendString[S ~string | ~[]byte](b []byte, s S) []byte {
	return appendString(b, s, 0x7f)
}

// AppendUTF8 is AppendString for clients that take UTF-8 in quoted strings (RFC 9051 §4.3.1); s must be UTF-8.
func AppendUTF8[S ~string | ~[]byte](b []byte, s S) []byte {
	return appendString(b, s, 0x100)
}

// maxQuoted is the longest quoted string we write: some clients read responses in lines of a fixed size.
const maxQuoted = 1000

func appendString[S ~string | ~[]byte](b []byte, s S, end rune) []byte {
	quotable := len(s) <= maxQuoted
	for i := 0; quotable && i < len(s); i++ {
		quotable = s[i] != 0 && s[i] != '\r' && s[i] != '\n' && rune(s[i]) < end
	}
	if !quotable {
		b = AppendLiteral(b, int64(len(s)))
		return append(b, s...)
	}
	b = append(b, '"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			b = append(b, '\\')
		}
		b = append(b, s[i])
	}
	return append(b, '"')
}

// AppendAString writes s as an atom where that can hold it.
func AppendAString(b []byte, s string) []byte {
	for i := range len(s) {
		if !isAString(s[i]) {
			return AppendString(b, s)
		}
	}
	if s == "" {
		return append(b, `""`...)
	}
	return append(b, s...)
}

// AppendLiteral writes the header of a literal of n octets.
func AppendLiteral(b []byte, n int64) []byte {
	b = append(b, '{')
	b = strconv.AppendInt(b, n, 10)
	return append(b, "}\r\n"...)
}

// AppendDateTime writes a date-time, of the seconds since 1970 and the minutes east of UTC.
func AppendDateTime(b []byte, seconds int64, zone int16) []byte {
	t := time.Unix(seconds+int64(zone)*60, 0).UTC()
	b = append(b, '"')
	b = t.AppendFormat(b, "02-Jan-2006 15:04:05 ")
	sign := byte('+')
	if zone < 0 {
		sign, zone = '-', -zone
	}
	b = append(b, sign)
	b = appendPair(b, int(zone)/60)
	b = appendPair(b, int(zone)%60)
	return append(b, '"')
}

func appendPair(b []byte, n int) []byte {
	return append(b, '0'+byte(n/10%10), '0'+byte(n%10))
}
