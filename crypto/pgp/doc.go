// Package pgp is OpenPGP (RFC 9580, RFC 4880) as the house uses it: certificates and secret keys, encrypting, decrypting, signing and
// verifying, over values and streams.
//
// It owns the policy: which algorithms count, that expiry and revocation count at the time of use, that plaintext comes out only after its
// integrity is known, and what bytes of strangers may cost. It must not know mail, commands, accounts or where keys are kept. It is the
// one place that calls github.com/ProtonMail/go-crypto; every call is guarded, so that a panic in it is an error.
//
// ReadCerts and ReadKeys look at the packets before the library does (inspect), EncryptTo and the Sign functions write as they read,
// DecryptFrom and VerifyInline keep the text to themselves (spooled) until they know what it is worth. Memory does not grow with a message.
// An error of a stream that a caller gave us is handed back as it is (streams); all others wrap an error of this package.
//
// A Cert or a Key remembers which of its signatures hold, so one of them is for one goroutine at a time.
package pgp
