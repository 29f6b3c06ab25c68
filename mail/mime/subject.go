package mime

import (
	"bytes"
	"strings"
)

// Collate is text as i;unicode-casemap compares it, octet by octet: in title case, and with its letters taken apart (RFC 5051 §2).
func Collate(text string) string { return string(AppendCollated(nil, []byte(text))) }

// BaseSubject is a decoded subject without what answering and forwarding add to it, and whether there was any of that: RFC 5256 §2.1.
func BaseSubject(subject string) (base string, reply bool) {
	base = strings.Join(strings.Fields(subject), " ") // (1)
	for {
		base = trimTrailers(base, &reply) // (2)
		base = trimLeaders(base, &reply)  // (3) to (5)
		inner, ok := cutFold(base, "[fwd:")
		if !ok || !strings.HasSuffix(inner, "]") { // (6)
			return base, reply
		}
		base, reply = strings.TrimSuffix(inner, "]"), true
	}
}

// trimTrailers removes what matches subj-trailer.
func trimTrailers(s string, reply *bool) string {
	for {
		s = strings.TrimRight(s, " ")
		const fwd = "(fwd)"
		if len(s) < len(fwd) || !strings.EqualFold(s[len(s)-len(fwd):], fwd) {
			return s
		}
		s, *reply = s[:len(s)-len(fwd)], true
	}
}

// trimLeaders removes what matches subj-leader, and subj-blobs as long as something is left.
func trimLeaders(s string, reply *bool) string {
	for {
		s = strings.TrimLeft(s, " ")
		if rest, ok := cutReply(s); ok {
			s, *reply = rest, true
			continue
		}
		rest, ok := cutBlob(s)
		if !ok || rest == "" {
			return s
		}
		s = rest
	}
}

// cutReply removes *subj-blob subj-refwd.
func cutReply(s string) (string, bool) {
	for {
		rest, ok := cutBlob(s)
		if !ok {
			break
		}
		s = rest
	}
	rest, ok := cutFold(s, "re")
	if !ok {
		if rest, ok = cutFold(s, "fwd"); !ok {
			rest, ok = cutFold(s, "fw")
		}
	}
	if !ok {
		return s, false
	}
	rest = strings.TrimLeft(rest, " ")
	if after, ok := cutBlob(rest); ok {
		rest = after
	}
	return strings.CutPrefix(rest, ":")
}

// cutBlob removes a subj-blob.
func cutBlob(s string) (string, bool) {
	if !strings.HasPrefix(s, "[") {
		return s, false
	}
	end := strings.IndexAny(s[1:], "[]")
	if end < 0 || s[1+end] == '[' {
		return s, false
	}
	return strings.TrimLeft(s[end+2:], " "), true
}

func cutFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

// messageIDs are the IDs in a field's value, without needless quotes and without angle brackets, at most so many, the last ones: RFC 5256
// §3, RFC 5322 §3.6.4.
func messageIDs(value []byte, most int) (ids []string) {
	for {
		open := bytes.IndexByte(value, '<')
		if open < 0 {
			return ids
		}
		end := bytes.IndexByte(value[open:], '>')
		if end < 0 {
			return ids
		}
		id := string(value[open+1 : open+end])
		value = value[open+end+1:]
		if strings.ContainsAny(id, " \t\r\n") {
			id = strings.Join(strings.Fields(id), "")
		}
		if local, domain, ok := strings.Cut(id, "@"); ok && len(local) > 1 && local[0] == '"' && local[len(local)-1] == '"' {
			id = strings.ReplaceAll(local[1:len(local)-1], `\`, "") + "@" + domain
		}
		if id == "" {
			continue
		}
		if len(ids) == most {
			ids = append(ids[:0], ids[1:]...)
		}
		ids = append(ids, id)
	}
}
