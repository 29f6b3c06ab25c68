package mime

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "write what the structures are into testdata")

// example is a message of testdata with what it must become.
type example struct {
	name    string
	archive *txtar.Archive
	message []byte
}

// examples reads testdata. The section "message" has its lines end in CRLF; "message.quoted" is a Go string.
func examples(t testing.TB) (all []example) {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		archive, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		e := example{name: name, archive: archive}
		switch first := archive.Files[0]; first.Name {
		case "message":
			e.message = bytes.ReplaceAll(first.Data, []byte("\n"), []byte("\r\n"))
		case "message.quoted":
			text, err := strconv.Unquote(strings.TrimSpace(string(first.Data)))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			e.message = []byte(text)
		default:
			t.Fatalf("%s begins with %q", name, first.Name)
		}
		all = append(all, e)
	}
	return all
}

func TestStructures(t *testing.T) {
	for _, e := range examples(t) {
		p := parse(e.message)
		got := []txtar.File{
			{Name: "envelope", Data: AppendEnvelope(nil, p.Envelope)},
			{Name: "body", Data: AppendBody(nil, p)},
			{Name: "bodystructure", Data: AppendBodyStructure(nil, p)},
		}
		for i := range got {
			got[i].Data = readable(got[i].Data)
		}
		if *update {
			e.archive.Files = append(e.archive.Files[:1], got...)
			if err := os.WriteFile(e.name, txtar.Format(e.archive), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		for i, file := range got {
			if i+1 >= len(e.archive.Files) || string(e.archive.Files[i+1].Data) != string(file.Data) {
				t.Errorf("%s: %s is\n%s", e.name, file.Name, file.Data)
			}
		}
	}
}

// readable puts the addresses and parts on lines of their own, and escapes what is not printable.
func readable(b []byte) []byte {
	s := strconv.Quote(string(b))
	s = strings.ReplaceAll(s[1:len(s)-1], `\"`, `"`)
	for _, at := range []string{") (", ")("} {
		s = strings.ReplaceAll(s, at, at[:len(at)-1]+"\n(")
	}
	return []byte(s + "\n")
}
