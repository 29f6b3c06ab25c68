package spf

import (
	"net/netip"
	"strconv"
	"strings"
)

// record is a parsed policy: RFC 7208 §4.6.1. A syntax error anywhere makes it a PermError as a whole.
type record struct {
	mechanisms    []mechanism
	redirect, exp string // macro strings; empty: none
}

// mechanism is one directive.
type mechanism struct {
	text    string // as it stands in the record
	result  Result // of its qualifier
	name    string // lower case
	domain  string // domain-spec; empty: the current domain
	network netip.Prefix
	cidr4   int
	cidr6   int
}

// slot says which arguments a mechanism takes.
type slot struct{ domain, needsDomain, cidr bool }

func slots() map[string]slot {
	return map[string]slot{
		"all":     {},
		"include": {domain: true, needsDomain: true},
		"a":       {domain: true, cidr: true},
		"mx":      {domain: true, cidr: true},
		"ptr":     {domain: true},
		"exists":  {domain: true, needsDomain: true},
	}
}

func parseRecord(text string) (r record, err error) {
	for i := range len(text) {
		if text[i] > '~' || text[i] < ' ' {
			return record{}, permError("the policy is not ASCII")
		}
	}
	modifiers := map[string]bool{}
	all := slots()
	for _, term := range strings.Split(text, " ")[1:] {
		if term == "" {
			continue
		}
		if name, value, ok := cutModifier(term); ok {
			err = r.modifier(modifiers, strings.ToLower(name), value)
		} else {
			var m mechanism
			m, err = parseMechanism(term, all)
			r.mechanisms = append(r.mechanisms, m)
		}
		if err != nil {
			return record{}, err
		}
	}
	return r, nil
}

// cutModifier splits name=value where name is a name of §12: a letter, then letters, digits, "-", "_", ".".
func cutModifier(term string) (name, value string, ok bool) {
	name, value, ok = strings.Cut(term, "=")
	if !ok || name == "" || !isLetter(name[0]) {
		return "", "", false
	}
	for i := range len(name) {
		if c := name[i]; !isLetter(c) && !isDigit(c) && strings.IndexByte("-_.", c) < 0 {
			return "", "", false
		}
	}
	return name, value, true
}

func (r *record) modifier(seen map[string]bool, name, value string) error {
	known := name == "redirect" || name == "exp"
	if known && seen[name] {
		return permError(name + "= twice") // §6
	}
	seen[name] = true
	check := checkMacros
	if known {
		check = checkDomainSpec
	}
	if !check(value) {
		return permError("bad " + name + "=")
	}
	switch name {
	case "redirect":
		r.redirect = value
	case "exp":
		r.exp = value
	}
	return nil
}

func parseMechanism(term string, all map[string]slot) (mechanism, error) {
	m := mechanism{text: term, result: Pass, cidr4: 32, cidr6: 128}
	bad := permError("bad mechanism " + term)
	rest := term
	if i := strings.IndexByte("+-~?", term[0]); i >= 0 {
		m.result = []Result{Pass, Fail, SoftFail, Neutral}[i]
		rest = term[1:]
	}
	end := strings.IndexAny(rest, ":/")
	if end < 0 {
		end = len(rest)
	}
	m.name = strings.ToLower(rest[:end])
	rest = rest[end:]
	if m.name == "ip4" || m.name == "ip6" {
		return parseNetwork(m, rest, bad)
	}
	s, ok := all[m.name]
	if !ok {
		return m, bad
	}
	if s.cidr {
		if rest, ok = m.cutCIDR(rest); !ok {
			return m, bad
		}
	}
	spec, given := strings.CutPrefix(rest, ":")
	if !given && rest != "" || given != (spec != "") || given && !s.domain || !given && s.needsDomain || given && !checkDomainSpec(spec) {
		return m, bad
	}
	m.domain = spec
	return m, nil
}

// parseNetwork reads the argument of ip4 and ip6: §5.6.
func parseNetwork(m mechanism, arg string, bad error) (mechanism, error) {
	arg, ok := strings.CutPrefix(arg, ":")
	addr, length, hasLength := strings.Cut(arg, "/")
	ip, err := netip.ParseAddr(addr)
	if !ok || err != nil || ip.Is4() != (m.name == "ip4") || ip.Zone() != "" {
		return m, bad
	}
	bits := ip.BitLen()
	if hasLength {
		if bits, ok = cidr(length, ip.BitLen()); !ok {
			return m, bad
		}
	}
	m.network = netip.PrefixFrom(ip, bits).Masked()
	return m, nil
}

// cutCIDR takes a dual-cidr-length off the end: "/24", "//64", "/24//64".
func (m *mechanism) cutCIDR(s string) (string, bool) {
	ok := true
	if i := strings.LastIndex(s, "//"); i >= 0 {
		if m.cidr6, ok = cidr(s[i+2:], 128); !ok {
			return "", false
		}
		s = s[:i]
	}
	// A slash before anything but digits is part of the name, or a delimiter of a macro.
	if i := strings.LastIndexByte(s, '/'); i >= 0 && i+1 < len(s) && strings.Trim(s[i+1:], "0123456789") == "" {
		if m.cidr4, ok = cidr(s[i+1:], 32); !ok {
			return "", false
		}
		s = s[:i]
	}
	return s, true
}

func cidr(s string, most int) (int, bool) {
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= 0 && n <= most && strconv.Itoa(n) == s
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
func isDigit(c byte) bool  { return '0' <= c && c <= '9' }
