package main

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"posthouse/crypto/pgp"
)

func sopVersion() *cobra.Command {
	return options(sopCommand("version", "Print the version", 0, func(s *sop, _ []string) error {
		var asked []string
		for _, o := range []string{"backend", "extended", "sop-spec", "sopv"} {
			if s.is(o) {
				asked = append(asked, o)
			}
		}
		if len(asked) > 1 {
			return sopFailed("INCOMPATIBLE_OPTIONS", errors.New("one of them at a time"))
		}
		own := "posthouse " + version() + "\n"
		says := map[string]string{"": own, "backend": backend() + "\n", "extended": own + backend() + "\n" + sopSpec + "\n",
			"sop-spec": sopSpec + "\n", "sopv": "1.0\n"}
		_, err := io.WriteString(s.out, says[strings.Join(asked, "")])
		return err
	}), "backend", "extended", "sop-spec", "sopv")
}

// backend is the library that does the cryptography.
func backend() string {
	const module = "github.com/ProtonMail/go-crypto"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			if d.Path == module {
				return "go-crypto " + d.Version
			}
		}
	}
	return "go-crypto"
}

// profiles are those of generate-key and of encrypt; the first is what is made if none is named.
func profiles() []string { return []string{"rfc4880", "rfc9580"} }

func sopListProfiles() *cobra.Command {
	return sopCommand("list-profiles SUBCOMMAND", "Print the profiles of a command", 1, func(s *sop, args []string) error {
		about := map[string][2]string{
			"generate-key": {"version 4: what every program in use reads", "version 6, RFC 9580"},
			"encrypt":      {"passwords as RFC 4880 has them", "passwords by Argon2, in SEIPDv2; certificates say themselves what they read"},
		}[args[0]]
		if about[0] == "" {
			return sopFailed("UNSUPPORTED_PROFILE", fmt.Errorf("%s has none", args[0]))
		}
		for i, p := range profiles() {
			if _, err := fmt.Fprintf(s.out, "%s: %s\n", p, about[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *sop) profile() (pgp.Profile, error) {
	switch p := s.text("profile"); p {
	case "", "default", "rfc4880":
		return pgp.Classic, nil
	case "rfc9580":
		return pgp.Modern, nil
	default:
		return 0, sopFailed("UNSUPPORTED_PROFILE", errors.New(p))
	}
}

func sopGenerateKey() *cobra.Command {
	return options(sopCommand("generate-key [USERID…]", "Make a secret key", 0, func(s *sop, args []string) error {
		p, err := s.profile()
		if err != nil {
			return err
		}
		if p == pgp.Classic && len(args) == 0 {
			return sopFailed("MISSING_ARG", errors.New("a version 4 key needs a user ID"))
		}
		passwords := s.list("with-key-password")
		if len(passwords) > 1 {
			return sopFailed("INCOMPATIBLE_OPTIONS", errors.New("one password at most"))
		}
		k, err := pgp.GenerateKey(pgp.Generate{Profile: p, UserIDs: args, SigningOnly: s.is("signing-only")})
		if errors.Is(err, pgp.ErrUserID) {
			return sopFailed("EXPECTED_TEXT", err)
		}
		for _, name := range passwords {
			var password string
			if err == nil {
				password, err = s.newPassword(name)
			}
			if err == nil {
				err = k.Lock(password)
			}
		}
		if err != nil {
			return err
		}
		return s.writeKeys([]*pgp.Key{k})
	}), "no-armor", "profile=", "signing-only", "with-key-password=…")
}

func (s *sop) writeKeys(all []*pgp.Key) error { return writeEach(s, all, pgp.WriteKeys) }

func (s *sop) writeCerts(all []*pgp.Cert) error { return writeEach(s, all, pgp.WriteCerts) }

// writeEach prints keys or certificates, in armor unless octets are asked for.
func writeEach[T interface{ Write(w io.Writer) error }](s *sop, all []T, armored func(io.Writer, []T) error) error {
	if !s.is("no-armor") {
		return armored(s.out, all)
	}
	for _, each := range all {
		if err := each.Write(s.out); err != nil {
			return err
		}
	}
	return nil
}

func certsOf(keys []*pgp.Key) []*pgp.Cert {
	all := make([]*pgp.Cert, len(keys))
	for i, k := range keys {
		all[i] = k.Public()
	}
	return all
}

func sopExtractCert() *cobra.Command {
	return options(sopCommand("extract-cert", "The certificates of secret keys", 0, func(s *sop, _ []string) error {
		keys, err := pgp.ReadKeys(s.in, pgp.MaxOwn)
		if err != nil {
			return err
		}
		return s.writeCerts(certsOf(keys))
	}), "no-armor")
}

func sopChangeKeyPassword() *cobra.Command {
	return options(sopCommand("change-key-password", "Protect secret keys by another password, or by none", 0, func(s *sop, _ []string) error {
		keys, err := pgp.ReadKeys(s.in, pgp.MaxOwn)
		if err != nil {
			return err
		}
		if err := s.unlock(keys, "old-key-password"); err != nil {
			return err
		}
		password := ""
		if name := s.text("new-key-password"); name != "" {
			if password, err = s.newPassword(name); err != nil {
				return err
			}
		}
		for _, k := range keys {
			if k.Locked() {
				return pgp.ErrLocked
			}
			if password != "" {
				if err := k.Lock(password); err != nil {
					return err
				}
			}
		}
		return s.writeKeys(keys)
	}), "no-armor", "new-key-password=", "old-key-password=…")
}

func sopRevokeKey() *cobra.Command {
	return options(sopCommand("revoke-key", "The certificates of secret keys, revoked", 0, func(s *sop, _ []string) error {
		keys, err := pgp.ReadKeys(s.in, pgp.MaxOwn)
		if err == nil {
			err = s.unlock(keys, "with-key-password")
		}
		for _, k := range keys {
			if err == nil {
				err = k.Revoke(time.Now())
			}
		}
		if err != nil {
			return err
		}
		return s.writeCerts(certsOf(keys))
	}), "no-armor", "with-key-password=…")
}

func sopUpdateKey() *cobra.Command {
	return options(sopCommand("update-key", "Keep secret keys good", 0, func(s *sop, _ []string) error {
		keys, err := pgp.ReadKeys(s.in, pgp.MaxOwn)
		if err == nil {
			err = s.unlock(keys, "with-key-password")
		}
		if err != nil {
			return err
		}
		more, err := s.certs(s.list("merge-certs"))
		if err != nil {
			return err
		}
		for _, k := range keys {
			for _, c := range more {
				k.Merge(c)
			}
			if err := k.Update(pgp.Update{SigningOnly: s.is("signing-only"), NoCapabilities: s.is("no-added-capabilities")}); err != nil {
				return err
			}
		}
		return s.relock(keys)
	}), "no-armor", "signing-only", "no-added-capabilities", "with-key-password=…", "merge-certs=…")
}

// relock writes keys, protected again by the first of the passwords that they were given with.
func (s *sop) relock(keys []*pgp.Key) error {
	if names := s.list("with-key-password"); len(names) > 0 {
		password, err := s.newPassword(names[0])
		for _, k := range keys {
			if err == nil {
				err = k.Lock(password)
			}
		}
		if err != nil {
			return err
		}
	}
	return s.writeKeys(keys)
}

func sopMergeCerts() *cobra.Command {
	return options(sopCommand("merge-certs [CERTS…]", "Add to certificates what others know of them", 0, func(s *sop, args []string) error {
		base, err := pgp.ReadCerts(s.in, pgp.MaxOwn)
		if err != nil {
			return err
		}
		more, err := s.certs(args)
		if err != nil {
			return err
		}
		for _, c := range base {
			for _, other := range more {
				c.Merge(other)
			}
		}
		return s.writeCerts(base)
	}), "no-armor")
}

func sopCertifyUserID() *cobra.Command {
	return options(sopCommand("certify-userid KEYS…", "Vouch for user IDs of certificates", 1, func(s *sop, args []string) error {
		ids := s.list("userid")
		if len(ids) == 0 {
			return sopFailed("MISSING_ARG", errors.New("--userid"))
		}
		keys, err := s.keys(args)
		if err != nil {
			return err
		}
		certs, err := pgp.ReadCerts(s.in, pgp.MaxOwn)
		if err != nil {
			return err
		}
		for _, c := range certs {
			for _, id := range ids {
				for _, k := range keys {
					if err := k.Certify(c, pgp.Certify{UserID: id, Unsigned: s.is("no-require-self-sig")}); err != nil {
						return err
					}
				}
			}
		}
		return s.writeCerts(certs)
	}), "no-armor", "userid=…", "with-key-password=…", "no-require-self-sig")
}

func sopValidateUserID() *cobra.Command {
	short := "Whether authorities vouch for a user ID of all certificates"
	return options(sopCommand("validate-userid USERID CERTS…", short, 2, func(s *sop, args []string) error {
		at, err := s.date("validate-at")
		if err != nil {
			return err
		}
		authorities, err := s.certs(args[1:])
		if err != nil {
			return err
		}
		certs, err := pgp.ReadCerts(s.in, pgp.MaxOwn)
		if err != nil {
			return err
		}
		for _, c := range certs {
			if err := c.Validate(pgp.Validate{UserID: args[0], AddressOnly: s.is("addr-spec-only"), Now: at}, authorities); err != nil {
				return err
			}
		}
		return nil
	}), "addr-spec-only", "validate-at=")
}
