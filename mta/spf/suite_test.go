package spf

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	_ "blitiri.com.ar/go/spf" // brings the public test suite of RFC 7208 with its module
	"go.yaml.in/yaml/v3"

	"posthouse/internal/dns"
)

// scenario is one document of the suite.
type scenario struct {
	Description string
	Tests       map[string]struct {
		Host, HELO, MailFrom string
		Result               any // one word or several
		Explanation          string
	}
	ZoneData map[string][]any
}

// TestSuiteOfRFC7208 runs every case of the public suite (openspf.org, release 2014.04).
func TestSuiteOfRFC7208(t *testing.T) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "blitiri.com.ar/go/spf").Output()
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(strings.TrimSpace(string(dir)), "testdata", "rfc7208-tests.yml"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cases := 0
	for d := yaml.NewDecoder(f); ; {
		var s scenario
		if d.Decode(&s) != nil {
			break
		}
		zone := s.zone(t)
		for name, c := range s.Tests {
			cases++
			t.Run(name, func(t *testing.T) {
				local, domain := "", c.HELO
				if c.MailFrom != "" {
					at := strings.LastIndexByte(c.MailFrom, '@')
					local, domain = c.MailFrom[:max(at, 0)], c.MailFrom[at+1:]
				}
				q := Query{IP: netip.MustParseAddr(c.Host), HELO: c.HELO, Receiver: "receiver.test"}
				got := newEvaluation(zone, q, local, domain).answer(context.Background())
				want := []any{c.Result}
				if list, ok := c.Result.([]any); ok {
					want = list
				}
				if !slices.Contains(want, any(string(got.Result))) {
					t.Errorf("%s: %+v, want %v", s.Description, got, want)
				}
				if got.Result == Fail && c.Explanation != "" && c.Explanation != "DEFAULT" && got.Explanation != c.Explanation {
					t.Errorf("%s: explanation %q, want %q", s.Description, got.Explanation, c.Explanation)
				}
				if c.Explanation == "DEFAULT" && got.Explanation != "" {
					t.Errorf("%s: explanation %q, want none", s.Description, got.Explanation)
				}
			})
		}
	}
	if cases < 200 {
		t.Errorf("only %d cases", cases)
	}
}

// zone makes a zone of the suite's data: SPF records stand for TXT records too, unless a name has its own.
func (s scenario) zone(t *testing.T) *dns.Zone {
	t.Helper()
	z, err := dns.ParseZone("")
	if err != nil {
		t.Fatal(err)
	}
	for name, entries := range s.ZoneData {
		if len(name) > 253 || strings.Contains(name, "..") {
			continue
		}
		records := map[string][]any{}
		for _, e := range entries {
			if m, ok := e.(map[string]any); ok {
				for kind, value := range m {
					records[kind] = append(records[kind], value)
				}
			}
		}
		if records["TXT"] == nil {
			records["TXT"] = records["SPF"]
		}
		delete(records, "SPF")
		if records["TIMEOUT"] != nil && records["A"] == nil && !answersBefore(records) {
			z.Fail(name)
		}
		delete(records, "TIMEOUT")
		if records["CNAMELOOP"] != nil {
			records = map[string][]any{"CNAME": {name}}
		}
		for kind, values := range records {
			for _, v := range values {
				if v == "NONE" {
					continue
				}
				if err := z.Add(fmt.Sprintf("%s. %s %s\n", escape(name), kind, rdata(kind, v))); err != nil {
					t.Fatalf("%s %s %v: %v", name, kind, v, err)
				}
			}
		}
	}
	return z
}

// answersBefore tells whether the name has a TXT record that answers before the rest times out.
func answersBefore(records map[string][]any) bool {
	return slices.ContainsFunc(records["TXT"], func(v any) bool { return v != "NONE" })
}

func rdata(kind string, v any) string {
	switch kind {
	case "TXT":
		parts, ok := v.([]any)
		if !ok {
			parts = []any{v}
		}
		var b strings.Builder
		for _, p := range parts {
			for s := p.(string); ; {
				n := min(len(s), 200)
				fmt.Fprintf(&b, ` "%s"`, escape(s[:n]))
				if s = s[n:]; s == "" {
					break
				}
			}
		}
		return b.String()
	case "MX":
		mx := v.([]any)
		return fmt.Sprintf("%v %s.", mx[0], escape(strings.TrimSuffix(mx[1].(string), ".")))
	case "PTR", "CNAME":
		return escape(strings.TrimSuffix(v.(string), ".")) + "."
	}
	return fmt.Sprint(v)
}

func escape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; isLetter(c) || isDigit(c) || c == '.' || c == '-' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, `\%03d`, c)
		}
	}
	return b.String()
}
