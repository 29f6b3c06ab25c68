package pgp

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// Verify is whose signatures count, and of which time.
type Verify struct {
	Certs     []*Cert
	NotBefore time.Time // zero: from the beginning
	NotAfter  time.Time // zero: until now
	Now       time.Time // zero: now
}

// Verification is a signature that counts: made by a key that was allowed to sign then, is not weak, and is not compromised.
type Verification struct {
	Time    time.Time
	Signer  string // fingerprint of the key or subkey that signed
	Primary string // fingerprint of its certificate
	Text    bool   // line ends do not matter to it
}

// ring are the certificates as the library looks for them by a key ID, of which it takes the first.
type ring struct {
	openpgp.EntityList
	config *packet.Config
}

func (o Verify) ring() ring { return ring{entities(o.Certs), policy(o.Now)} }

// EntitiesById has those first whose key is really theirs: anybody can make a certificate that says that somebody else's key belongs to it,
// but for a signature by that key (RFC 9580 §10.1.5), and whose signatures would else not count.
func (r ring) EntitiesById(id uint64) []*openpgp.Entity {
	all := r.EntityList.EntitiesById(id)
	slices.SortStableFunc(all, func(a, b *openpgp.Entity) int { return cmp.Compare(r.foreign(a, id), r.foreign(b, id)) })
	return all
}

// foreign is 1 if no key of a certificate with that ID may sign for it at any time.
func (r ring) foreign(e *openpgp.Entity, id uint64) int {
	if _, ok := e.SigningKeyById(time.Time{}, id, r.config); ok {
		return 0
	}
	return 1
}

// VerifyDetached verifies signatures, in armor or not, over what data has. Errors: ErrNoSignature if none counts, ErrData, ErrTooLarge.
func VerifyDetached(data, signatures io.Reader, o Verify) (good []Verification, err error) {
	var list []byte
	err = streams(io.Discard, signatures, func(_ io.Writer, r io.Reader) (err error) {
		list, err = readSignatures(r)
		return err
	})
	if err != nil {
		return nil, err
	}
	err = streams(io.Discard, data, func(_ io.Writer, r io.Reader) (err error) {
		good, err = verifyDetached(r, list, o)
		return err
	})
	return good, err
}

func verifyDetached(data io.Reader, signatures []byte, o Verify) (good []Verification, err error) {
	md, err := openpgp.VerifyDetachedSignatureReader(o.ring(), data, bytes.NewReader(signatures), policy(o.Now))
	if err != nil {
		return nil, because(ErrNoSignature, err)
	}
	if _, err := io.Copy(io.Discard, md.UnverifiedBody); err != nil {
		return nil, because(ErrData, err)
	}
	if good = o.counting(md, nil); len(good) == 0 {
		return nil, because(ErrNoSignature, reason(md))
	}
	return good, nil
}

// reason is why a signature does not count.
func reason(md *openpgp.MessageDetails) error {
	if md.SignatureError != nil {
		return md.SignatureError
	}
	return ErrNoSignature
}

// readSignatures reads detached signatures, of which there may be so many.
func readSignatures(r io.Reader) ([]byte, error) {
	in, err := dearmored(io.LimitReader(r, 2*maxSignatureFile))
	if err != nil {
		return nil, err
	}
	list, err := readAtMost(in.body, maxSignatureFile)
	if err != nil {
		return nil, err
	}
	p, n := newPackets(bytes.NewReader(list)), 0
	for {
		tag, _, err := p.next()
		switch {
		case errors.Is(err, io.EOF) && n > 0:
			return list, nil
		case err != nil:
			return nil, ended(err)
		case tag != tagSignature:
			return nil, fmt.Errorf("%w: a packet of type %d among signatures", ErrData, tag)
		}
		if n++; n > MaxSignatures {
			return nil, fmt.Errorf("%w: over %d signatures", ErrTooLarge, MaxSignatures)
		}
	}
}

// VerifyInline verifies a signed message, of packets or in the cleartext framework, and writes its text to w: all of it, or nothing if no
// signature counts. Errors: ErrNoSignature, ErrData, ErrTooLarge.
func VerifyInline(w io.Writer, r io.Reader, o Verify) (good []Verification, err error) {
	text := &spooled{}
	defer text.close()
	err = streams(w, r, func(w io.Writer, r io.Reader) error {
		md, below, err := splitInline(text, r, o)
		switch {
		case err != nil:
			return err
		case md != nil:
			good = o.counting(md, nil)
		default:
			signed, err := text.reader()
			if err != nil {
				return err
			}
			if good, err = verifyDetached(signed, below, o); err != nil {
				return err
			}
		}
		if len(good) == 0 {
			return because(ErrNoSignature, reason(md))
		}
		return text.to(w)
	})
	if err != nil {
		return nil, err
	}
	return good, nil
}

// DetachInline writes the text of a signed message to w and its signatures, without armor, to signatures. Nothing is verified, so the text is
// worth nothing yet. Errors: ErrData, also if there is no signature, ErrTooLarge.
func DetachInline(w, signatures io.Writer, r io.Reader) error {
	text := &spooled{}
	defer text.close()
	return streams(w, r, func(w io.Writer, r io.Reader) error {
		md, below, err := splitInline(text, r, Verify{})
		if err != nil {
			return err
		}
		if md != nil {
			if below, err = signaturesOf(md); err != nil {
				return err
			}
		}
		if _, err := signatures.Write(below); err != nil {
			return err
		}
		return text.to(w)
	})
}

