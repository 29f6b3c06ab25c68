package config

import (
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Bounds of admission.
const (
	maxGreetDelay  = time.Minute // RFC 5321 §4.5.3.2.1: a client waits five for its greeting
	maxTarpitDelay = time.Minute
	maxCount       = 1_000_000

	defaultMilterTime = 30 * time.Second // of each answer
	maxMilterTime     = 4 * time.Minute  // of one; RFC 5321 §4.5.3.2: a client waits five for ours, and ten after its message
)

// Admission says who is let in, and which stages judge mail. Actions are words: accept, tag, quarantine, defer, refuse.
type Admission struct {
	Stages      []string       // for mail from strangers, in order
	UserStages  []string       // for mail of our users, and of networks that may relay
	Trusted     []netip.Prefix // networks that are neither counted, delayed nor banned
	Connections Connections
	Tarpit      Tarpit
	Greet       Greet
	HELO        string // action on a false name
	IPRev       string // action on a client without a valid reverse name
	Recipient   int    // messages an hour for one recipient; 0: any number
	Monitor     bool   // DMARC only notes
	Header      Header
	ClamAV      ClamAV
	Milters     []Milter
}

// Dial is where a program listens, as of net.Dial; zero: nowhere.
type Dial struct{ Network, Address string }

// ClamAV is the scanner for viruses.
type ClamAV struct {
	Dial    Dial
	Action  string // on what is infected
	MaxSize int64  // octets
}

// Milter is a filter.
type Milter struct {
	Name    string
	Dial    Dial
	Lost    string // action without it
	Timeout time.Duration
	Reuse   bool // connections, for session after session
}

// Connections bound what one network may do; 0 of any: no bound.
type Connections struct {
	PerNetwork int           // open at once
	PerMinute  int           // begun in a minute
	Faults     int           // faulty sessions in an hour, then it is banned
	Unknown    int           // unknown recipients in an hour, then it is banned
	Ban        time.Duration // how long
}

// Tarpit delays replies to errors.
type Tarpit struct {
	After, Sessions int
	Delay           time.Duration
}

// Greet is how long a client waits for its greeting, and the action on one that does not.
type Greet struct {
	Delay  time.Duration
	Action string
}

// Header are actions on what is wrong with a header.
type Header struct{ SeveralFrom, EightBit, Other string }

type docAdmission struct {
	Stages      []string       `toml:"stages"`
	UserStages  []string       `toml:"user_stages"`
	Trusted     []string       `toml:"trusted"`
	Connections docConnections `toml:"connections"`
	Tarpit      docTarpit      `toml:"tarpit"`
	Greet       docGreet       `toml:"greet"`
	HELO        docAction      `toml:"helo"`
	IPRev       docAction      `toml:"iprev"`
	Recipient   docRecipient   `toml:"recipient"`
	DMARC       docDMARC       `toml:"dmarc"`
	Header      docHeader      `toml:"header"`
	ClamAV      docClamAV      `toml:"clamav"`
	Milter      []docMilter    `toml:"milter"`
}

type docClamAV struct {
	Address string `toml:"address"`
	Action  string `toml:"action"`
	MaxSize string `toml:"max_size"`
}

type docMilter struct {
	Name          string `toml:"name"`
	Address       string `toml:"address"`
	DefaultAction string `toml:"default_action"`
	Timeout       string `toml:"timeout"`
	Reuse         bool   `toml:"reuse"`
}

type docConnections struct {
	PerNetwork int    `toml:"per_network"`
	PerMinute  int    `toml:"per_minute"`
	Faults     int    `toml:"faults"`
	Unknown    int    `toml:"unknown_recipients"`
	Ban        string `toml:"ban"`
}

type docTarpit struct {
	After    int    `toml:"after"`
	Delay    string `toml:"delay"`
	Sessions int    `toml:"sessions"`
}

type docGreet struct {
	Delay  string `toml:"delay"`
	Action string `toml:"action"`
}

type docAction struct {
	Action string `toml:"action"`
}

type docRecipient struct {
	PerHour int `toml:"per_hour"`
}

type docDMARC struct {
	Monitor bool `toml:"monitor"`
}

type docHeader struct {
	SeveralFrom string `toml:"several_from"`
	EightBit    string `toml:"eight_bit"`
	Other       string `toml:"other"`
}

// defaultAdmission refuses what is certainly wrong, and is quick for everybody else.
func defaultAdmission() docAdmission {
	return docAdmission{
		Trusted:     []string{"127.0.0.0/8", "::1/128"},
		Connections: docConnections{PerNetwork: 100, PerMinute: 300, Faults: 20, Unknown: 100, Ban: "1h"},
		Tarpit:      docTarpit{After: 3, Delay: "2s", Sessions: 500},
		Greet:       docGreet{Delay: "250ms", Action: "refuse"},
		HELO:        docAction{Action: "refuse"},
		IPRev:       docAction{Action: "tag"},
		Recipient:   docRecipient{PerHour: 1000},
		Header:      docHeader{SeveralFrom: "refuse", EightBit: "tag", Other: "tag"},
		ClamAV:      docClamAV{Action: "refuse", MaxSize: "50MB"},
	}
}

// stages are the lists as they are given, or the default ones with the programs that are configured.
func (p *parser) stages(d docAdmission) (strangers, users []string) {
	var programs []string
	for _, c := range []struct {
		name, key, table string
		configured       bool
	}{
		{"clamav", "admission.clamav", "[admission.clamav]", d.ClamAV.Address != ""},
		{"milter", "admission.milter[0]", "[[admission.milter]]", len(d.Milter) > 0},
	} {
		named := slices.Contains(d.Stages, c.name) || slices.Contains(d.UserStages, c.name)
		switch {
		case named && !c.configured:
			p.complain("admission", "the stage %s needs %s with an address", c.name, c.table)
		case c.configured && !named && d.Stages != nil && d.UserStages != nil:
			p.complain(c.key, "neither stages nor user_stages has %q; add it there, or remove this", c.name)
		}
		if c.configured {
			programs = append(programs, c.name)
		}
	}
	if strangers = d.Stages; strangers == nil {
		strangers = append([]string{"greet", "helo", "iprev", "recipient", "spf", "dkim", "dmarc", "loop", "header"}, programs...)
	}
	if users = d.UserStages; users == nil {
		users = slices.Concat([]string{"originator"}, programs, []string{"sign"})
	}
	return strangers, users
}

func (p *parser) admission(d docAdmission) Admission {
	strangers, users := p.stages(d)
	return Admission{
		Stages:      strangers,
		UserStages:  users,
		ClamAV:      p.clamAV(d.ClamAV),
		Milters:     p.milters(d.Milter),
		Trusted:     p.networks("admission.trusted", d.Trusted),
		Connections: p.connections(d.Connections),
		Tarpit: Tarpit{
			After:    p.count("admission.tarpit.after", d.Tarpit.After),
			Sessions: p.count("admission.tarpit.sessions", d.Tarpit.Sessions),
			Delay:    p.between("admission.tarpit.delay", d.Tarpit.Delay, maxTarpitDelay),
		},
		Greet: Greet{
			Delay:  p.between("admission.greet.delay", d.Greet.Delay, maxGreetDelay),
			Action: p.action("admission.greet.action", d.Greet.Action),
		},
		HELO:      p.action("admission.helo.action", d.HELO.Action),
		IPRev:     p.action("admission.iprev.action", d.IPRev.Action),
		Recipient: p.count("admission.recipient.per_hour", d.Recipient.PerHour),
		Monitor:   d.DMARC.Monitor,
		Header: Header{
			SeveralFrom: p.action("admission.header.several_from", d.Header.SeveralFrom),
			EightBit:    p.action("admission.header.eight_bit", d.Header.EightBit),
			Other:       p.action("admission.header.other", d.Header.Other),
		},
	}
}

func (p *parser) clamAV(d docClamAV) (out ClamAV) {
	out.Action = p.action("admission.clamav.action", d.Action)
	if d.Address != "" {
		out.Dial = p.dial("admission.clamav.address", d.Address)
	}
	var err error
	if out.MaxSize, err = Size(d.MaxSize); err != nil || out.MaxSize == 0 {
		p.complain("admission.clamav.max_size", "%q is not a size; give one like \"50MB\", at most clamd's StreamMaxLength", d.MaxSize)
	}
	return out
}

func (p *parser) milters(list []docMilter) (out []Milter) {
	names := map[string]bool{}
	for i, d := range list {
		key := at("admission.milter", i)
		m := Milter{Name: "milter", Lost: "defer", Timeout: defaultMilterTime, Reuse: d.Reuse, Dial: p.dial(key+".address", d.Address)}
		if d.Name != "" {
			m.Name = "milter:" + d.Name
		}
		if names[m.Name] {
			p.complain(key+".name", "another milter is called %q; each of several needs a name of its own", d.Name)
		}
		names[m.Name] = true
		if d.DefaultAction != "" {
			m.Lost = p.action(key+".default_action", d.DefaultAction)
		}
		if d.Timeout != "" {
			m.Timeout = p.between(key+".timeout", d.Timeout, maxMilterTime)
		}
		out = append(out, m)
	}
	return out
}

// dial reads "tcp://host:port" or "unix:///path".
func (p *parser) dial(key, s string) Dial {
	u, err := url.Parse(s)
	switch {
	case err == nil && u.Scheme == "tcp" && u.Port() != "" && u.Path == "":
		return Dial{"tcp", u.Host}
	case err == nil && u.Scheme == "unix" && u.Host == "" && filepath.IsAbs(u.Path):
		return Dial{"unix", u.Path}
	}
	p.complain(key, "%q is neither tcp://host:port nor unix:///path", s)
	return Dial{}
}

func (p *parser) connections(d docConnections) Connections {
	return Connections{
		PerNetwork: p.count("admission.connections.per_network", d.PerNetwork),
		PerMinute:  p.count("admission.connections.per_minute", d.PerMinute),
		Faults:     p.count("admission.connections.faults", d.Faults),
		Unknown:    p.count("admission.connections.unknown_recipients", d.Unknown),
		Ban:        p.duration("admission.connections.ban", d.Ban),
	}
}

func (p *parser) count(key string, n int) int {
	if n < 0 || n > maxCount {
		p.complain(key, "%d is not between 0 (no bound) and %d", n, maxCount)
	}
	return n
}

// between is a duration that may be short, or none.
func (p *parser) between(key, s string, most time.Duration) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || d > most {
		p.complain(key, "%q is not a duration between 0s and %s; give one like \"250ms\"", s, most)
	}
	return d
}

func (p *parser) action(key, word string) string {
	if actions := []string{"accept", "tag", "quarantine", "defer", "refuse"}; !slices.Contains(actions, word) {
		p.complain(key, "%q is none of %s", word, strings.Join(actions, ", "))
	}
	return word
}
