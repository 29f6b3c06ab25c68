package convert

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"posthouse/mail"
	"posthouse/mail/mime"
)

type content struct{ *strings.Reader }

func (content) Close() error { return nil }

// TestContent: small ones and large ones are what mime.Convert makes, and leave nothing behind.
func TestContent(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	for _, n := range []int{1, maxInMemory / 64, maxInMemory/64 + 1, maxInMemory / 16} {
		text := "Content-Type: image/x\r\nContent-Transfer-Encoding: binary\r\n\r\n" + strings.Repeat("\x00\xff", 24*n)
		got, err := Content(content{strings.NewReader(text)}, mime.Form{})
		if err != nil {
			t.Fatal(err)
		}
		var want strings.Builder
		if err := mime.Convert(&want, strings.NewReader(text), int64(len(text)), mime.Form{}); err != nil {
			t.Fatal(err)
		}
		if read(t, got) != want.String() {
			t.Errorf("%d lines: another content", n)
		}
		if err := got.Close(); err != nil {
			t.Error(err)
		}
		if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
			t.Errorf("%v, %v", left, err)
		}
	}
}

func read(t *testing.T, c mail.Content) string {
	t.Helper()
	b, err := io.ReadAll(io.NewSectionReader(c, 0, c.Size()))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestPrepend(t *testing.T) {
	c := Prepend([]byte("A: b\r\n"), content{strings.NewReader("C: d\r\n\r\n")})
	if err := iotest.TestReader(io.NewSectionReader(c, 0, c.Size()), []byte("A: b\r\nC: d\r\n\r\n")); err != nil {
		t.Error(err)
	}
}

func TestNoFolder(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir()+"/none")
	text := "Content-Type: image/x\r\n\r\n" + strings.Repeat("\x00", 2*maxInMemory)
	if _, err := Content(content{strings.NewReader(text)}, mime.Form{}); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
