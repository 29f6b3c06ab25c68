package rules

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var required = regexp.MustCompile(`(?m)^\t(\S+) v\S+$`) // without "// indirect"

// Every direct dependency has a row that says why, and every row is a dependency.
func TestDependencies(t *testing.T) {
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(root(t), name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	mod, table := read("go.mod"), read("docs/DEPENDENCIES.md")
	direct := map[string]bool{}
	for _, m := range required.FindAllStringSubmatch(mod, -1) {
		direct[m[1]] = true
		if !strings.Contains(table, "\n| "+m[1]+" |") {
			t.Errorf("%s has no row in docs/DEPENDENCIES.md", m[1])
		}
	}
	for line := range strings.Lines(table) {
		cells := strings.Split(line, " | ")
		if name := strings.TrimPrefix(cells[0], "| "); len(cells) > 2 && strings.Contains(name, "/") && !direct[name] {
			t.Errorf("docs/DEPENDENCIES.md has a row for %s, which go.mod does not require", name)
		}
	}
}
