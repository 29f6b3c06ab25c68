package config

import (
	"reflect"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// locate finds the line of every key and table in text that is known to be TOML: "tls.mode", "listener[1].address". It reads lines, not
// values, so a line inside a multi-line string may be taken for a key; that costs a wrong line number and no more.
func locate(text string) map[string]int {
	lines, table, count := map[string]int{}, "", map[string]int{}
	put := func(key string, line int) {
		if lines[key] == 0 {
			lines[key] = line
		}
	}
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "[["); ok {
			name, _, _ = strings.Cut(name, "]")
			name = strings.TrimSpace(name)
			table = at(name, count[name])
			count[name]++
			put(table, n)
			continue
		}
		if name, ok := strings.CutPrefix(line, "["); ok {
			name, _, _ = strings.Cut(name, "]")
			table = strings.TrimSpace(name)
			put(table, n)
			continue
		}
		key, _, ok := strings.Cut(line, "=")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		key = strings.Trim(strings.TrimSpace(key), `"'`)
		if table != "" {
			key = table + "." + key
		}
		put(key, n)
	}
	return lines
}

// places are all the places of a key that the TOML library names without the numbers of its tables.
func (f *File) places(key toml.Key) (found []string) {
	want := strings.Join(key, ".")
	for at := range f.lines {
		if withoutNumbers(at) == want {
			found = append(found, at)
		}
	}
	if found == nil {
		found = []string{want}
	}
	return found
}

func withoutNumbers(key string) string {
	for {
		open, end := strings.IndexByte(key, '['), strings.IndexByte(key, ']')
		if open < 0 || end < open {
			return key
		}
		if _, err := strconv.Atoi(key[open+1 : end]); err != nil {
			return key
		}
		key = key[:open] + key[end+1:]
	}
}

// known are the keys of a table of the document, "" being the whole of it.
func known(table string) (keys []string) {
	t := reflect.TypeFor[document]()
	for name := range strings.SplitSeq(table, ".") {
		for i := range t.NumField() {
			if f := t.Field(i); name != "" && f.Tag.Get("toml") == name {
				if t = f.Type; t.Kind() == reflect.Slice {
					t = t.Elem()
				}
				break
			}
		}
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	for i := range t.NumField() {
		keys = append(keys, t.Field(i).Tag.Get("toml"))
	}
	return keys
}

// nearest is the candidate that differs least, if it differs little.
func nearest(s string, candidates []string) string {
	best, least := "", 3
	for _, c := range candidates {
		if d := distance(s, c); d < least {
			best, least = c, d
		}
	}
	return best
}

// distance is the number of edits between two words (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
