package pgp

// What is taken of strangers and of one's own files.
const (
	// MaxForeign is the largest certificate that is taken from strangers, in octets without armor.
	MaxForeign = 64 << 10
	// MaxOwn is the largest file of certificates or keys that is taken from its owner, in octets without armor.
	MaxOwn = 2 << 20
	// MaxMessage is the longest text that comes out of a compressed message, in octets: a small message can ask for any amount.
	MaxMessage = 4 << 30
	// MaxSignatures is how many signatures a message or a file of signatures may have. Each costs a hash over the whole text.
	MaxSignatures = 32
	// MaxRecipients is how many recipients an encrypted message may have.
	MaxRecipients = 1000

	maxCerts         = 1000      // certificates in one input
	maxSubkeys       = 100       // of a certificate
	maxUserIDs       = 100       // of a certificate
	maxUserID        = 2048      // octets of a user ID
	maxBindings      = 1000      // signatures of a certificate: each may have to be verified
	maxSignatureFile = 256 << 10 // octets of detached signatures, without armor
	maxSessionKey    = 8 << 10   // octets of one packet with an encrypted session key; the post-quantum ones have 1,700
	maxPasswordKeys  = 16        // packets with a session key for a password: each may cost an Argon2
	maxArmorLine     = 4 << 10   // octets of a line before or in armor
	maxHeld          = 4 << 20   // octets of plaintext kept in memory until it may go out; more is in a file
	maxNesting       = 4         // compressed packets in one another
	maxArgonMemory   = 18        // Argon2 takes 2^18 KiB at most: 256 MiB (RFC 9580 §3.7.1.4 lets it ask for 2 TiB)
	maxArgonPasses   = 10        // of Argon2
	maxArgonThreads  = 16        // of Argon2
	minRSA           = 2048      // bits of a key that counts
	maxCleartextLine = 1 << 20   // octets of a line in a cleartext-signed message
)
