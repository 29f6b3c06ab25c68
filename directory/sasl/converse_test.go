package sasl

import (
	"encoding/base64"
	"errors"
	"io"
	"testing"

	"posthouse/directory"
)

func TestConverse(t *testing.T) {
	a := New(Options{Directory: open(t)})
	plain := base64.StdEncoding.EncodeToString([]byte("\x00bob@south.test\x00posthouse"))
	wrong := base64.StdEncoding.EncodeToString([]byte("\x00bob@south.test\x00wrong"))
	for _, c := range []struct {
		name, initial string
		lines         []string
		asked         int
		want          error
		attempt       bool
	}{
		{"with the command", plain, nil, 0, nil, true},
		{"asked for", "", []string{plain}, 1, nil, true},
		{"wrong", "", []string{wrong}, 1, directory.ErrCredentials, true},
		{"given up", "", []string{"*"}, 1, ErrCanceled, false},
		{"an empty line", "", []string{""}, 1, ErrResponse, false},
		{"empty", "=", nil, 0, ErrResponse, false},
		{"not base64", "", []string{"!"}, 1, ErrBase64, false},
		{"not base64, with the command", "A", nil, 0, ErrBase64, false},
		{"lost", "", nil, 1, io.ErrUnexpectedEOF, true},
	} {
		x, err := a.Start("PLAIN", secure(home))
		if err != nil {
			t.Fatal(err)
		}
		asked := 0
		err = x.Converse(ctx, c.initial, func(challenge string) (string, error) {
			if asked++; challenge != "" {
				t.Errorf("%s: challenged with %q", c.name, challenge)
			}
			if asked > len(c.lines) {
				return "", io.ErrUnexpectedEOF
			}
			return c.lines[asked-1], nil
		})
		wants(t, c.name, err, c.want)
		if asked != c.asked || IsAttempt(err) != c.attempt || IsGuess(err) != errors.Is(err, directory.ErrCredentials) {
			t.Errorf("%s: asked %d times; an attempt: %v", c.name, asked, IsAttempt(err))
		}
	}
}
