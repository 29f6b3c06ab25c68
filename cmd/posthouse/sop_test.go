package main

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"posthouse/crypto/pgp"
	"posthouse/internal/testkit"
)

// sopPlace is a folder in which commands run in this process.
type sopPlace struct {
	t *testing.T
}

func newSopPlace(t *testing.T) sopPlace {
	t.Chdir(t.TempDir())
	return sopPlace{t}
}

// run is what a command prints when it gets input, and its exit code.
func (p sopPlace) run(input string, args ...string) (string, int) {
	p.t.Helper()
	var out bytes.Buffer
	c := newRoot()
	c.SetArgs(append([]string{"sop"}, args...))
	c.SetIn(strings.NewReader(input))
	c.SetOut(&out)
	c.SetErr(io.Discard)
	err := c.ExecuteContext(p.t.Context())
	if err == nil {
		return out.String(), 0
	}
	f, named := errors.AsType[*failure](err)
	if !named {
		p.t.Fatalf("%v: an error without a name: %v", args, err)
	}
	p.t.Logf("%v: %v", args, err)
	return out.String(), f.code
}

// good is what a command prints that must succeed.
func (p sopPlace) good(input string, args ...string) string {
	p.t.Helper()
	out, code := p.run(input, args...)
	if code != 0 {
		p.t.Fatalf("%v: exit code %d", args, code)
	}
	return out
}

func (p sopPlace) write(name, content string) {
	p.t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

func (p sopPlace) read(name string) string {
	p.t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		p.t.Fatal(err)
	}
	return string(b)
}

// keys makes files with keys and certificates of alice, who has version 4, and bob, who has version 6.
func (p sopPlace) keys() {
	p.t.Helper()
	p.write("alice.key", p.good("", "generate-key", "Alice <alice@example.org>"))
	p.write("bob.key", p.good("", "generate-key", "--profile=rfc9580", "Bob <bob@example.org>", "Robert"))
	for _, who := range []string{"alice", "bob"} {
		p.write(who+".cert", p.good(p.read(who+".key"), "extract-cert"))
	}
}

func TestSopMessages(t *testing.T) {
	p := newSopPlace(t)
	p.keys()
	const text = "Dear Bob,\n- how are you?\n"
	for i, who := range []string{"alice", "bob"} {
		n := strconv.Itoa(i)
		signature := p.good(text, "sign", "--micalg-out=micalg"+n, who+".key")
		p.write("sig", signature)
		if got := p.good(text, "verify", "sig", "alice.cert", "bob.cert"); !strings.Contains(got, ` mode:binary {"signers":["`+who+`.cert"]}`) {
			t.Errorf("%q", got)
		}
		if got := p.read("micalg" + n); got != "pgp-sha512" {
			t.Errorf("%q", got)
		}
		for _, as := range []string{"binary", "text", "clearsigned"} {
			message := p.good(text, "inline-sign", "--as="+as, who+".key")
			got := p.good(message, "inline-verify", "--verifications-out=v-"+as+n, who+".cert")
			if strings.ReplaceAll(got, "\r\n", "\n") != text || strings.Count(p.read("v-"+as+n), "\n") != 1 {
				t.Errorf("%s: %q", as, got)
			}
			if got := p.good(message, "inline-detach", "--signatures-out=d-"+as+n); strings.ReplaceAll(got, "\r\n", "\n") != text {
				t.Errorf("%s: %q", as, got)
			}
			p.good(strings.ReplaceAll(text, "\n", map[bool]string{true: "\n", false: "\r\n"}[as == "binary"]), "verify", "d-"+as+n, who+".cert")
		}
		message := p.good(text, "encrypt", "--sign-with="+who+".key", "alice.cert", "bob.cert")
		for _, reader := range []string{"alice", "bob"} {
			v, k := "verified"+n+reader, "session"+n+reader
			if got := p.good(message, "decrypt", "--verify-with="+who+".cert", "--verifications-out="+v, "--session-key-out="+k, reader+".key"); got != text {
				t.Errorf("%q", got)
			}
			if strings.Count(p.read(v), "\n") != 1 {
				t.Errorf("%q", p.read(v))
			}
			if got := p.good(message, "decrypt", "--with-session-key="+k); got != text {
				t.Errorf("%q", got)
			}
		}
	}
	p.write("password", "correct horse\n")
	for _, profile := range profiles() {
		message := p.good(text, "encrypt", "--profile="+profile, "--with-password=password", "--no-armor")
		t.Setenv("PASSWORD", "correct horse")
		if got := p.good(message, "decrypt", "--with-password=@ENV:PASSWORD"); got != text {
			t.Errorf("%q", got)
		}
	}
	if got := p.good(p.good(p.read("alice.cert"), "dearmor"), "armor"); got != p.read("alice.cert") {
		t.Errorf("%s", got)
	}
}

