package dkim

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"
)

// Verify checks the DKIM-Signature fields of a message, at most MaxSignatures, in their order. Its error is one of reading the message;
// all that can be wrong with a signature is in its Result.
func Verify(ctx context.Context, txt TXT, content io.ReaderAt, size int64) ([]Signature, error) {
	fields, body, err := readHeader(content, size)
	if errors.Is(err, errNoHeader) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var sigs []*signature
	for _, f := range fields {
		if f.name == "dkim-signature" && len(sigs) < MaxSignatures {
			s, err := parseSignature(f, time.Now())
			s.end(PermError, err)
			sigs = append(sigs, &s)
		}
	}
	if err := hashBodies(sigs, io.NewSectionReader(content, body, size-body)); err != nil {
		return nil, err
	}
	results := make([]Signature, len(sigs))
	for i, s := range sigs {
		if s.Result == "" {
			s.verify(ctx, txt, fields)
		}
		results[i] = s.Signature
	}
	return results, nil
}

// end gives the signature its result, if err says that it has one now.
func (s *signature) end(r Result, err error) {
	if err != nil {
		s.Result, s.Reason = r, err.Error()
	}
}

// bodyForm is one way to hash a body; signatures that agree on it share the work.
type bodyForm struct {
	canon  canon
	length int64
}

type bodyHash struct {
	writer bodyWriter
	hash   hash.Hash
}

// hashBodies reads the body once for all signatures that are still undecided, and ends those whose bh= differs.
func hashBodies(sigs []*signature, body io.Reader) error {
	forms := map[bodyForm]*bodyHash{}
	var writers []io.Writer
	for _, s := range sigs {
		if _, ok := algorithmKind(s.Algorithm); !ok && s.Result == "" {
			s.end(PermError, errors.New("unknown algorithm")) // RFC 8301 §3.1: rsa-sha1 too
		}
		form := bodyForm{s.body, s.length}
		if s.Result != "" || forms[form] != nil {
			continue
		}
		h := &bodyHash{hash: sha256.New()}
		h.writer = bodyWriter{w: h.hash, canon: s.body, limit: s.length}
		forms[form] = h
		writers = append(writers, &h.writer)
	}
	if len(writers) == 0 {
		return nil
	}
	if _, err := io.Copy(io.MultiWriter(writers...), body); err != nil {
		return fmt.Errorf("dkim: reading the message: %w", err)
	}
	sums := map[bodyForm][]byte{}
	for form, h := range forms {
		h.writer.close()
		sums[form] = h.hash.Sum(nil)
	}
	for _, s := range sigs {
		if s.Result != "" {
			continue
		}
		form := bodyForm{s.body, s.length}
		total := forms[form].writer.total
		switch {
		case s.length > total:
			s.end(PermError, errors.New("l= is beyond the body"))
		case subtle.ConstantTimeCompare(sums[form], s.bodySum) != 1:
			s.end(Fail, errors.New("the body was changed"))
		case s.length >= 0 && s.length < total:
			s.end(Policy, errors.New("the signature leaves a part of the body out")) // RFC 6376 §8.2: anybody could append to it
		}
	}
	return nil
}

// verify looks the key up and checks the header.
func (s *signature) verify(ctx context.Context, txt TXT, fields []field) {
	k, result, err := lookupKey(ctx, txt, s)
	if err == nil {
		result, err = k.fits(s)
	}
	if err != nil {
		s.end(result, err)
		return
	}
	if !k.check(headerSum(fields, s), s.sig) {
		s.end(Fail, errors.New("the signature does not fit the header"))
		return
	}
	s.Result = Pass
}

// headerSum hashes the fields h= names and then the signature's own field: RFC 6376 §3.7.
func headerSum(fields []field, s *signature) (sum [sha256.Size]byte) {
	h := sha256.New()
	pick(h, fields, s.headers, s.header)
	own := s.header.header(withoutB(s.field))
	if s.header == relaxed {
		own = own[:len(own)-2] // header put a CRLF
	}
	h.Write(own)
	return [sha256.Size]byte(h.Sum(nil))
}
