package imapd

import (
	"strings"

	"github.com/emersion/go-imap/v2"

	"posthouse/mailbox"
)

// systemFlags are the flags that are bits of their own, in the order of the bits.
var systemFlags = [...]imap.Flag{imap.FlagAnswered, imap.FlagFlagged, imap.FlagDeleted, imap.FlagSeen, imap.FlagDraft}

// systemTexts are all combinations of them, ready to send.
var systemTexts = func() (texts [1 << len(systemFlags)]string) {
	for flags := range texts {
		var words []string
		for i, name := range systemFlags {
			if flags&(1<<i) != 0 {
				words = append(words, string(name))
			}
		}
		texts[flags] = strings.Join(words, " ")
	}
	return texts
}()

const allSystemFlags mailbox.Flags = 1<<len(systemFlags) - 1

// appendFlags writes a parenthesized list of flags.
func appendFlags(b []byte, flags mailbox.Flags, keywords []string) []byte {
	b = append(b, '(')
	b = append(b, systemTexts[flags&allSystemFlags]...)
	for i := 0; flags>>(mailbox.FirstKeyword+i) != 0 && i < len(keywords); i++ {
		if flags&(1<<(mailbox.FirstKeyword+i)) == 0 {
			continue
		}
		if b[len(b)-1] != '(' {
			b = append(b, ' ')
		}
		b = append(b, keywords[i]...)
	}
	return append(b, ')')
}

// appendKeyword adds one flag to a list that appendFlags wrote.
func appendKeyword(b []byte, flag imap.Flag) []byte {
	b = b[:len(b)-1]
	if b[len(b)-1] != '(' {
		b = append(b, ' ')
	}
	b = append(b, flag...)
	return append(b, ')')
}

// flagList decodes what STORE and APPEND take as flags.
func (p *parser) flagList(m *mailbox.Marks) bool { return p.List(func() bool { return p.flag(m) }) }

// flag decodes one flag. \Recent cannot be set, and system flags that are not ours do not exist: RFC 9051 §2.3.2.
func (p *parser) flag(m *mailbox.Marks) bool {
	var f imap.Flag
	if !p.Flag(&f) {
		return false
	}
	if !strings.HasPrefix(string(f), `\`) {
		if len(m.Keywords) >= maxFlags {
			return p.Refuse(errTooMany)
		}
		if len(f) > mailbox.MaxKeyword {
			return p.Refuse(errFlag)
		}
		m.Keywords = append(m.Keywords, string(f))
		return true
	}
	for i, name := range systemFlags {
		if strings.EqualFold(string(f), string(name)) {
			m.System |= 1 << i
			return true
		}
	}
	return p.Refuse(errFlag)
}

// bits are the marks as flags of a box; keywords that it lacks are in no message.
func bits(m mailbox.Marks, keywords []string) mailbox.Flags {
	flags := m.System
	for _, k := range m.Keywords {
		flags |= keywordBit(k, keywords)
	}
	return flags
}

func keywordBit(name string, keywords []string) mailbox.Flags {
	for i, k := range keywords {
		if strings.EqualFold(k, name) {
			return 1 << (mailbox.FirstKeyword + i)
		}
	}
	return 0
}

// marksOf are the flags of a message as marks, independent of its mailbox.
func marksOf(flags mailbox.Flags, keywords []string) mailbox.Marks {
	m := mailbox.Marks{System: flags & allSystemFlags}
	for i, name := range keywords {
		if flags&(1<<(mailbox.FirstKeyword+i)) != 0 {
			m.Keywords = append(m.Keywords, name)
		}
	}
	return m
}