func TestSopKeys(t *testing.T) {
	p := newSopPlace(t)
	p.keys()
	p.write("one", "one \n")
	p.write("two", "two")
	locked := p.good("", "generate-key", "--with-key-password=one", "--signing-only", "Carol")
	p.write("carol.key", locked)
	p.write("carol.cert", p.good(locked, "extract-cert"))
	p.good("x", "sign", "--with-key-password=two", "--with-key-password=one", "carol.key")
	changed := p.good(locked, "change-key-password", "--old-key-password=one", "--new-key-password=two")
	p.write("changed.key", changed)
	p.good("x", "sign", "--with-key-password=two", "changed.key")
	p.write("open.key", p.good(changed, "change-key-password", "--old-key-password=two"))
	p.good("x", "sign", "open.key")

	updated := p.good(locked, "update-key", "--with-key-password=one")
	p.write("updated.key", updated)
	p.write("updated.cert", p.good(updated, "extract-cert"))
	if got := p.good(p.good("x", "encrypt", "updated.cert"), "decrypt", "--with-key-password=one", "updated.key"); got != "x" {
		t.Errorf("%q", got)
	}

	const robert = "Robert"
	p.write("certified", p.good(p.read("bob.cert"), "certify-userid", "--userid="+robert, "alice.key"))
	p.good(p.read("certified"), "validate-userid", robert, "alice.cert")
	p.good(p.read("bob.cert"), "validate-userid", robert, "bob.cert")
	p.good(p.read("bob.cert"), "validate-userid", "--addr-spec-only", "bob@example.org", "bob.cert")
	p.write("merged", p.good(p.read("bob.cert"), "merge-certs", "certified", "alice.cert"))
	p.good(p.read("merged"), "validate-userid", robert, "alice.cert")

	p.write("sig", p.good("x", "sign", "alice.key"))
	p.write("revoked", p.good(p.read("alice.key"), "revoke-key"))
	p.write("alice.gone", p.good(p.read("alice.cert"), "merge-certs", "revoked"))
	for what, want := range map[string]int{"alice.cert": 0, "revoked": 3, "alice.gone": 3, "alice.cert revoked": 3} {
		if _, code := p.run("x", append([]string{"verify", "sig"}, strings.Fields(what)...)...); code != want {
			t.Errorf("%s: %d", what, code)
		}
	}
	if _, code := p.run(p.read("certified"), "validate-userid", robert, "alice.gone"); code != 107 {
		t.Errorf("a revoked authority: %d", code)
	}
}

// Each failure has the draft's code, and nothing is printed.
func TestSopExitCodes(t *testing.T) {
	p := newSopPlace(t)
	p.keys()
	p.write("there", "")
	p.write("@ENV:THERE", "")
	p.write("password", "secret")
	p.write("unreadable", "a\x00b")
	p.write("locked.key", p.good("", "generate-key", "--with-key-password=password", "L"))
	p.write("locked.cert", p.good(p.read("locked.key"), "extract-cert"))
	p.write("signer.cert", p.good(p.good("", "generate-key", "--signing-only", "S"), "extract-cert"))
	p.write("revoked.cert", p.good(p.read("alice.key"), "revoke-key"))
	p.unusable()
	p.write("unknown.cert", "\xc6\x06\x04\x00\x00\x00\x01\x63") // of algorithm 99
	p.write("mixed.cert", p.good(p.read("alice.key"), "extract-cert", "--no-armor")+p.read("unknown.cert"))
	p.write("sig", p.good("x", "sign", "alice.key"))
	message := p.good("x", "encrypt", "alice.cert")
	binary := p.good(strings.Repeat("x", 1000), "encrypt", "--no-armor", "alice.cert")
	changed := binary[:len(binary)-1] + string(binary[len(binary)-1]^1)
	for _, c := range []struct {
		code  int
		input string
		args  string
	}{
		{3, "y", "verify sig alice.cert"},
		{3, "x", "verify sig bob.cert"},
		{3, "x", "verify --not-before=now sig alice.cert"},
		{3, "x", "verify --not-after=2020-01-01T00:00:00Z sig alice.cert"},
		{3, p.good("x", "inline-sign", "alice.key"), "inline-verify bob.cert"},
		{13, "x", "encrypt unknown.cert"},
		{13, "x", "encrypt mixed.cert"},
		{17, "x", "encrypt signer.cert"},
		{17, "x", "encrypt alice.cert revoked.cert"},
		{19, "x", "encrypt"},
		{19, message, "decrypt"},
		{19, "", "generate-key"},
		{19, "", "sign"},
		{19, "", "verify sig"},
		{19, "", "inline-detach"},
		{19, "", "list-profiles"},
		{19, "", "certify-userid alice.key"},
		{19, "", "validate-userid Robert"},
		{19, "", ""},
		{19, "", "sign --as"},
		{23, message, "decrypt --verify-with=alice.cert alice.key"},
		{23, message, "decrypt --verifications-out=v alice.key"},
		{29, message, "decrypt bob.key"},
		{29, message, "decrypt --with-password=password"},
		{31, "x", "encrypt --with-password=unreadable"},
		{31, "", "generate-key --with-key-password=unreadable U"},
		{37, "", "sign --nonsense alice.key"},
		{37, "", "sign --as=clearsigned alice.key"},
		{37, "", "verify --not-before=yesterday sig alice.cert"},
		{41, "nonsense", "decrypt alice.key"},
		{41, "nonsense", "decrypt --verify-with=alice.cert --verifications-out=v alice.key"},
		{41, changed, "decrypt alice.key"},
		{41, binary[:len(binary)-10], "decrypt alice.key"},
		{41, "x", "encrypt alice.key"},
		{41, "x", "sign alice.cert"},
		{41, "x", "verify alice.cert alice.cert"},
		{41, "nonsense", "extract-cert"},
		{41, "nonsense", "armor"},
		{41, "nonsense", "dearmor"},
		{41, message, "decrypt --with-session-key=password"},
		{41, message, "inline-detach --signatures-out=s"},
		{53, "caf\xe9", "sign --as=text alice.key"},
		{53, "caf\xe9", "inline-sign --as=clearsigned alice.key"},
		{59, message, "decrypt --session-key-out=there alice.key"},
		{59, "x", "sign --micalg-out=there alice.key"},
		{61, "x", "encrypt nowhere.cert"},
		{61, "x", "encrypt @ENV:NOWHERE"},
		{61, "x", "encrypt @FD:9999"},
		{67, "x", "sign locked.key"},
		{67, p.good("x", "encrypt", "locked.cert"), "decrypt locked.key"},
		{67, p.read("locked.key"), "change-key-password"},
		{67, p.read("locked.key"), "revoke-key"},
		{67, p.read("locked.key"), "update-key"},
		{67, p.read("bob.cert"), "certify-userid --userid=Robert locked.key"},
		{69, "", "nonsense"},
		{71, "", "encrypt @NONSENSE:x"},
		{71, message, "decrypt --session-key-out=@ENV:X alice.key"},
		{73, "", "encrypt @ENV:THERE"},
		{79, "x", "sign expired.key"},
		{79, "x", "encrypt --sign-with=expired.key alice.cert"},
		{83, "x", "inline-sign --as=clearsigned --no-armor alice.key"},
		{83, "", "version --backend --extended"},
		{89, "", "generate-key --profile=nonsense U"},
		{89, "", "list-profiles sign"},
		{103, p.read("gone.key"), "update-key"},
		{109, p.read("bob.cert"), "certify-userid --userid=Robert expired.key"},
		{107, p.read("bob.cert"), "certify-userid --userid=Nobody alice.key"},
		{107, p.read("bob.cert"), "validate-userid Robert alice.cert"},
		{107, p.read("bob.cert"), "validate-userid --addr-spec-only mallory@example.org bob.cert"},
	} {
		out, code := p.run(c.input, strings.Fields(c.args)...)
		if code != c.code || out != "" && c.code != 53 {
			t.Errorf("%s: %d instead of %d, %q", c.args, code, c.code, out)
		}
	}
	if _, err := os.Stat("v"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a command that failed left a file: %v", err)
	}
}

