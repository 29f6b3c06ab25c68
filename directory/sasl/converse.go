package sasl

import (
	"context"
	"encoding/base64"
	"errors"

	"posthouse/directory"
)

// Converse runs an exchange to its end where challenges and responses are lines of base64, one "=" is an empty response with the command
// (RFC 4959 §3, RFC 5034 §4), and "*" gives up. initial is what came with the command; empty: nothing. ask sends a challenge and reads the
// line that answers it. What it fails with is passed on.
func (x *Exchange) Converse(ctx context.Context, initial string, ask func(challenge string) (line string, err error)) error {
	var response []byte
	var err error
	if initial != "" {
		if response, err = decodeResponse(initial); err != nil {
			return err
		}
	}
	for {
		challenge, done, err := x.Next(ctx, response)
		if err != nil || done {
			return err
		}
		line, err := ask(base64.StdEncoding.EncodeToString(challenge))
		if err != nil {
			return err
		}
		if line == "*" {
			return ErrCanceled
		}
		if response, err = decodeResponse(line); err != nil {
			return err
		}
	}
}

func decodeResponse(s string) ([]byte, error) {
	if s == "=" {
		return []byte{}, nil
	}
	response, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, ErrBase64
	}
	return response, nil
}

// guesses are the errors after which a client may try another password.
var guesses = [...]error{directory.ErrCredentials, ErrAuthorization, ErrBinding, ErrThrottled}

// IsGuess tells failures after which a client may try again; each should make it wait longer.
func IsGuess(err error) bool {
	for _, guess := range guesses {
		if errors.Is(err, guess) {
			return true
		}
	}
	return false
}

// IsAttempt tells failures, and success, of clients that did try to prove something: what was malformed or given up is none.
func IsAttempt(err error) bool {
	return !errors.Is(err, ErrResponse) && !errors.Is(err, ErrBase64) && !errors.Is(err, ErrCanceled)
}
