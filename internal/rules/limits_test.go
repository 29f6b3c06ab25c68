package rules

import (
	"fmt"
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var limitName = regexp.MustCompile(`^([Mm]ax|[Mm]in)[A-Z]`)

// TestLimitsDocument keeps docs/LIMITS.md what the code says of itself: the constants that are limits, and the fields of Limits structs.
func TestLimitsDocument(t *testing.T) {
	rows := map[string][]string{}
	for _, s := range sources(t) {
		if s.isTest() || s.isSuite() || strings.HasPrefix(s.path, "internal/rules/") || strings.HasPrefix(s.path, "internal/testkit/") {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GenDecl:
				for _, spec := range n.Specs {
					if v, ok := spec.(*ast.ValueSpec); ok && n.Tok == token.CONST && len(v.Values) == 1 && limitName.MatchString(v.Names[0].Name) {
						doc := v.Doc
						if doc == nil && !n.Lparen.IsValid() {
							doc = n.Doc
						}
						pkg := path.Dir(s.path)
						rows[pkg] = append(rows[pkg], row(v.Names[0].Name, s.at(v.Values[0]), doc, v.Comment))
					}
				}
			case *ast.TypeSpec:
				if fields, ok := n.Type.(*ast.StructType); ok && n.Name.Name == "Limits" && !strings.HasPrefix(s.path, "internal/") {
					pkg := path.Dir(s.path)
					for _, f := range fields.Fields.List {
						rows[pkg] = append(rows[pkg], row("Limits."+f.Names[0].Name, "", f.Doc, f.Comment))
					}
				}
			}
			return true
		})
	}
	var b strings.Builder
	b.WriteString("# Limits\n\nMade by `make docs` from the code: the constants that bound something, and the fields of Limits, where 0 means the default named.\nSizes are octets and counts unless something else is said.\n")
	for _, pkg := range slices.Sorted(keys(rows)) {
		fmt.Fprintf(&b, "\n## %s\n\n| limit | value | what |\n|---|---|---|\n%s", pkg, strings.Join(rows[pkg], ""))
	}
	compare(t, "LIMITS.md", b.String())
}

func keys[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func (s source) at(n ast.Node) string {
	return s.text[s.set.Position(n.Pos()).Offset:s.set.Position(n.End()).Offset]
}

func row(name, value string, doc, comment *ast.CommentGroup) string {
	var words []string
	for _, g := range []*ast.CommentGroup{doc, comment} {
		words = append(words, strings.Fields(g.Text())...)
	}
	if value != "" {
		value = "`" + value + "`"
	}
	return fmt.Sprintf("| `%s` | %s | %s |\n", name, value, strings.ReplaceAll(strings.Join(words, " "), "|", `\|`))
}
