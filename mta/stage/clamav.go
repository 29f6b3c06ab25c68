package stage

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"posthouse/mail/smtp"
)

const (
	clamTime  = 3 * time.Minute // for the scan of one message: clamd gives up after two
	maxClam   = 4 << 10         // octets of an answer of clamd
	clamChunk = 64 << 10
)

// ClamAV has clamd look for viruses, by its INSTREAM command. While clamd does not answer, mail waits at its sender. What is larger than
// MaxSize is not scanned, and goes into quarantine: it cannot be a way around the scan.
type ClamAV struct {
	Network, Address string // as of net.Dial: "unix", "/run/clamav/clamd.ctl"
	Action           Action // on what is infected: Refuse or Quarantine
	MaxSize          int64  // octets; at most clamd's StreamMaxLength
}

// Name is Stage.
func (ClamAV) Name() string { return "clamav" }

// Patience is Patient.
func (ClamAV) Patience() time.Duration { return clamTime }

var (
	infected   = smtp.Reply{Code: 554, Enhanced: smtp.Enhanced{5, 7, 1}, Text: "the message has a virus"}
	notScanned = smtp.Reply{Code: 451, Enhanced: smtp.Enhanced{4, 3, 0}, Text: "the message cannot be scanned now, try again later"}
)

var (
	errClamAV   = errors.New("clamd did not scan")
	errClamSize = errors.New("clamd takes less than max_size")
)

// Judge is DataStage.
func (s ClamAV) Judge(ctx context.Context, m *Message) Verdict {
	if m.Size > s.MaxSize {
		return Verdict{Action: Quarantine, Result: "too-big", Detail: fmt.Sprintf("%d octets are not scanned", m.Size)}
	}
	virus, err := s.scan(ctx, m)
	switch {
	case errors.Is(err, errClamSize): // it would be no other the next time
		return Verdict{Action: Quarantine, Result: "too-big", Detail: clean(err.Error())}
	case err != nil:
		return Verdict{Result: "temperror", Detail: clean(err.Error())}.answered(notScanned)
	case virus != "":
		return Verdict{Result: "infected", Detail: clean(virus)}.by(s.Action, infected)
	}
	return Verdict{Result: "clean"}
}

// scan is the name of what clamd found; empty: nothing.
func (s ClamAV) scan(ctx context.Context, m *Message) (virus string, err error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, s.Network, s.Address)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) }) //nolint:errcheck // a closed connection ends the wait as well
	defer stop()
	sent := stream(conn, io.NewSectionReader(m.Content, 0, m.Size))
	// What clamd says matters even if it did not hear the end: it may have had enough. But that is no word on the rest.
	answer, err := bufio.NewReader(io.LimitReader(conn, maxClam)).ReadString(0)
	if err != nil {
		return "", errors.Join(err, sent)
	}
	if virus, err = parseClam(strings.TrimRight(answer, "\x00\n")); virus == "" {
		err = errors.Join(err, sent)
	}
	return virus, err
}

// parseClam reads "stream: OK" or "stream: NAME FOUND"; all else is an error.
func parseClam(answer string) (virus string, err error) {
	if strings.HasPrefix(answer, "INSTREAM size limit exceeded") {
		return "", fmt.Errorf("%w: %.200q", errClamSize, answer)
	}
	result, ok := strings.CutPrefix(answer, "stream: ")
	if ok && result == "OK" {
		return "", nil
	}
	if name, found := strings.CutSuffix(result, " FOUND"); ok && found && name != "" {
		return name, nil
	}
	return "", fmt.Errorf("%w: %.200q", errClamAV, answer)
}

// stream sends content in chunks, each after its length; one of no length is the last.
func stream(w io.Writer, content io.Reader) error {
	if _, err := io.WriteString(w, "zINSTREAM\x00"); err != nil {
		return err
	}
	buf := make([]byte, 4+clamChunk)
	for {
		n, err := io.ReadFull(content, buf[4:])
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		binary.BigEndian.PutUint32(buf, uint32(n))
		if _, err := w.Write(buf[:4+n]); err != nil || n == 0 {
			return err
		}
	}
}
