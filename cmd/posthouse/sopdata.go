package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"posthouse/crypto/pgp"
)

// The most that is read of a password or a session key, in octets.
const maxSecretInput = 64 << 10

// open opens what an argument names: a file, @ENV:NAME or @FD:NUMBER (the draft's §6.1.1).
func (s *sop) open(name string) (io.ReadCloser, error) {
	prefix, rest, special := designator(name)
	if !special {
		f, err := os.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, sopFailed("MISSING_INPUT", err)
		}
		return f, err
	}
	if _, err := os.Lstat(name); err == nil {
		return nil, sopFailed("AMBIGUOUS_INPUT", fmt.Errorf("there is a file %s", name))
	}
	switch prefix {
	case "@ENV":
		value, ok := os.LookupEnv(rest)
		if !ok {
			return nil, sopFailed("MISSING_INPUT", fmt.Errorf("%s is not set", name))
		}
		return io.NopCloser(strings.NewReader(value)), nil
	case "@FD":
		return descriptor(rest)
	}
	return nil, sopFailed("UNSUPPORTED_SPECIAL_PREFIX", errors.New(name))
}

func designator(name string) (prefix, rest string, special bool) {
	if !strings.HasPrefix(name, "@") {
		return "", "", false
	}
	prefix, rest, _ = strings.Cut(name, ":")
	return prefix, rest, true
}

func descriptor(number string) (*os.File, error) {
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil {
		return nil, sopFailed("MISSING_INPUT", fmt.Errorf("@FD:%s is no file descriptor", number))
	}
	f := os.NewFile(uintptr(n), "@FD:"+number)
	if _, err := f.Stat(); err != nil {
		return nil, sopFailed("MISSING_INPUT", err)
	}
	return f, nil
}

// create opens what output goes to besides standard output: a file that is not there yet, or @FD:NUMBER.
func (s *sop) create(name string) (io.WriteCloser, error) {
	prefix, rest, special := designator(name)
	switch {
	case special && prefix == "@FD":
		return descriptor(rest)
	case special:
		return nil, sopFailed("UNSUPPORTED_SPECIAL_PREFIX", errors.New(name))
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, sopFailed("OUTPUT_EXISTS", err)
	}
	if err != nil {
		return nil, err
	}
	s.made = append(s.made, name)
	return f, nil
}

// output puts text into an output that an option names, if it names one. It is opened with the others, before anything is done.
func (s *sop) output(option string) (func(text string) error, error) {
	name := s.text(option)
	if name == "" {
		return func(string) error { return nil }, nil
	}
	f, err := s.create(name)
	if err != nil {
		return nil, err
	}
	return func(text string) error {
		_, err := io.WriteString(f, text)
		return errors.Join(err, f.Close())
	}, nil
}

// readAll reads what names have, each by its reader.
func readAll[T any](s *sop, names []string, read func(io.Reader, int64) ([]T, error)) (all []T, err error) {
	for _, name := range names {
		r, err := s.open(name)
		if err != nil {
			return nil, err
		}
		some, err := read(r, pgp.MaxOwn)
		r.Close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, some...)
	}
	return all, nil
}

func (s *sop) certs(names []string) ([]*pgp.Cert, error) { return readAll(s, names, pgp.ReadCerts) }

// keys reads keys and unlocks those that the passwords open.
func (s *sop) keys(names []string) ([]*pgp.Key, error) {
	all, err := readAll(s, names, pgp.ReadKeys)
	if err != nil {
		return nil, err
	}
	return all, s.unlock(all, "with-key-password")
}

// unlock opens keys by the passwords that an option names. One that stays locked is told when it is needed.
func (s *sop) unlock(all []*pgp.Key, option string) error {
	passwords, err := s.passwords(option)
	for _, k := range all {
		if err == nil {
			_ = k.Unlock(passwords...)
		}
	}
	return err
}

// secret is the content of a password or a session key.
func (s *sop) secret(name string) (string, error) {
	r, err := s.open(name)
	if err != nil {
		return "", err
	}
	defer r.Close()
	text, err := io.ReadAll(io.LimitReader(r, maxSecretInput))
	return string(text), err
}

// passwords are those to open with that an option names: each as it is, and without the blanks at its end (the draft's §6.9).
func (s *sop) passwords(option string) (all []string, err error) {
	for _, name := range s.list(option) {
		p, err := s.secret(name)
		if err != nil {
			return nil, err
		}
		trimmed := strings.TrimRightFunc(p, unicode.IsSpace)
		if all = append(all, trimmed); trimmed != p {
			all = append(all, p)
		}
	}
	return all, nil
}

// newPassword is one to protect with, which somebody must be able to type again: text, without the blanks at its end.
func (s *sop) newPassword(name string) (string, error) {
	p, err := s.secret(name)
	if err != nil {
		return "", err
	}
	p = strings.TrimRightFunc(p, unicode.IsSpace)
	if !utf8.ValidString(p) || strings.ContainsFunc(p, unicode.IsControl) {
		return "", sopFailed("PASSWORD_NOT_HUMAN_READABLE", errors.New(name))
	}
	return p, nil
}

// date reads a time of an option (the draft's §6.5): "now", "-" for none, or RFC 3339; the zero time is none.
func (s *sop) date(option string) (time.Time, error) {
	switch v := s.text(option); v {
	case "", "-":
		return time.Time{}, nil
	case "now":
		return time.Now(), nil
	default:
		for _, layout := range []string{time.RFC3339, "20060102T150405Z", "2006-01-02"} {
			if t, err := time.Parse(layout, v); err == nil {
				return t, nil
			}
		}
		return time.Time{}, sopFailed("UNSUPPORTED_OPTION", fmt.Errorf("--%s=%s is no date", option, v))
	}
}

// dates are the times between which signatures count. That nothing is given for the later one means now, "-" for it means for ever.
func (s *sop) dates(prefix string, v *pgp.Verify) (err error) {
	if v.NotBefore, err = s.date(prefix + "not-before"); err != nil {
		return err
	}
	if v.NotAfter, err = s.date(prefix + "not-after"); s.text(prefix+"not-after") == "-" {
		v.NotAfter = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	return err
}

// verify is whose signatures count, with the names by which their certificates were given. Of a certificate that is given twice, all counts
// that either says: one of them may know that it is revoked.
func (s *sop) verify(names []string, prefix string) (v pgp.Verify, from map[string][]string, err error) {
	from = map[string][]string{}
	known := map[string]*pgp.Cert{}
	for _, name := range names {
		some, err := s.certs([]string{name})
		if err != nil {
			return v, nil, err
		}
		for _, c := range some {
			fpr := c.Fingerprint()
			if from[fpr] = append(from[fpr], name); known[fpr] != nil {
				known[fpr].Merge(c)
				continue
			}
			known[fpr] = c
			v.Certs = append(v.Certs, c)
		}
	}
	return v, from, s.dates(prefix, &v)
}

// verifications are the lines that say which signatures count (the draft's §5.10).
func verifications(all []pgp.Verification, from map[string][]string) string {
	var b bytes.Buffer
	for _, v := range all {
		mode := "binary"
		if v.Text {
			mode = "text"
		}
		fmt.Fprintf(&b, "%s %s %s mode:%s ", v.Time.Format("2006-01-02T15:04:05Z"), v.Signer, v.Primary, mode)
		printJSON(&b, map[string][]string{"signers": from[v.Primary]})
	}
	return b.String()
}
