package pgp

import (
	"fmt"
	"io"
	"slices"
	"time"
	"unicode/utf8"

	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// Encrypt is whom a message is for, who signs it, and what it looks like.
type Encrypt struct {
	To        []*Cert   // named in the message
	Hidden    []*Cert   // not named: nobody can see whom it is for
	Passwords []string  // each opens it too
	Signers   []*Key    // unlocked
	Profile   Profile   // for Passwords alone; certificates say themselves what can be read
	Text      bool      // UTF-8 text, whose signatures do not mind line ends. Mail is never that but octets
	Armor     bool      // in ASCII
	Now       time.Time // zero: now
}

// EncryptTo encrypts what r has to w as it reads. It is in the container of RFC 9580 §5.13.2 if all certificates advertise that, else in the
// older one. No recipient is left out: one to whom it cannot be encrypted fails the call, before anything is written. Errors:
// ErrCannotEncrypt, ErrCannotSign, ErrLocked, ErrNotText (with a part written, which nobody can take for the whole).
func EncryptTo(w io.Writer, r io.Reader, o Encrypt) error { return streams(w, r, o.encrypt) }

func (o Encrypt) encrypt(w io.Writer, r io.Reader) error {
	all := slices.Concat(o.To, o.Hidden)
	if len(all)+len(o.Passwords) == 0 {
		return fmt.Errorf("%w: there is no recipient", ErrCannotEncrypt)
	}
	old := o.Profile == Classic && len(all) == 0
	for _, c := range all {
		if err := c.CanEncrypt(o.Now); err != nil {
			return err
		}
		old = old || c.Version() == 4
	}
	if err := canSign(o.Signers, o.Now); err != nil {
		return err
	}
	out, err := wrapped(w, form(o.Armor), labelMessage, checksum(old))
	if err != nil {
		return err
	}
	profile := o.Profile
	if len(all) > 0 {
		profile = Classic
	}
	params := &openpgp.EncryptParams{TextSig: o.Text, Hints: &openpgp.FileHints{IsUTF8: o.Text}, Config: encrypting(o.Now, profile, o.Hidden)}
	if len(o.Signers) > 0 {
		params.Signers = entities(o.Signers)
	}
	return through(out, text(r, o.Text), func() (io.WriteCloser, error) {
		for _, p := range o.Passwords {
			params.Passwords = append(params.Passwords, []byte(p))
		}
		if len(all) > 0 {
			return openpgp.EncryptWithParams(out, entities(o.To), entities(o.Hidden), params)
		}
		first := params.Passwords[0]
		params.Passwords = params.Passwords[1:]
		return openpgp.SymmetricallyEncryptWithParams(first, out, params)
	})
}

// through copies r through what begin makes, and ends both that and what is around it.
func through(around io.Closer, r io.Reader, begin func() (io.WriteCloser, error)) error {
	in, err := begin()
	if err != nil {
		return unreadable(err)
	}
	if _, err := io.Copy(in, r); err != nil {
		return err
	}
	if err := in.Close(); err != nil {
		return err
	}
	return around.Close()
}

func canSign(signers []*Key, now time.Time) error {
	for _, k := range signers {
		if err := k.CanSign(now); err != nil {
			return err
		}
	}
	return nil
}

// text is r, or fails where it is not UTF-8 if it is to be text.
func text(r io.Reader, is bool) io.Reader {
	if is {
		return &utf8Reader{r: r}
	}
	return r
}

// utf8Reader fails where what it reads is not UTF-8.
type utf8Reader struct {
	r    io.Reader
	rest []byte // the beginning of a character
}

func (u *utf8Reader) Read(to []byte) (int, error) {
	n, err := u.r.Read(to)
	seen := append(u.rest, to[:n]...)
	for len(seen) > 0 {
		if !utf8.FullRune(seen) {
			break
		}
		c, size := utf8.DecodeRune(seen)
		if c == utf8.RuneError && size == 1 {
			return 0, ErrNotText
		}
		seen = seen[size:]
	}
	u.rest = slices.Clone(seen)
	if err != nil && len(seen) > 0 {
		return n, ErrNotText
	}
	return n, err
}
