package pgp

import (
	"errors"
	"fmt"

	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
)

// What may be wrong. Errors of this package wrap one of these, unless reading or writing failed.
var (
	ErrData          = errors.New("pgp: not the OpenPGP data expected")
	ErrTooLarge      = errors.New("pgp: more than is taken")
	ErrAlgorithm     = errors.New("pgp: public-key algorithm not supported")
	ErrNoSignature   = errors.New("pgp: no signature that counts")
	ErrCannotEncrypt = errors.New("pgp: certificate cannot be encrypted to")
	ErrCannotDecrypt = errors.New("pgp: no key or password opens this")
	ErrCannotSign    = errors.New("pgp: key cannot sign")
	ErrCannotCertify = errors.New("pgp: key cannot certify")
	ErrPrimary       = errors.New("pgp: primary key is weak or revoked")
	ErrUserID        = errors.New("pgp: no such user ID, or nobody vouches for it")
	ErrLocked        = errors.New("pgp: secret key is protected, and no password opens it")
	ErrNotText       = errors.New("pgp: not UTF-8 text")
	ErrIntegrity     = errors.New("pgp: message was changed or cut off")
)

// because is the sentinel error with what the library said of it.
func because(sentinel, err error) error {
	if err == nil || errors.Is(err, sentinel) {
		return err
	}
	return fmt.Errorf("%w: %s", sentinel, err.Error())
}

// unreadable is what the library said of bytes that it could not read.
func unreadable(err error) error {
	if _, ok := errors.AsType[pgperrors.UnsupportedError](err); ok {
		return because(ErrAlgorithm, err)
	}
	return because(ErrData, err)
}
