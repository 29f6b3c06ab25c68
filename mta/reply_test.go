package mta

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"posthouse/directory"
	"posthouse/directory/sasl"
	"posthouse/mail/smtp"
	"posthouse/spool"
)

// sentinels are the errors of those we call, by the name they are declared with.
var sentinels = map[string]error{
	"spool.ErrNotFound": spool.ErrNotFound, "spool.ErrLeaseLost": spool.ErrLeaseLost, "spool.ErrFull": spool.ErrFull,
	"spool.ErrFailed": spool.ErrFailed, "spool.ErrClosed": spool.ErrClosed, "spool.ErrDraft": spool.ErrDraft,
	"spool.ErrRepeated":     spool.ErrRepeated,
	"directory.ErrNotLocal": directory.ErrNotLocal, "directory.ErrNoAddress": directory.ErrNoAddress,
	"directory.ErrNoAccount": directory.ErrNoAccount, "directory.ErrNoDomain": directory.ErrNoDomain,
	"directory.ErrExists": directory.ErrExists, "directory.ErrCredentials": directory.ErrCredentials,
	"directory.ErrDisabled": directory.ErrDisabled, "directory.ErrNotOwner": directory.ErrNotOwner,
	"directory.ErrTooMany": directory.ErrTooMany, "directory.ErrNoEntry": directory.ErrNoEntry, "directory.ErrRate": directory.ErrRate,
	"directory.ErrScope":     directory.ErrScope,
	"directory.ErrShared":    directory.ErrShared,
	"directory.ErrDeclared":  directory.ErrDeclared,
	"directory.ErrAliasLoop": directory.ErrAliasLoop, "directory.ErrUnavailable": directory.ErrUnavailable,
	"sasl.ErrMechanism": sasl.ErrMechanism, "sasl.ErrUnprotected": sasl.ErrUnprotected, "sasl.ErrResponse": sasl.ErrResponse,
	"sasl.ErrBinding": sasl.ErrBinding, "sasl.ErrAuthorization": sasl.ErrAuthorization, "sasl.ErrThrottled": sasl.ErrThrottled,
	"sasl.ErrBase64": sasl.ErrBase64, "sasl.ErrCanceled": sasl.ErrCanceled,
	"smtp.ErrSyntax": smtp.ErrSyntax, "smtp.ErrPath": smtp.ErrPath, "smtp.ErrParameter": smtp.ErrParameter,
	"smtp.ErrUnknownParameter": smtp.ErrUnknownParameter, "smtp.ErrBareLine": smtp.ErrBareLine, "smtp.ErrTooBig": smtp.ErrTooBig,
	"smtp.ErrEndless": smtp.ErrEndless,
}

// unseen are errors that no session gets to see: of SMTP clients, and of opening a spool or looking at one.
var unseen = []string{"smtp.ErrReply", "spool.ErrBodiesAlone", "spool.ErrOldFormat"}

// Every sentinel that a room declares has a line in errorReplies: whoever adds one must say what it means to a client.
func TestEverySentinelHasItsReply(t *testing.T) {
	for _, pkg := range []string{"../spool", "../directory", "../directory/sasl", "../mail/smtp"} {
		for _, name := range declared(t, pkg) {
			if slices.Contains(unseen, name) {
				continue
			}
			err, ok := sentinels[name]
			if !ok {
				t.Errorf("%s is not in this test's table", name)
				continue
			}
			if pkg == "../directory/sasl" {
				if !slices.ContainsFunc(authReplies, func(r struct {
					err   error
					reply smtp.Reply
				}) bool {
					return errors.Is(err, r.err)
				}) {
					t.Errorf("%s has no reply to AUTH", name)
				}
				continue
			}
			if !slices.ContainsFunc(errorReplies, func(r struct {
				err   error
				reply smtp.Reply
			}) bool {
				return errors.Is(err, r.err)
			}) {
				t.Errorf("%s has no reply", name)
			}
			r := replyTo(fmt.Errorf("wrapped: %w", err))
			if r.Code < 400 || int(r.Enhanced[0]) != r.Code/100 || r.Text == "" || strings.ContainsAny(r.Text, "\r\n%") {
				t.Errorf("%s: %s", name, r)
			}
		}
	}
	if r := replyTo(errors.New("unforeseen")); r != replyLocal {
		t.Errorf("%s", r)
	}
}

// declared are the exported errors of a package, from its source.
func declared(t *testing.T, dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, e.Name()), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if v, ok := n.(*ast.ValueSpec); ok {
				for _, name := range v.Names {
					if strings.HasPrefix(name.Name, "Err") {
						names = append(names, f.Name.Name+"."+name.Name)
					}
				}
			}
			return true
		})
	}
	if len(names) == 0 {
		t.Fatalf("%s declares no errors: the test looks at the wrong place", dir)
	}
	return names
}

func TestStorageReplies(t *testing.T) {
	for err, want := range map[error]string{
		spool.ErrFull:            "452 4.3.1",
		spool.ErrFailed:          "451 4.3.0",
		directory.ErrUnavailable: "451 4.3.0",
		directory.ErrNoAddress:   "550 5.1.1",
		directory.ErrNotLocal:    "550 5.7.1",
		smtp.ErrTooBig:           "552 5.3.4",
		smtp.ErrUnknownParameter: "555 5.5.4",
		directory.ErrDisabled:    "550 5.2.1",
	} {
		if got := replyTo(err).String(); !strings.HasPrefix(got, want+" ") {
			t.Errorf("%v: %s, want %s", err, got, want)
		}
	}
	for err, want := range map[error]string{
		directory.ErrCredentials: "535 5.7.8",
		directory.ErrDisabled:    "525 5.7.13",
		directory.ErrUnavailable: "454 4.7.0",
		sasl.ErrAuthorization:    "535 5.7.8",
		sasl.ErrBinding:          "535 5.7.8",
		sasl.ErrThrottled:        "454 4.7.0",
		sasl.ErrMechanism:        "504 5.5.4",
		sasl.ErrUnprotected:      "538 5.7.11",
		sasl.ErrResponse:         "501 5.5.2",
		sasl.ErrBase64:           "501 5.5.2",
		sasl.ErrCanceled:         "501 5.7.0",
		errors.New("unforeseen"): "454 4.7.0",
	} {
		if got := replyToAuth(err).String(); !strings.HasPrefix(got, want+" ") {
			t.Errorf("%v: %s, want %s", err, got, want)
		}
	}
}

// A reply's line stays below what RFC 5321 §4.5.3.1.5 lets a client expect.
func TestRepliesAreShort(t *testing.T) {
	for _, r := range errorReplies {
		if n := len(r.reply.Append(nil)); n > 512 {
			t.Errorf("%d octets: %s", n, r.reply)
		}
	}
}
