package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"posthouse/crypto/pgp"
)

// sopSpec is what posthouse sop follows; the tilde says that not every option of it is there.
const sopSpec = "~draft-dkg-openpgp-stateless-cli-14"

// failure is one that the draft names, with its exit code.
type failure struct {
	name string
	code int
}

func (f *failure) Error() string { return f.name }

// failures are those of the draft's §7 that happen here, by name. The program's own exit codes do not count below posthouse sop.
func failures() map[string]*failure {
	all := map[string]*failure{}
	for name, code := range map[string]int{
		"UNSPECIFIED_FAILURE": 1, "NO_SIGNATURE": 3, "UNSUPPORTED_ASYMMETRIC_ALGO": 13, "CERT_CANNOT_ENCRYPT": 17, "MISSING_ARG": 19,
		"INCOMPLETE_VERIFICATION": 23, "CANNOT_DECRYPT": 29, "PASSWORD_NOT_HUMAN_READABLE": 31, "UNSUPPORTED_OPTION": 37, "BAD_DATA": 41,
		"EXPECTED_TEXT": 53, "OUTPUT_EXISTS": 59, "MISSING_INPUT": 61, "KEY_IS_PROTECTED": 67, "UNSUPPORTED_SUBCOMMAND": 69,
		"UNSUPPORTED_SPECIAL_PREFIX": 71, "AMBIGUOUS_INPUT": 73, "KEY_CANNOT_SIGN": 79, "INCOMPATIBLE_OPTIONS": 83, "UNSUPPORTED_PROFILE": 89,
		"PRIMARY_KEY_BAD": 103, "CERT_USERID_NO_MATCH": 107, "KEY_CANNOT_CERTIFY": 109,
	} {
		all[name] = &failure{name, code}
	}
	return all
}

// sopFailed is an error that has the draft's name.
func sopFailed(name string, err error) error {
	f := failures()[name]
	return fmt.Errorf("%w: %w", f, err)
}

// sopName is the name that an error of crypto/pgp has in the draft.
type sopName struct {
	sentinel error
	name     string
}

// sopNames are those of all errors of crypto/pgp. Where an error is several of them, the first counts.
func sopNames() []sopName {
	return []sopName{
		{pgp.ErrIntegrity, "BAD_DATA"},
		{pgp.ErrTooLarge, "BAD_DATA"},
		{pgp.ErrAlgorithm, "UNSUPPORTED_ASYMMETRIC_ALGO"},
		{pgp.ErrNoSignature, "NO_SIGNATURE"},
		{pgp.ErrCannotEncrypt, "CERT_CANNOT_ENCRYPT"},
		{pgp.ErrCannotDecrypt, "CANNOT_DECRYPT"},
		{pgp.ErrCannotSign, "KEY_CANNOT_SIGN"},
		{pgp.ErrCannotCertify, "KEY_CANNOT_CERTIFY"},
		{pgp.ErrPrimary, "PRIMARY_KEY_BAD"},
		{pgp.ErrUserID, "CERT_USERID_NO_MATCH"},
		{pgp.ErrLocked, "KEY_IS_PROTECTED"},
		{pgp.ErrNotText, "EXPECTED_TEXT"},
		{pgp.ErrData, "BAD_DATA"},
	}
}

// sopError gives an error of crypto/pgp the draft's name, if nobody has named it yet.
func sopError(err error) error {
	if _, named := errors.AsType[*failure](err); err == nil || named {
		return err
	}
	for _, n := range sopNames() {
		if errors.Is(err, n.sentinel) {
			return sopFailed(n.name, err)
		}
	}
	return sopFailed("UNSPECIFIED_FAILURE", err)
}

// sopCommand is one command of the draft, which needs so many arguments at least. Its run gets what all of them need.
func sopCommand(use, short string, least int, run func(s *sop, args []string) error) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short}
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) < least {
			return sopFailed("MISSING_ARG", fmt.Errorf("posthouse sop %s", use))
		}
		s := &sop{in: interruptible{c.Context(), c.InOrStdin()}, out: c.OutOrStdout(), command: c}
		err := sopError(run(s, args))
		if err != nil {
			s.unmake()
		}
		return err
	}
	return c
}

// sop is one run of a command: its standard streams, its options, and the files that it made.
type sop struct {
	in      io.Reader
	out     io.Writer
	command *cobra.Command
	made    []string
}

// unmake removes the files that a command made before it failed: they are empty, and would be in the way when it is tried again.
func (s *sop) unmake() {
	for _, name := range s.made {
		os.Remove(name)
	}
}