// unusable makes keys that posthouse sop itself makes none of: one that is expired, and one that is revoked.
func (p sopPlace) unusable() {
	p.t.Helper()
	past := time.Now().Add(-time.Hour)
	for name, lifetime := range map[string]time.Duration{"expired.key": time.Minute, "gone.key": 0} {
		k, err := pgp.GenerateKey(pgp.Generate{UserIDs: []string{"U"}, Now: past, Lifetime: lifetime})
		if err == nil && lifetime == 0 {
			err = k.Revoke(past)
		}
		var b bytes.Buffer
		if err == nil {
			err = pgp.WriteKeys(&b, []*pgp.Key{k})
		}
		if err != nil {
			p.t.Fatal(err)
		}
		p.write(name, b.String())
	}
}

// Every error of crypto/pgp has a name of the draft's, and docs/OPENPGP.md lists every name.
func TestSopErrors(t *testing.T) {
	names := failures()
	named := map[string]bool{}
	for _, n := range sopNames() {
		named[n.sentinel.Error()] = names[n.name] != nil
	}
	for name, text := range testkit.Sentinels(t, "../../crypto/pgp") {
		if !named[text] {
			t.Errorf("pgp.%s has no name", name)
		}
	}
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "OPENPGP.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if !strings.Contains(string(doc), "| "+strconv.Itoa(names[name].code)+" | "+name+" |") {
			t.Errorf("%d %s is not in docs/OPENPGP.md", names[name].code, name)
		}
	}
}

// Each option has a meaning.
func TestSopOptions(t *testing.T) {
	for _, c := range newSop().Commands() {
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Name != "help" && f.Usage == "" {
				t.Errorf("%s --%s", c.Name(), f.Name)
			}
		})
	}
}

func TestSopVersion(t *testing.T) {
	p := newSopPlace(t)
	for args, want := range map[string]string{"": "posthouse ", "--backend": "go-crypto", "--sop-spec": sopSpec + "\n", "--sopv": "1.0\n"} {
		if got := p.good("", strings.Fields("version "+args)...); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q", args, got)
		}
	}
	if got := p.good("", "list-profiles", "generate-key"); !strings.HasPrefix(got, "rfc4880: ") || !strings.Contains(got, "\nrfc9580: ") {
		t.Errorf("%q", got)
	}
}
