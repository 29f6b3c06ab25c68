package imapd

import (
	"bytes"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"posthouse/internal/link"
)

// RFC 9585 §4: while a command takes long its client hears of it, with numbers as long as they say something, and never after its end.
func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &bytes.Buffer{}
		s := &session{tag: "a1", out: link.NewWriter(out)}
		p := &progress{goal: 1000}
		if err := s.out.WriteString("* 5 EXISTS\r\n"); err != nil {
			t.Fatal(err)
		}
		short := func() error { time.Sleep(9 * time.Second); return nil }
		failed := errors.New("failed")
		if err := s.meanwhile(p, short); err != nil {
			t.Fatal(err)
		}
		err := s.meanwhile(p, func() error { // two parts of one command: the first 10 seconds are over after one of this one
			p.done.Store(175)
			time.Sleep(5 * time.Second)
			p.done.Store(1000)
			time.Sleep(10 * time.Second)
			return failed
		})
		if !errors.Is(err, failed) {
			t.Error(err)
		}
		s.tag = "a]"
		if err := s.meanwhile(&progress{}, func() error { time.Sleep(11 * time.Second); return nil }); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if err := s.out.Flush(); err != nil {
			t.Fatal(err)
		}
		want := "* 5 EXISTS\r\n* OK [INPROGRESS (\"a1\" 175 1000)] Still at it\r\n* OK [INPROGRESS (\"a1\" NIL NIL)] Still at it\r\n" +
			"* OK [INPROGRESS (NIL NIL NIL)] Still at it\r\n"
		if got := out.String(); got != want {
			t.Errorf("%q", got)
		}
	})
}
