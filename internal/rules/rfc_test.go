package rules

import (
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the documents that are made from the code")

var citation = regexp.MustCompile(`RFC (\d{3,4})`)

// rfc is where an RFC is met.
type rfc struct {
	packages    map[string]bool
	transcripts int
}

// TestRFCDocument keeps docs/RFC.md what the code says of itself.
func TestRFCDocument(t *testing.T) {
	cited := map[int]*rfc{}
	at := func(number string) *rfc {
		n, err := strconv.Atoi(number)
		if err != nil {
			t.Fatal(err)
		}
		if cited[n] == nil {
			cited[n] = &rfc{packages: map[string]bool{}}
		}
		return cited[n]
	}
	for _, s := range sources(t) {
		if s.isTest() || strings.HasPrefix(s.path, "internal/rules/") {
			continue
		}
		for _, group := range s.file.Comments {
			for _, m := range citation.FindAllStringSubmatch(group.Text(), -1) {
				at(m[1]).packages[filepath.ToSlash(filepath.Dir(s.path))] = true
			}
		}
	}
	scripts := filepath.Join(root(t), "testdata", "script")
	err := filepath.WalkDir(scripts, func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".txtar") {
			if number, ok := strings.CutPrefix(filepath.Base(filepath.Dir(path)), "rfc"); ok {
				at(number).transcripts++
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	compare(t, "RFC.md", document(t, cited))
}

// compare holds a document against what it should be, or writes it.
func compare(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join(root(t), "docs", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || string(want) != got {
		t.Errorf("docs/%s is not what the code says; run make docs (%v)", name, err)
	}
}

func document(t *testing.T, cited map[int]*rfc) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("# RFCs\n\nMade by `make docs` from the citations in the code and the folders of transcripts. An RFC is *played* if transcripts of it run in the\ntests, *cited* if code follows it and other tests hold it.\n\n")
	b.WriteString("| RFC | title | status | packages | transcripts |\n|---|---|---|---|---|\n")
	titles := titles()
	for _, n := range slices.Sorted(maps.Keys(cited)) {
		r := cited[n]
		status := "cited"
		if r.transcripts > 0 {
			status = "played"
		}
		if titles[n] == "" {
			t.Errorf("RFC %d has no title in titles_test.go", n)
		}
		fmt.Fprintf(&b, "| %d | %s | %s | %s | %d |\n", n, titles[n], status, strings.Join(slices.Sorted(maps.Keys(r.packages)), ", "), r.transcripts)
	}
	return b.String()
}
