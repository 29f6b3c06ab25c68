package imapd

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func urlTable() *table { return newTable(extensions(&Limits{})) }

func TestParseURL(t *testing.T) {
	urls := urlTable()
	u, err := urls.parseURL("imap://alice%40north.test;AUTH=*@mail.north.test:143/Caf%C3%A9/a%20b;UIDVALIDITY=5/;UID=20/;SECTION=1.2.MIME/;PARTIAL=7.9;EXPIRE=2027-01-02T03:04:05Z;URLAUTH=user+bob%40south.test:internal:0a1b")
	if err != nil {
		t.Fatal(err)
	}
	if u.user != "alice@north.test" || u.host != "mail.north.test:143" || u.mailbox != "Café/a b" || u.validity != 5 || u.uid != 20 {
		t.Errorf("%+v", u)
	}
	if s := string(u.item.section.append(nil)); s != "[1.2.MIME]" || u.item.partial != (partial{true, 7, 9}) {
		t.Errorf("%s %+v", s, u.item.partial)
	}
	g := u.grant
	if g.access != "user+bob@south.test" || g.mechanism != "INTERNAL" || g.token != "0a1b" || !strings.HasSuffix(g.rump, "user+bob%40south.test") {
		t.Errorf("%+v", g)
	}
	if !g.expire.Equal(time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)) {
		t.Error(g.expire)
	}
	rump, err := urls.parseURL("imap://alice@mail.north.test/INBOX/;uid=1;urlauth=anonymous")
	if err != nil || rump.grant.access != "anonymous" || rump.grant.mechanism != "" || rump.grant.rump != "imap://alice@mail.north.test/INBOX/;uid=1;urlauth=anonymous" {
		t.Errorf("%+v, %v", rump, err)
	}
}

func TestBadURLs(t *testing.T) {
	urls := urlTable()
	for _, text := range []string{
		"", "/", "/INBOX", "/INBOX/", "/INBOX/;UID=", "/INBOX/;UID=x", "/INBOX/;UID=4294967296", "/INBOX/;SECTION=1", "/INBOX/;UID=1/;SECTION=",
		"/INBOX/;UID=1/;SECTION=1]", "/INBOX/;UID=1/;SECTION=HEADER.FIELDS", "/INBOX/;UID=1/;SECTION=1/;SECTION=2", "/INBOX/;UID=1/;PARTIAL=",
		"/INBOX/;UID=1/;PARTIAL=-1", "/INBOX/;UID=1/;PARTIAL=1.0", "/INBOX/;UID=1;EXPIRE=soon;URLAUTH=anonymous", "/IN%BOX/;UID=1", "/%FF/;UID=1",
		"/INBOX;UIDVALIDITY=0/;UID=1", "/INBOX;COLOR=red/;UID=1", "/INBOX?ALL/;UID=1", "imap://alice@/INBOX/;UID=1", "imap://mail.north.test/;UID=1",
		"imap://alice@mail.north.test/INBOX/;UID=1;URLAUTH=", "imap://alice@mail.north.test/INBOX/;UID=1;URLAUTH=anonymous:INTERNAL",
		"http://mail.north.test/INBOX/;UID=1", "/IN BOX/;UID=1", "/" + strings.Repeat("x", maxURL) + "/;UID=1",
	} {
		if u, err := urls.parseURL(text); !errors.Is(err, errURL) {
			t.Errorf("%q: %+v, %v", text, u, err)
		}
	}
}

// FuzzURL looks for panics, and for names that lead out of what a URL may name.
func FuzzURL(f *testing.F) {
	f.Add("imap://alice%40north.test@mail.north.test/INBOX;UIDVALIDITY=5/;UID=20/;SECTION=HEADER.FIELDS%20(TO)/;PARTIAL=7.9;EXPIRE=2027-01-02T03:04:05Z;URLAUTH=authuser:INTERNAL:00")
	f.Add(";UID=1/;PARTIAL=3")
	urls := urlTable()
	f.Fuzz(func(t *testing.T, text string) {
		u, err := urls.parseURL(text)
		if err != nil {
			if !errors.Is(err, errURL) {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		if u.uid == 0 || u.grant.access != "" && !strings.HasPrefix(text, u.grant.rump) {
			t.Errorf("%q: %+v", text, u)
		}
	})
}
