package pgp

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// Sign is who signs and how.
type Sign struct {
	Signers []*Key    // unlocked
	Text    bool      // UTF-8 text: line ends do not matter
	Armor   bool      // in ASCII
	Now     time.Time // zero: now
}

// check says why nothing can be signed.
func (o Sign) check() error {
	if len(o.Signers) == 0 {
		return fmt.Errorf("%w: there is none", ErrCannotSign)
	}
	return canSign(o.Signers, o.Now)
}

func (o Sign) checksum() checksum {
	return checksum(!slices.ContainsFunc(o.Signers, func(k *Key) bool { return k.Version() == 6 }))
}

// SignDetached writes signatures over what r has to w, and tells the micalg parameter for them (RFC 3156 §5), which is empty if they have
// different hashes. Errors: ErrCannotSign, ErrLocked, ErrNotText.
func SignDetached(w io.Writer, r io.Reader, o Sign) (micalg string, err error) {
	err = streams(w, r, func(w io.Writer, r io.Reader) (err error) {
		micalg, err = o.detached(w, r)
		return err
	})
	return micalg, err
}

func (o Sign) detached(w io.Writer, r io.Reader) (micalg string, err error) {
	if err := o.check(); err != nil {
		return "", err
	}
	var made bytes.Buffer
	err = through(noClose{}, text(r, o.Text), func() (io.WriteCloser, error) {
		return openpgp.DetachSignWriter(&made, entities(o.Signers), &openpgp.SignParams{TextSig: o.Text, Config: policy(o.Now)})
	})
	if err != nil {
		return "", err
	}
	if micalg, err = micalgOf(made.Bytes()); err != nil {
		return "", err
	}
	out, err := wrapped(w, form(o.Armor), labelSignature, o.checksum())
	if err != nil {
		return "", err
	}
	if _, err := out.Write(made.Bytes()); err != nil {
		return "", err
	}
	return micalg, out.Close()
}

// hashesOf are the hashes of signatures, without repetition.
func hashesOf(signatures []byte) (all []crypto.Hash, err error) {
	for p := packet.NewReader(bytes.NewReader(signatures)); ; {
		one, err := p.Next()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, unreadable(err)
		}
		if s, ok := one.(*packet.Signature); ok && !slices.Contains(all, s.Hash) {
			all = append(all, s.Hash)
		}
	}
}

// micalgOf is the parameter that names the hash of signatures.
func micalgOf(signatures []byte) (string, error) {
	all, err := hashesOf(signatures)
	if err != nil || len(all) != 1 {
		return "", err
	}
	return "pgp-" + strings.ToLower(hashName(all[0])), nil
}

// hashName is the name of a hash in OpenPGP (RFC 9580 §9.5).
func hashName(h crypto.Hash) string {
	switch h {
	case crypto.SHA3_256, crypto.SHA3_512:
		return h.String()
	}
	return strings.ReplaceAll(h.String(), "-", "")
}

// SignInline writes a signed message with what r has to w, as it reads. Errors: ErrCannotSign, ErrLocked, ErrNotText.
func SignInline(w io.Writer, r io.Reader, o Sign) error { return streams(w, r, o.inline) }

func (o Sign) inline(w io.Writer, r io.Reader) error {
	if err := o.check(); err != nil {
		return err
	}
	out, err := wrapped(w, form(o.Armor), labelMessage, o.checksum())
	if err != nil {
		return err
	}
	return through(out, text(r, o.Text), func() (io.WriteCloser, error) {
		params := &openpgp.SignParams{TextSig: o.Text, Hints: &openpgp.FileHints{IsUTF8: o.Text}, Config: policy(o.Now)}
		return openpgp.SignWithParams(out, entities(o.Signers), params)
	})
}
