package link

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

// shortWriter takes up to limit octets.
type shortWriter struct {
	bytes.Buffer
	writes int
	fail   error
}

func (w *shortWriter) Write(p []byte) (int, error) {
	w.writes++
	if w.fail != nil {
		return 0, w.fail
	}
	return w.Buffer.Write(p)
}

func TestWriter(t *testing.T) {
	out := &shortWriter{}
	w := NewWriter(out)
	if err := w.Flush(); err != nil || out.writes != 0 {
		t.Errorf("flushing nothing: %v, %d writes", err, out.writes)
	}
	for range 100 {
		w.WriteString("* 1 EXISTS\r\n")
	}
	if out.writes != 0 {
		t.Error("it does not gather")
	}
	big := strings.Repeat("0123456789", 30_000)
	if n, err := io.WriteString(w, big); n != len(big) || err != nil {
		t.Error(n, err)
	}
	if err := w.Flush(); err != nil || out.String() != strings.Repeat("* 1 EXISTS\r\n", 100)+big {
		t.Errorf("%v, %d octets", err, out.Len())
	}
	if out.writes > 6 {
		t.Errorf("%d writes", out.writes)
	}
	if w.buf != nil {
		t.Error("an idle writer holds a buffer")
	}
}

func TestWriterFails(t *testing.T) {
	gone := errors.New("gone")
	out := &shortWriter{fail: gone}
	w := NewWriter(out)
	w.WriteString("x")
	if err := w.Flush(); !errors.Is(err, gone) {
		t.Error(err)
	}
	out.fail = nil
	if err := w.WriteString("y"); !errors.Is(err, gone) {
		t.Error(err)
	}
	if err := w.Flush(); !errors.Is(err, gone) || out.Len() != 0 {
		t.Error("it writes after an error")
	}
	w = NewWriter(out)
	w.WriteString("* 1 FETCH (BODY[] {10}\r\nabc")
	w.Fail(gone)
	if err := w.Flush(); !errors.Is(err, gone) || out.Len() != 0 || !errors.Is(w.Err(), gone) {
		t.Error("it writes what was given up")
	}
}
