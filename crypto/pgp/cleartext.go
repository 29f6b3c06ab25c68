package pgp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// SignCleartext writes the text that r has to w in the cleartext framework (RFC 9580 §7), as it reads. Blanks at line ends are not signed,
// and not written; a line may have 1 MiB. The framework is ours, since older programs want a checksum below it, which the library's has not.
// Errors: ErrCannotSign, ErrLocked, ErrNotText, ErrTooLarge.
func SignCleartext(w io.Writer, r io.Reader, o Sign) error { return streams(w, r, o.cleartext) }

func (o Sign) cleartext(w io.Writer, r io.Reader) error {
	hashes, err := o.hashHeader()
	if err != nil {
		return err
	}
	var made bytes.Buffer
	signer, err := openpgp.DetachSignWriter(&made, entities(o.Signers), &openpgp.SignParams{TextSig: true, Config: policy(o.Now)})
	if err != nil {
		return unreadable(err)
	}
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "%s\n%s\n", cleartext, hashes) // an error stays with out
	if err := clearText(out, signer, text(r, true)); err != nil {
		return err
	}
	if err := signer.Close(); err != nil {
		return err
	}
	out.WriteByte('\n')
	armor, err := newArmor(out, labelSignature, o.checksum())
	if err != nil {
		return err
	}
	if _, err := armor.Write(made.Bytes()); err != nil {
		return err
	}
	if err := armor.Close(); err != nil {
		return err
	}
	return out.Flush()
}

// hashHeader is the header that names the hashes for those who read version 4 (RFC 9580 §7.1). Which they are is seen in a signature over
// nothing: it follows from what the keys prefer.
func (o Sign) hashHeader() (string, error) {
	var made bytes.Buffer
	o.Armor = false
	_, err := o.detached(&made, bytes.NewReader(nil))
	if err != nil || !slices.ContainsFunc(o.Signers, func(k *Key) bool { return k.Version() == 4 }) {
		return "", err
	}
	all, err := hashesOf(made.Bytes())
	if err != nil {
		return "", err
	}
	var names []string
	for _, h := range all {
		names = append(names, hashName(h))
	}
	return "Hash: " + strings.Join(names, ",") + "\n", nil
}

// clearText writes a text line by line: escaped to out, and as it is signed to the signer (RFC 9580 §7.2).
func clearText(out, signer io.Writer, r io.Reader) error {
	in := bufio.NewReaderSize(r, maxCleartextLine)
	for end := ""; ; end = "\n" {
		line, err := in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return fmt.Errorf("%w: a line over %d octets", ErrTooLarge, maxCleartextLine)
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		line = bytes.TrimRight(line, " \t\r\n")
		escape := ""
		if bytes.HasPrefix(line, []byte("-")) || bytes.HasPrefix(line, []byte("From ")) {
			escape = "- "
		}
		if _, err := fmt.Fprintf(out, "%s%s%s", end, escape, line); err != nil {
			return err
		}
		if _, err := fmt.Fprintf(signer, "%s%s", end, line); err != nil {
			return err
		}
		if err != nil {
			return nil // what follows the last line end is a line, an empty one as a rule
		}
	}
}

// readCleartext reads a message in the cleartext framework (RFC 9580 §7): writes the text that is signed, each line without the blanks at
// its end, and gives back the signatures. Only what is signed comes out, so there is no difference between what is read and what is verified.
func readCleartext(text io.Writer, in *bufio.Reader) ([]byte, error) {
	lines := clearLines{in}
	for first := true; ; first = false { // the first line, and the headers, of which "Hash" says nothing that the signature does not
		line, err := lines.next()
		if err != nil {
			return nil, err
		}
		if len(line) == 0 {
			break
		}
		if !first && !bytes.HasPrefix(line, []byte("Hash: ")) { // RFC 9580 §7.1: no other header may be there
			return nil, fmt.Errorf("%w: a header in a cleartext that is not Hash", ErrData)
		}
	}
	for end := ""; ; end = "\n" { // the last line end belongs to the framework
		start, err := in.Peek(len(armorStart))
		if err != nil && len(start) == 0 {
			return nil, ended(err)
		}
		if string(start) == armorStart {
			return readSignatures(in)
		}
		line, err := lines.next()
		if err != nil {
			return nil, err
		}
		if rest, escaped := bytes.CutPrefix(line, []byte("- ")); escaped {
			line = rest
		} else if bytes.HasPrefix(line, []byte("-")) {
			return nil, fmt.Errorf("%w: a line with a dash that is not escaped", ErrData)
		}
		if _, err := text.Write(append([]byte(end), line...)); err != nil {
			return nil, err
		}
	}
}

// clearLines reads lines without their ends and the blanks before these.
type clearLines struct{ in *bufio.Reader }

func (c clearLines) next() ([]byte, error) {
	line, err := c.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return nil, fmt.Errorf("%w: a line over %d octets", ErrTooLarge, maxCleartextLine)
	}
	if err != nil {
		return nil, ended(err)
	}
	return bytes.TrimRight(line, " \t\r\n"), nil
}