// interruptible ends when somebody wants the program to end.
type interruptible struct {
	ctx context.Context
	r   io.Reader
}

func (i interruptible) Read(p []byte) (int, error) {
	if err := i.ctx.Err(); err != nil {
		return 0, err
	}
	return i.r.Read(p)
}

func (s *sop) is(option string) bool {
	v, err := s.command.Flags().GetBool(option)
	return v && err == nil
}

func (s *sop) text(option string) string {
	v, _ := s.command.Flags().GetString(option)
	return v
}

func (s *sop) list(option string) []string {
	v, _ := s.command.Flags().GetStringArray(option)
	return v
}

// newSop is posthouse sop: the Stateless OpenPGP command line (draft-dkg-openpgp-stateless-cli), on crypto/pgp. It knows
// no server, no configuration and no keys but those that it is given.
func newSop() *cobra.Command {
	c := &cobra.Command{
		Use: "sop", Short: "Stateless OpenPGP: keys, encrypting, signing, as files and pipes",
		Long: "The commands of draft-dkg-openpgp-stateless-cli: data come in on standard input and go out on standard output, keys and " +
			"certificates are files, or @ENV:NAME or @FD:NUMBER. Exit codes are the draft's; docs/OPENPGP.md lists them.",
		Example: "  posthouse sop generate-key 'Alice <alice@example.org>' > alice.key\n" +
			"  posthouse sop extract-cert < alice.key > alice.cert\n  posthouse sop encrypt --sign-with=alice.key bob.cert < letter > letter.asc",
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return sopFailed("MISSING_ARG", errors.New("which command? see posthouse sop --help"))
			}
			return sopFailed("UNSUPPORTED_SUBCOMMAND", errors.New(args[0]))
		},
		Args: cobra.ArbitraryArgs,
	}
	c.AddCommand(sopVersion(), sopListProfiles(), sopGenerateKey(), sopChangeKeyPassword(), sopRevokeKey(), sopExtractCert(), sopUpdateKey(),
		sopMergeCerts(), sopCertifyUserID(), sopValidateUserID(), sopSign(), sopVerify(), sopEncrypt(), sopDecrypt(), sopInlineDetach(),
		sopInlineVerify(), sopInlineSign(), sopArmor(), sopDearmor())
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		if strings.Contains(err.Error(), "needs an argument") {
			return sopFailed("MISSING_ARG", err)
		}
		return sopFailed("UNSUPPORTED_OPTION", err)
	})
	return c
}

// options adds options to a command: a word is a switch, a word with "=" has a value, with "=…" values.
func options(c *cobra.Command, words ...string) *cobra.Command {
	for _, w := range words {
		name, kind, valued := strings.Cut(w, "=")
		switch about := sopOptions()[name]; {
		case !valued:
			c.Flags().Bool(name, false, about)
		case kind == "":
			c.Flags().String(name, "", about)
		default:
			c.Flags().StringArray(name, nil, about)
		}
	}
	return c
}

// sopOptions is what each option means, in whichever command.
func sopOptions() map[string]string {
	return map[string]string{
		"addr-spec-only":        "the user ID is an address, and the rest of user IDs does not matter",
		"as":                    "what the data are: binary, text or clearsigned",
		"backend":               "the library",
		"extended":              "all versions",
		"merge-certs":           "file of certificates to learn from",
		"micalg-out":            "file for the micalg parameter of multipart/signed",
		"new-key-password":      "file with the password from now on",
		"no-added-capabilities": "advertise nothing new",
		"no-armor":              "print octets",
		"no-require-self-sig":   "also if the certificate does not say so itself",
		"not-after":             "signatures after this date do not count; - for no limit (default now)",
		"not-before":            "signatures before this date do not count",
		"old-key-password":      "file with a password until now",
		"profile":               "see list-profiles",
		"session-key-out":       "file for the session key",
		"sign-with":             "file of secret keys that sign",
		"signatures-out":        "file for the signatures",
		"signing-only":          "no subkey to encrypt to",
		"sop-spec":              "the draft",
		"sopv":                  "the version of the part that only verifies",
		"userid":                "user ID to vouch for",
		"validate-at":           "the date that matters (default now)",
		"verifications-out":     "file for the signatures that count",
		"verify-not-after":      "signatures after this date do not count; - for no limit (default now)",
		"verify-not-before":     "signatures before this date do not count",
		"verify-with":           "file of certificates whose signatures count",
		"with-key-password":     "file with the password of a secret key",
		"with-password":         "file with a password for the message",
		"with-session-key":      "file with a session key",
	}
}
