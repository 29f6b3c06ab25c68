package password

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"hash"

	"github.com/xdg-go/stringprep"
)

// Hash is a hash function that SCRAM runs on, by its name in the mechanism's.
type Hash string

// The hash functions of SCRAM: RFC 7677, and RFC 5802 for old clients.
const (
	SHA256 Hash = "SHA-256"
	SHA1   Hash = "SHA-1"
)

func (h Hash) new() hash.Hash {
	if h == SHA1 {
		return sha1.New()
	}
	return sha256.New()
}

// Size is how many octets a key or a proof has.
func (h Hash) Size() int { return h.new().Size() }

func (h Hash) sum(b []byte) []byte {
	f := h.new()
	f.Write(b)
	return f.Sum(nil)
}

func (h Hash) mac(key, message []byte) []byte {
	m := hmac.New(h.new, key)
	m.Write(message)
	return m.Sum(nil)
}

// Keys are what a server keeps of a password for SCRAM: RFC 5802 §3. Who has them can guess at the password as fast as the iterations
// allow, and play the server; not the client.
type Keys struct{ Stored, Server []byte }

// Salting is how SCRAM salts a password.
type Salting struct {
	Hash       Hash
	Salt       []byte
	Iterations int
}

// Keys makes the keys of a password. It costs CPU on purpose, and waits for its turn as a hash does.
func (h *Hasher) Keys(ctx context.Context, s Salting, password string) (Keys, error) {
	if err := h.turn(ctx); err != nil {
		return Keys{}, err
	}
	defer h.turns.Release(1)
	salted, err := pbkdf2.Key(s.Hash.new, normalized(password), s.Salt, s.Iterations, s.Hash.Size())
	if err != nil {
		return Keys{}, err
	}
	return Keys{
		Stored: s.Hash.sum(s.Hash.mac(salted, []byte("Client Key"))),
		Server: s.Hash.mac(salted, []byte("Server Key")),
	}, nil
}

// normalized is the password as SCRAM's clients hash it: SASLprep, RFC 5802 §2.2. One that has no such form is taken as it is.
func normalized(password string) string {
	if prepared, err := stringprep.SASLprep.Prepare(password); err == nil {
		return prepared
	}
	return password
}

// Check tells whether a proof was made with the password over the message: RFC 5802 §3.
func (k Keys) Check(h Hash, message, proof []byte) bool {
	signature := h.mac(k.Stored, message)
	if len(proof) != len(signature) {
		return false
	}
	client := make([]byte, len(proof))
	subtle.XORBytes(client, proof, signature)
	return subtle.ConstantTimeCompare(h.sum(client), k.Stored) == 1
}

// Sign is the server's signature over the message.
func (k Keys) Sign(h Hash, message []byte) []byte { return h.mac(k.Server, message) }
