package rules

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

const module = "posthouse"

// allowed is the picture of the house: which rooms a room may import. A room is a folder with everything below it; the longest that fits
// a package counts. Tests are free, since they wire real rooms together.
func allowed() map[string]string {
	return map[string]string{
		// who puts everything together
		"cmd": "mta delivery imapd pop3d httpd spool mailbox directory crypto mail internal",

		// fronts and the mover: no edges among them
		"mta":      "mta spool directory crypto mail internal/dns internal/limit",
		"delivery": "delivery spool mailbox directory mail internal/dns internal/limit",
		"imapd":    "imapd mailbox directory mail internal/link internal/inflate",
		"pop3d":    "pop3d mailbox directory mail internal/link",
		"httpd":    "httpd spool mailbox directory mail",

		// owners of state: they do not know each other
		"spool":          "spool mail internal/db internal/vfs",
		"mailbox":        "mailbox mail internal/db internal/vfs",
		"directory":      "directory crypto/password mail internal/db internal/lru",
		"directory/sasl": "directory crypto/password mail internal/limit internal/lru",
		"directory/oidc": "directory",

		// leaves
		"crypto":          "mail internal/dns",
		"crypto/password": "",
		"crypto/certs":    "",
		"crypto/pgp":      "",

		// vocabulary
		"mail":      "",
		"mail/smtp": "mail",
		"mail/mime": "",
		"mail/dsn":  "mail mail/smtp",

		"mail/mailtest": "mail",

		// plumbing that knows no mail
		"internal":            "",
		"internal/transcript": "",
		"internal/vfs":        "internal/vfs",
		"internal/dns":        "internal/lru",
		"internal/limit":      "internal/lru",
		"internal/link":       "internal/limit",
	}
}

type goPackage struct {
	ImportPath string
	Imports    []string
}

func packages(t *testing.T) (all []goPackage) {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", module+"/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func TestImports(t *testing.T) {
	table := allowed()
	list := packages(t)
	if len(list) < 10 {
		t.Fatalf("only %d packages", len(list))
	}
	for _, p := range list {
		from := strings.TrimPrefix(p.ImportPath, module+"/")
		room := roomOf(from, table)
		if room == "" {
			t.Errorf("%s is in no room: add it to the table, and say in docs/ARCHITECTURE.md what it owns", from)
			continue
		}
		for _, to := range p.Imports {
			to, ours := strings.CutPrefix(to, module+"/")
			if ours && !fits(to, strings.Fields(table[room])) {
				t.Errorf("%s imports %s, which %s may not", from, to, room)
			}
		}
	}
}

// roomOf is the longest key of the table that is the package or a folder above it.
func roomOf(pkg string, table map[string]string) string {
	best := ""
	for room := range table {
		if (pkg == room || strings.HasPrefix(pkg, room+"/")) && len(room) > len(best) {
			best = room
		}
	}
	return best
}

func fits(pkg string, rooms []string) bool {
	for _, room := range rooms {
		if pkg == room || strings.HasPrefix(pkg, room+"/") {
			return true
		}
	}
	return false
}

// A suite of tests is no part of the program.
func TestProgramHasNoTestSuites(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", module+"/cmd/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range strings.FieldsSeq(string(out)) {
		if pkg == "testing" || strings.HasPrefix(pkg, module) && (strings.HasSuffix(pkg, "test") || strings.HasSuffix(pkg, "transcript")) {
			t.Errorf("the program contains %s", pkg)
		}
	}
}
