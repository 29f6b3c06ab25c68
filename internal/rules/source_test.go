package rules

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// How long things may be. A longer one needs a reason, which stands in exceptions.
const (
	maxFile       = 600 // lines
	maxTestFile   = 1000
	maxFunction   = 80
	maxParameters = 5 // four, and a context
)

// exceptions are what is longer than it may be, with the reason.
func exceptions() map[string]string {
	return map[string]string{}
}

type source struct {
	path string
	text string
	set  *token.FileSet
	file *ast.File
}

func (s source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }

func (s source) isSuite() bool {
	return strings.HasSuffix(filepath.Dir(s.path), "test") || strings.HasPrefix(s.path, "internal/transcript")
}

// sources are all Go files of the project.
func sources(t *testing.T) (all []source) {
	t.Helper()
	root := root(t)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "posthouse-dev") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, text, parser.ParseComments)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		all = append(all, source{filepath.ToSlash(rel), string(text), set, file})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 50 {
		t.Fatalf("only %d files", len(all))
	}
	return all
}

// root is the folder of go.mod.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestLengths(t *testing.T) {
	known := exceptions()
	for _, s := range sources(t) {
		most := maxFile
		if s.isTest() || s.isSuite() {
			most = maxTestFile
		}
		if n := strings.Count(s.text, "\n"); n > most && known[s.path] == "" {
			t.Errorf("%s has %d lines; at most %d, or a reason", s.path, n, most)
		}
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			name := s.path + ":" + f.Name.Name
			if n := s.set.Position(f.End()).Line - s.set.Position(f.Pos()).Line + 1; n > maxFunction && !s.isTest() && known[name] == "" {
				t.Errorf("%s has %d lines; at most %d, or a reason", name, n, maxFunction)
			}
			if n := f.Type.Params.NumFields(); n > maxParameters && !s.isTest() {
				t.Errorf("%s has %d parameters", name, n)
			}
			if f.Name.IsExported() && !s.isTest() && hasBool(f.Type.Params) && !isMethodOfInterface(f) {
				t.Errorf("%s has a boolean parameter: what does true mean where it is called?", name)
			}
			if f.Name.Name == "init" && f.Recv == nil {
				t.Errorf("%s: no init()", name)
			}
		}
	}
}

func hasBool(params *ast.FieldList) bool {
	for _, p := range params.List {
		if id, ok := p.Type.(*ast.Ident); ok && id.Name == "bool" {
			return true
		}
	}
	return false
}

// isMethodOfInterface tells methods that others' interfaces demand.
func isMethodOfInterface(f *ast.FuncDecl) bool {
	return f.Recv != nil && (f.Name.Name == "SetKeepAlive")
}

// Package variables are sentinels, tables that never change, and compiled expressions; never state.
func TestNoChangingVariables(t *testing.T) {
	for _, s := range sources(t) {
		if s.isTest() {
			continue
		}
		vars := map[string]bool{}
		for _, d := range s.file.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.VAR {
				continue
			}
			for _, spec := range g.Specs {
				for _, name := range spec.(*ast.ValueSpec).Names {
					vars[name.Name] = true
				}
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			assign, ok := n.(*ast.AssignStmt)
			if !ok || assign.Tok == token.DEFINE {
				return true
			}
			for _, left := range assign.Lhs {
				if id, ok := left.(*ast.Ident); ok && id.Name != "_" && vars[id.Name] && isPackageLevel(s.file, id) {
					t.Errorf("%s: the package variable %s is assigned", s.set.Position(id.Pos()), id.Name)
				}
			}
			return true
		})
	}
}

// isPackageLevel tells a package variable from a local one of the same name, as far as one file can tell.
func isPackageLevel(f *ast.File, id *ast.Ident) bool {
	return id.Obj == nil || f.Scope.Lookup(id.Name) == id.Obj
}

var (
	unfinished = regexp.MustCompile(`\b(TODO|FIXME|XXX)\b`)
	rfcMention = regexp.MustCompile(`\bRFC[ -]?\d+`)
	rfcForm    = regexp.MustCompile(`^RFC \d{3,4}$`)
)

// A citation is "RFC 9051" or "RFC 9051 §6.4.5", so that docs/RFC.md can find it.
func TestComments(t *testing.T) {
	for _, s := range sources(t) {
		if strings.HasPrefix(s.path, "internal/rules/") {
			continue
		}
		for _, group := range s.file.Comments {
			for _, c := range group.List {
				at := s.set.Position(c.Pos())
				if unfinished.MatchString(c.Text) {
					t.Errorf("%s: unfinished: %s", at, c.Text)
				}
				for _, m := range rfcMention.FindAllString(c.Text, -1) {
					if !rfcForm.MatchString(m) {
						t.Errorf("%s: a citation is \"RFC 9051 §6.4.5\", not %q", at, m)
					}
				}
			}
		}
	}
}
