package main

import (
	"errors"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"posthouse/crypto/pgp"
)

// as is what the option --as says, which must be one of some words; the first is what it is if it is not given.
func (s *sop) as(words ...string) (string, error) {
	v := s.text("as")
	for _, w := range words {
		if v == w || v == "" {
			return w, nil
		}
	}
	return "", sopFailed("UNSUPPORTED_OPTION", errors.New("--as="+v))
}

func sopSign() *cobra.Command {
	return options(sopCommand("sign KEYS…", "Signatures over data, apart from them", 1, func(s *sop, args []string) error {
		as, err := s.as("binary", "text")
		if err != nil {
			return err
		}
		keys, err := s.keys(args)
		if err != nil {
			return err
		}
		tell, err := s.output("micalg-out")
		if err != nil {
			return err
		}
		micalg, err := pgp.SignDetached(s.out, s.in, pgp.Sign{Signers: keys, Text: as == "text", Armor: !s.is("no-armor")})
		if err != nil {
			return err
		}
		return tell(micalg)
	}), "no-armor", "as=", "micalg-out=", "with-key-password=…")
}

func sopVerify() *cobra.Command {
	return options(sopCommand("verify SIGNATURES CERTS…", "Which signatures over data count", 2, func(s *sop, args []string) error {
		v, from, err := s.verify(args[1:], "")
		if err != nil {
			return err
		}
		signatures, err := s.open(args[0])
		if err != nil {
			return err
		}
		defer signatures.Close()
		good, err := pgp.VerifyDetached(s.in, signatures, v)
		if err != nil {
			return err
		}
		_, err = io.WriteString(s.out, verifications(good, from))
		return err
	}), "not-before=", "not-after=")
}

func sopEncrypt() *cobra.Command {
	return options(sopCommand("encrypt [CERTS…]", "Encrypt, and sign, a message", 0, func(s *sop, args []string) error {
		profile, err := s.profile()
		if err != nil {
			return err
		}
		as, err := s.as("binary", "text")
		if err != nil {
			return err
		}
		if len(args)+len(s.list("with-password")) == 0 {
			return sopFailed("MISSING_ARG", errors.New("for whom? certificates or --with-password"))
		}
		signers, err := s.keys(s.list("sign-with"))
		if err != nil {
			return err
		}
		to, err := s.certs(args)
		if err != nil {
			return err
		}
		var passwords []string
		for _, name := range s.list("with-password") {
			p, err := s.newPassword(name)
			if err != nil {
				return err
			}
			passwords = append(passwords, p)
		}
		return pgp.EncryptTo(s.out, s.in, pgp.Encrypt{To: to, Passwords: passwords, Signers: signers, Profile: profile,
			Text: as == "text", Armor: !s.is("no-armor")})
	}), "no-armor", "as=", "profile=", "with-password=…", "sign-with=…", "with-key-password=…")
}

func sopDecrypt() *cobra.Command {
	return options(sopCommand("decrypt [KEYS…]", "Decrypt a message, and say which signatures count", 0, func(s *sop, args []string) error {
		if len(args)+len(s.list("with-password"))+len(s.list("with-session-key")) == 0 {
			return sopFailed("MISSING_ARG", errors.New("with what? keys, --with-password or --with-session-key"))
		}
		if (len(s.list("verify-with")) == 0) != (s.text("verifications-out") == "") {
			return sopFailed("INCOMPLETE_VERIFICATION", errors.New("--verify-with and --verifications-out need each other"))
		}
		var o pgp.Decrypt
		var err error
		if o.Keys, err = s.keys(args); err != nil {
			return err
		}
		if o.Passwords, err = s.passwords("with-password"); err != nil {
			return err
		}
		for _, name := range s.list("with-session-key") {
			text, err := s.secret(name)
			if err != nil {
				return err
			}
			k, err := pgp.ParseSessionKey(strings.TrimSpace(text))
			if err != nil {
				return err
			}
			o.SessionKeys = append(o.SessionKeys, k)
		}
		verify, from, err := s.verify(s.list("verify-with"), "verify-")
		if err != nil {
			return err
		}
		o.Verify = verify
		tellVerified, err := s.output("verifications-out")
		if err != nil {
			return err
		}
		tellKey, err := s.output("session-key-out")
		if err != nil {
			return err
		}
		done, err := pgp.DecryptFrom(s.out, s.in, o)
		if err != nil {
			return err
		}
		return errors.Join(tellVerified(verifications(done.Verifications, from)), tellKey(done.SessionKey.String()+"\n"))
	}), "session-key-out=", "with-session-key=…", "with-password=…", "with-key-password=…",
		"verifications-out=", "verify-with=…", "verify-not-before=", "verify-not-after=")
}

func sopInlineDetach() *cobra.Command {
	return options(sopCommand("inline-detach", "Take a signed message apart", 0, func(s *sop, _ []string) error {
		if s.text("signatures-out") == "" {
			return sopFailed("MISSING_ARG", errors.New("--signatures-out"))
		}
		tell, err := s.output("signatures-out")
		if err != nil {
			return err
		}
		var signatures, out strings.Builder
		if err := pgp.DetachInline(s.out, &signatures, s.in); err != nil {
			return err
		}
		if s.is("no-armor") {
			return tell(signatures.String())
		}
		if err := pgp.Armor(&out, strings.NewReader(signatures.String())); err != nil {
			return err
		}
		return tell(out.String())
	}), "no-armor", "signatures-out=")
}

func sopInlineVerify() *cobra.Command {
	short := "The text of a signed message of which a signature counts"
	return options(sopCommand("inline-verify CERTS…", short, 1, func(s *sop, args []string) error {
		v, from, err := s.verify(args, "")
		if err != nil {
			return err
		}
		tell, err := s.output("verifications-out")
		if err != nil {
			return err
		}
		good, err := pgp.VerifyInline(s.out, s.in, v)
		if err != nil {
			return err
		}
		return tell(verifications(good, from))
	}), "verifications-out=", "not-before=", "not-after=")
}

func sopInlineSign() *cobra.Command {
	return options(sopCommand("inline-sign KEYS…", "A signed message", 1, func(s *sop, args []string) error {
		as, err := s.as("binary", "text", "clearsigned")
		if err != nil {
			return err
		}
		if as == "clearsigned" && s.is("no-armor") {
			return sopFailed("INCOMPATIBLE_OPTIONS", errors.New("--as=clearsigned is text"))
		}
		keys, err := s.keys(args)
		if err != nil {
			return err
		}
		o := pgp.Sign{Signers: keys, Text: as == "text", Armor: !s.is("no-armor")}
		if as == "clearsigned" {
			return pgp.SignCleartext(s.out, s.in, o)
		}
		return pgp.SignInline(s.out, s.in, o)
	}), "no-armor", "as=", "with-key-password=…")
}

func sopArmor() *cobra.Command {
	return sopCommand("armor", "Put armor around data", 0, func(s *sop, _ []string) error { return pgp.Armor(s.out, s.in) })
}

func sopDearmor() *cobra.Command {
	return sopCommand("dearmor", "Take armor off data", 0, func(s *sop, _ []string) error { return pgp.Dearmor(s.out, s.in) })
}
