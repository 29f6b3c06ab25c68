package smtp

import (
	"bufio"
	"errors"
	"strings"
	"testing"
)

func TestReplyRoundTrip(t *testing.T) {
	for _, r := range []Reply{
		{250, Enhanced{}, "mail.north.test"},
		{250, Enhanced{2, 1, 0}, "ok"},
		{550, Enhanced{5, 1, 1}, "no such user here\nask postmaster"},
		{354, Enhanced{}, "go ahead"},
	} {
		got, err := ReadReply(bufio.NewReader(strings.NewReader(string(r.Append(nil)))))
		if err != nil || got != r {
			t.Errorf("got %+v, %v; want %+v", got, err, r)
		}
	}
}

func TestReadReplyRefuses(t *testing.T) {
	for name, in := range map[string]string{
		"no code":        "hello\r\n",
		"code of 1yz":    "150 x\r\n",
		"changing codes": "250-a\r\n251 b\r\n",
		"endless lines":  strings.Repeat("250-a\r\n", MaxReplyLines+1) + "250 a\r\n",
		"endless line":   "250 " + strings.Repeat("a", MaxReplyLine) + "\r\n",
		"no separator":   "250x\r\n",
	} {
		if _, err := ReadReply(bufio.NewReader(strings.NewReader(in))); !errors.Is(err, ErrReply) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReadReplyTakesWhatServersSay(t *testing.T) {
	for in, want := range map[string]Reply{
		"250\r\n":                    {250, Enhanced{}, ""},
		"250 ok\n":                   {250, Enhanced{}, "ok"},
		"250 5.1.1 ok\r\n":           {250, Enhanced{}, "5.1.1 ok"},
		"421 4.3.2 bye\x07\xff\r\n":  {421, Enhanced{4, 3, 2}, "bye??"},
		"550-5.7.1 a\r\n550 b\r\n":   {550, Enhanced{5, 7, 1}, "a\nb"},
		"550-5.7.1 a\r\n550 5.7.1\n": {550, Enhanced{5, 7, 1}, "a\n"},
	} {
		if got, err := ReadReply(bufio.NewReader(strings.NewReader(in))); err != nil || got != want {
			t.Errorf("%q: %+v, %v", in, got, err)
		}
	}
}