// signaturesOf are the packets of a message's signatures.
func signaturesOf(md *openpgp.MessageDetails) ([]byte, error) {
	var all bytes.Buffer
	for _, s := range md.SignatureCandidates {
		if s.CorrespondingSig == nil {
			return nil, fmt.Errorf("%w: a signature is missing", ErrData)
		}
		if err := s.CorrespondingSig.Serialize(&all); err != nil {
			return nil, unreadable(err)
		}
	}
	if all.Len() == 0 {
		return nil, fmt.Errorf("%w: it is not signed", ErrData)
	}
	return all.Bytes(), nil
}

// splitInline writes a signed message's text, and gives back what the library found in its packets, or else the signatures below a cleartext.
func splitInline(text *spooled, r io.Reader, o Verify) (md *openpgp.MessageDetails, below []byte, err error) {
	in := bufio.NewReaderSize(r, maxCleartextLine)
	if start, _ := in.Peek(len(cleartext)); string(start) == cleartext {
		below, err = readCleartext(text, in)
		return nil, below, err
	}
	data, err := dearmored(in)
	if err == nil {
		md, err = readMessage(text, data.body, o)
	}
	return md, nil, err
}

// readMessage writes the text of a message that is not, or not any more, encrypted. Compressed packets are opened here, so that what is in
// them can be counted before the library reads it.
func readMessage(text io.Writer, r io.Reader, o Verify) (*openpgp.MessageDetails, error) {
	var outer []*packets
	in := bufio.NewReader(r)
	for {
		p := newPackets(in)
		tag, err := p.tag()
		if err != nil {
			return nil, ended(err)
		}
		if tag != tagCompressed {
			break
		}
		if outer = append(outer, p); len(outer) > maxNesting {
			return nil, fmt.Errorf("%w: compressed over and over", ErrTooLarge)
		}
		inside, err := decompressed(p, policy(o.Now).DecompressedMessageSizeLimit())
		if err != nil {
			return nil, err
		}
		in = bufio.NewReader(inside)
	}
	whole, err := countSignatures(in)
	if err != nil {
		return nil, err
	}
	md, err := openpgp.ReadMessage(whole, o.ring(), nil, policy(o.Now))
	if err != nil {
		return nil, unreadable(err)
	}
	if _, err := io.Copy(text, md.UnverifiedBody); err != nil {
		return nil, readingFailed(err)
	}
	for _, p := range outer {
		if _, _, err := p.next(); !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%w: there is more after the message", ErrData)
		}
	}
	return md, nil
}

// decompressed is what a compressed packet holds, of which there may be so much.
func decompressed(p *packets, limit *int64) (io.Reader, error) {
	_, content, err := p.next()
	if err != nil {
		return nil, ended(err)
	}
	const untilEnd = 0x80 | tagCompressed<<2 | 3 // the header of a packet that goes on until the input ends
	one, err := packet.Read(io.MultiReader(bytes.NewReader([]byte{untilEnd}), content))
	if err != nil {
		return nil, unreadable(err)
	}
	c, ok := one.(*packet.Compressed)
	if !ok {
		return nil, fmt.Errorf("%w: not a compressed packet", ErrData)
	}
	return c.LimitedBodyReader(limit), nil
}

// countSignatures reads what stands before the text, and gives all back. Each signature costs a hash over the text, so there may not be many.
func countSignatures(in *bufio.Reader) (io.Reader, error) {
	var before []byte
	p := newPackets(in)
	for n := 0; ; n++ {
		tag, err := p.tag()
		if err != nil {
			return nil, ended(err)
		}
		switch tag {
		case tagLiteral:
			return io.MultiReader(bytes.NewReader(before), in), nil
		case tagOnePass, tagSignature, tagMarker, tagPadding:
		default:
			return nil, fmt.Errorf("%w: a packet of type %d before the text", ErrData, tag)
		}
		if n == MaxSignatures {
			return nil, fmt.Errorf("%w: over %d signatures", ErrTooLarge, MaxSignatures)
		}
		tag, r, err := p.next()
		if err != nil {
			return nil, ended(err)
		}
		content, err := readAtMost(r, maxSignatureFile)
		if err != nil {
			return nil, err
		}
		before = appendPacket(before, tag, content)
	}
}

// counting are the signatures that count. Who decrypted the message, if anybody did by a key, must be among those whom a signature names, if
// it names any (RFC 9580 §5.2.3.36): else somebody has passed on what was meant for him.
func (o Verify) counting(md *openpgp.MessageDetails, decrypter *reader) (good []Verification) {
	latest := o.NotAfter
	if latest.IsZero() {
		latest = policy(o.Now).Now()
	}
	for _, c := range md.SignatureCandidates {
		s := c.CorrespondingSig
		if s == nil || c.SignedBy == nil || c.SignatureError != nil {
			continue // IsVerified only means that somebody looked
		}
		if s.CreationTime.Before(o.NotBefore) || s.CreationTime.After(latest) || !decrypter.named(s) {
			continue
		}
		good = append(good, Verification{Time: s.CreationTime.UTC(), Text: s.SigType == packet.SigTypeText,
			Signer: fingerprint(c.SignedBy.PublicKey.Fingerprint), Primary: fingerprint(c.SignedByEntity.PrimaryKey.Fingerprint)})
	}
	return good
}

// reader is who decrypted a message; nil for nobody that has a fingerprint.
type reader struct{ fingerprint []byte }

// named says whether a signature is meant for the reader.
func (r *reader) named(s *packet.Signature) bool {
	return r == nil || len(s.IntendedRecipients) == 0 ||
		slices.ContainsFunc(s.IntendedRecipients, func(to *packet.Recipient) bool { return bytes.Equal(to.Fingerprint, r.fingerprint) })
}
