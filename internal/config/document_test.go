package config

import (
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
)

// keysOf are the keys that a struct is decoded from.
func keysOf(t reflect.Type, at string, into map[string]bool) {
	for t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		into[at] = true
		return
	}
	for i := range t.NumField() {
		key := t.Field(i).Tag.Get("toml")
		if at != "" {
			key = at + "." + key
		}
		keysOf(t.Field(i).Type, key, into)
	}
}

// The page of all keys has all keys and no other, its file is taken, and what it does not leave out is as if it had been.
func TestDocument(t *testing.T) {
	page, err := os.ReadFile("../../docs/CONFIGURATION.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(page), "```toml\n")
	text, _, _ = strings.Cut(text, "```\n")
	var d document
	meta, err := toml.Decode(text, &d)
	if err != nil {
		t.Fatal(err)
	}
	want, got := map[string]bool{}, map[string]bool{}
	keysOf(reflect.TypeFor[document](), "", want)
	for _, key := range meta.Keys() {
		if name := key.String(); want[name] || !slices.ContainsFunc(slices.Collect(maps.Keys(want)), func(k string) bool { return strings.HasPrefix(k, name+".") }) {
			got[name] = true
		}
	}
	for key := range want {
		if !got[key] {
			t.Errorf("%s is not there", key)
		}
	}
	for key := range got {
		if !want[key] {
			t.Errorf("there is no key %s", key)
		}
	}
	if _, err := Parse("page", text); err != nil {
		t.Error(err)
	}
	usual := defaults()
	for name, pair := range map[string][2]any{
		"delivery": {d.Delivery, usual.Delivery}, "limits": {d.Limits, usual.Limits}, "auth": {d.Auth, usual.Auth}, "tls": {d.TLS, usual.TLS},
		"connections": {d.Admission.Connections, usual.Admission.Connections}, "tarpit": {d.Admission.Tarpit, usual.Admission.Tarpit},
		"greet": {d.Admission.Greet, usual.Admission.Greet}, "helo": {d.Admission.HELO, usual.Admission.HELO}, "iprev": {d.Admission.IPRev, usual.Admission.IPRev},
		"recipient": {d.Admission.Recipient, usual.Admission.Recipient}, "dmarc": {d.Admission.DMARC, usual.Admission.DMARC},
		"header": {d.Admission.Header, usual.Admission.Header}, "clamav": {d.Admission.ClamAV, usual.Admission.ClamAV},
		"data_dir": {d.DataDir, usual.DataDir}, "trusted": {d.Admission.Trusted, usual.Admission.Trusted},
	} {
		if !reflect.DeepEqual(pair[0], pair[1]) {
			t.Errorf("%s: the page has %+v, the default is %+v", name, pair[0], pair[1])
		}
	}
}
