package hop

import (
	"testing"

	"posthouse/mail/smtp"
)

func TestParse(t *testing.T) {
	for via, want := range map[string]Hop{
		"smtp://relay.example:2525":     {Kind: SMTP, Host: "relay.example", Port: 2525},
		"smtp://relay.example":          {Kind: SMTP, Host: "relay.example", Port: 25},
		"smtps://[2001:db8::1]:465":     {Kind: SMTPS, Host: "2001:db8::1", Port: 465},
		"lmtp://127.0.0.1":              {Kind: LMTP, Host: "127.0.0.1", Port: 24},
		"lmtp+unix:///run/dovecot/lmtp": {Kind: LMTPUnix, Host: "/run/dovecot/lmtp"},
		"local":                         {Kind: Local},
		"dead":                          {Kind: Dead},
	} {
		h, err := Parse(via)
		if err != nil || h != want {
			t.Errorf("%s: %+v, %v", via, h, err)
			continue
		}
		if again, err := Parse(h.String()); err != nil || again != h {
			t.Errorf("%s: written as %s, and that is %+v, %v", via, h, again, err)
		}
	}
	for _, via := range []string{"", "relay.example", "http://relay.example", "smtp://", "smtp://h:0", "smtp://h:99999", "smtp://h/path",
		"smtp://user:secret@h", "lmtp+unix://host/path", "lmtp+unix://", "smtp://h?x=1", "smtp:relay", "://"} {
		if h, err := Parse(via); err == nil {
			t.Errorf("%s: %+v", via, h)
		}
	}
	if got := (Hop{Kind: MX, Host: "south.test"}).String(); got != "south.test" {
		t.Error(got)
	}
}

func TestStatusOf(t *testing.T) {
	for code, want := range map[int]Status{250: Delivered, 251: Delivered, 354: Temporary, 450: Temporary, 550: Permanent, 0: Temporary} {
		if got := StatusOf(smtp.Reply{Code: code}); got != want {
			t.Errorf("%d: %d", code, got)
		}
	}
}
