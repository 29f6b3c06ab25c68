package dkim

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// Key is a private key of a domain, published as Selector._domainkey.Domain.
type Key struct {
	Domain, Selector string
	Private          crypto.Signer // *rsa.PrivateKey of at least 2048 bits, or ed25519.PrivateKey
}

// minSigningBits is what we sign with at least; RFC 8301 §3.2 asks for 1024 and advises 2048.
const minSigningBits = 2048

// signedFields are the fields a signature covers, as far as a message has them: RFC 6376 §5.4.1.
// signedTwice are named once more than they occur, so that nobody can add another one.
func signedFields() (all []string, twice map[string]bool) {
	all = []string{
		"From", "Sender", "Reply-To", "To", "Cc", "Subject", "Date", "Message-ID", "In-Reply-To", "References",
		"MIME-Version", "Content-Type", "Content-Transfer-Encoding", "Content-Disposition",
		"Resent-Date", "Resent-From", "Resent-Sender", "Resent-To", "Resent-Cc", "Resent-Message-ID",
		"List-Id", "List-Help", "List-Unsubscribe", "List-Unsubscribe-Post", "List-Subscribe", "List-Post", "List-Owner", "List-Archive",
		"Autocrypt", "OpenPGP",
	}
	twice = map[string]bool{}
	for _, name := range []string{"From", "Sender", "Reply-To", "To", "Cc", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type"} {
		twice[name] = true
	}
	return all, twice
}

// Signer signs messages of one domain with all its keys.
type Signer struct {
	keys []signingKey
	now  func() time.Time
}

type signingKey struct {
	Key
	algorithm string
}

// NewSigner makes a signer; the keys are checked now and not at every message.
func NewSigner(keys []Key) (*Signer, error) {
	s := &Signer{now: time.Now}
	for _, k := range keys {
		var algorithm string
		switch p := k.Private.(type) {
		case *rsa.PrivateKey:
			if bits := p.N.BitLen(); bits < minSigningBits {
				return nil, fmt.Errorf("dkim: the key %s of %s has %d bits; it needs %d", k.Selector, k.Domain, bits, minSigningBits)
			}
			algorithm = "rsa-sha256"
		case ed25519.PrivateKey:
			algorithm = "ed25519-sha256"
		default:
			return nil, fmt.Errorf("dkim: the key %s of %s is of type %T", k.Selector, k.Domain, p)
		}
		s.keys = append(s.keys, signingKey{k, algorithm})
	}
	return s, nil
}

// Sign makes one DKIM-Signature field for each key, to be put before the message: relaxed/relaxed, the whole body.
func (s *Signer) Sign(content io.ReaderAt, size int64) ([]byte, error) {
	fields, body, err := readHeader(content, size)
	if err != nil {
		return nil, err
	}
	hash := sha256.New()
	w := bodyWriter{w: hash, canon: relaxed, limit: -1}
	if _, err := io.Copy(&w, io.NewSectionReader(content, body, size-body)); err != nil {
		return nil, fmt.Errorf("dkim: reading the message: %w", err)
	}
	w.close()
	bodySum := hash.Sum(nil)
	names := namesToSign(fields)
	var out []byte
	for _, k := range s.keys {
		f, err := s.sign(k, fields, names, bodySum)
		if err != nil {
			return nil, err
		}
		out = append(out, f...)
	}
	return out, nil
}

// namesToSign is the value of h=: each field as often as it occurs, and some once more.
func namesToSign(fields []field) (names []string) {
	all, twice := signedFields()
	count := map[string]int{}
	for _, f := range fields {
		count[f.name]++
	}
	for _, name := range all {
		n := count[strings.ToLower(name)]
		if twice[name] {
			n++
		}
		for range n {
			names = append(names, name)
		}
	}
	return names
}

func (s *Signer) sign(k signingKey, fields []field, names []string, bodySum []byte) ([]byte, error) {
	f := "DKIM-Signature: v=1; a=" + k.algorithm + "; c=relaxed/relaxed; d=" + k.Domain + ";\r\n\ts=" + k.Selector +
		"; t=" + strconv.FormatInt(s.now().Unix(), 10) + ";\r\n\th=" + fold(names) +
		";\r\n\tbh=" + base64.StdEncoding.EncodeToString(bodySum) + ";\r\n\tb="
	sig := &signature{field: field{"dkim-signature", []byte(f + "\r\n")}, header: relaxed, headers: names}
	sum := headerSum(fields, sig)
	opts := crypto.SignerOpts(crypto.SHA256)
	if _, ok := k.Private.(ed25519.PrivateKey); ok {
		opts = crypto.Hash(0) // RFC 8463 §3: the hash is the message
	}
	made, err := k.Private.Sign(rand.Reader, sum[:], opts)
	if err != nil {
		return nil, fmt.Errorf("dkim: signing for %s: %w", k.Domain, err)
	}
	out := []byte(f)
	for b64 := base64.StdEncoding.EncodeToString(made); ; {
		n := min(len(b64), 72)
		out = append(out, b64[:n]...)
		if b64 = b64[n:]; b64 == "" {
			return append(out, "\r\n"...), nil
		}
		out = append(out, "\r\n\t"...)
	}
}

// fold joins names with colons, in lines of under 78 characters (RFC 5322 §2.1.1).
func fold(names []string) string {
	var b strings.Builder
	column := 10
	for i, name := range names {
		if i > 0 {
			b.WriteByte(':')
			if column+len(name) > 70 {
				b.WriteString("\r\n\t ")
				column = 10
			}
		}
		b.WriteString(name)
		column += len(name) + 1
	}
	return b.String()
}

// Record is the TXT record to publish for the key: RFC 6376 §3.6.1.
func (k Key) Record() (name, value string, err error) {
	name = k.Selector + "._domainkey." + k.Domain
	switch p := k.Private.Public().(type) {
	case ed25519.PublicKey:
		return name, "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(p), nil
	case *rsa.PublicKey:
		der, err := marshalRSA(p)
		return name, "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der), err
	default:
		return "", "", fmt.Errorf("dkim: the key %s of %s is of type %T", k.Selector, k.Domain, p)
	}
}
