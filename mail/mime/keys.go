package mime

import (
	"encoding/binary"
	"errors"
	"math"
	netmail "net/mail"
	"strings"
)

// MaxReferences is how many Message-IDs of a References field are kept, the last ones: a thread's beginning is found by its other
// messages.
const MaxReferences = 100

// MaxKey is how much of one text is kept, in octets: what differs later than that counts as equal.
const MaxKey = 500

// NoDate is the Sent of a message whose Date field says none.
const NoDate = math.MinInt64

// Keys are what messages are sorted and threaded by: RFC 5256, RFC 5957. The texts are in the form that Collate gives them.
type Keys struct {
	Sent        int64  // seconds since 1970; NoDate
	Reply       bool   // the subject is of an answer, or of something forwarded
	Subject     string // the base subject
	From        string // the local part of the first address; so are the next two
	To          string
	Cc          string
	DisplayFrom string // its name, or else the address: RFC 5957 §3; so is the next
	DisplayTo   string
	MessageID   string
	References  []string // whom it answers last; of In-Reply-To if there is no References field
}

// KeysOf are those of a message with this header.
func KeysOf(header []byte) Keys {
	k := Keys{Sent: NoDate}
	seen := make(map[string]bool, len(keyFields))
	var answered []string
	for f := range Fields(header) {
		name := strings.ToLower(string(f.Name))
		if read, ok := keyFields[name]; ok && !seen[name] {
			seen[name] = true
			read(&k, f.Value)
		} else if name == "in-reply-to" && answered == nil {
			if ids := messageIDs(f.Value, MaxReferences); len(ids) > 0 {
				answered = ids[:1]
			}
		}
	}
	if len(k.References) == 0 {
		k.References = answered
	}
	return k
}

var keyFields = map[string]func(k *Keys, value []byte){
	"date": func(k *Keys, v []byte) {
		if sent, err := netmail.ParseDate(string(AppendUnfolded(nil, v))); err == nil {
			k.Sent = sent.Unix()
		}
	},
	"subject": func(k *Keys, v []byte) {
		var base string
		base, k.Reply = BaseSubject(string(AppendDecoded(nil, v)))
		k.Subject = key(base)
	},
	"from": func(k *Keys, v []byte) { k.From, k.DisplayFrom = addressKeys(v) },
	"to":   func(k *Keys, v []byte) { k.To, k.DisplayTo = addressKeys(v) },
	"cc":   func(k *Keys, v []byte) { k.Cc, _ = addressKeys(v) },
	"message-id": func(k *Keys, v []byte) {
		if ids := messageIDs(v, MaxReferences); len(ids) > 0 {
			k.MessageID = cut(ids[0])
		}
	},
	"references": func(k *Keys, v []byte) {
		k.References = messageIDs(v, MaxReferences)
		for i := range k.References {
			k.References[i] = cut(k.References[i])
		}
	},
}

func cut(s string) string { return s[:min(len(s), MaxKey)] }

func key(text string) string { return Collate(strings.ToValidUTF8(cut(text), "")) }

// addressKeys are those of the first address of a field.
func addressKeys(value []byte) (local, display string) {
	for _, a := range ParseAddresses(value) {
		switch {
		case a.Group == GroupStart && a.Mailbox != "": // RFC 5957 §3
			if display == "" {
				display = key(string(AppendDecoded(nil, []byte(a.Mailbox))))
			}
		case a.Group == NoGroup:
			if local = key(a.Mailbox); display == "" {
				display = key(string(AppendDecoded(nil, []byte(a.Name))))
			}
			if display == "" {
				display = key(a.Mailbox + "@" + a.Host)
			}
			return local, display
		}
	}
	return local, display
}

const keysVersion = 1

// AppendKeys encodes keys for storage; ParseKeys reads them.
func AppendKeys(b []byte, k *Keys) []byte {
	b = append(b, keysVersion)
	b = binary.AppendVarint(b, k.Sent)
	reply := byte(0)
	if k.Reply {
		reply = 1
	}
	b = append(b, reply)
	texts := k.texts()
	b = binary.AppendUvarint(b, uint64(len(k.References)))
	for _, t := range texts {
		b = binary.AppendUvarint(b, uint64(len(*t)))
	}
	for _, r := range k.References {
		b = binary.AppendUvarint(b, uint64(len(r)))
	}
	for _, t := range texts {
		b = append(b, *t...)
	}
	for _, r := range k.References {
		b = append(b, r...)
	}
	return b
}

func (k *Keys) texts() [7]*string {
	return [...]*string{&k.Subject, &k.From, &k.To, &k.Cc, &k.DisplayFrom, &k.DisplayTo, &k.MessageID}
}

var errKeys = errors.New("mime: not encoded keys")

// ParseKeys reads what AppendKeys wrote.
func ParseKeys(b []byte) (k Keys, err error) {
	if len(b) < 3 || b[0] != keysVersion {
		return k, errKeys
	}
	sent, n := binary.Varint(b[1:])
	if n <= 0 || len(b) < n+2 {
		return k, errKeys
	}
	k.Sent, k.Reply, b = sent, b[1+n] == 1, b[2+n:]
	var sizes [8 + MaxReferences]int
	count := len(k.texts()) + 1
	for i := 0; i < count; i++ {
		v, n := binary.Uvarint(b)
		if n <= 0 || v > MaxField {
			return k, errKeys
		}
		if i == 0 {
			if v > MaxReferences {
				return k, errKeys
			}
			count += int(v)
		}
		sizes[i], b = int(v), b[n:]
	}
	text := string(b) // one for all
	for i, t := range k.texts() {
		if text, err = take(t, text, sizes[i+1]); err != nil {
			return k, err
		}
	}
	if sizes[0] > 0 {
		k.References = make([]string, sizes[0])
	}
	for i := range k.References {
		if text, err = take(&k.References[i], text, sizes[len(k.texts())+1+i]); err != nil {
			return k, err
		}
	}
	if text != "" {
		err = errKeys
	}
	return k, err
}

func take(dst *string, text string, n int) (string, error) {
	if n > len(text) {
		return "", errKeys
	}
	*dst = text[:n]
	return text[n:], nil
}
