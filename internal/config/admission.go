package config

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Bounds of admission.
const (
	maxGreetDelay  = time.Minute // RFC 5321 §4.5.3.2.1: a client waits five for its greeting
	maxTarpitDelay = time.Minute
	maxCount       = 1_000_000
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
		Stages:      []string{"greet", "helo", "iprev", "recipient", "spf", "dkim", "dmarc", "loop", "header"},
		UserStages:  []string{"originator", "sign"},
		Trusted:     []string{"127.0.0.0/8", "::1/128"},
		Connections: docConnections{PerNetwork: 100, PerMinute: 300, Faults: 20, Unknown: 100, Ban: "1h"},
		Tarpit:      docTarpit{After: 3, Delay: "2s", Sessions: 500},
		Greet:       docGreet{Delay: "250ms", Action: "refuse"},
		HELO:        docAction{Action: "refuse"},
		IPRev:       docAction{Action: "tag"},
		Recipient:   docRecipient{PerHour: 1000},
		Header:      docHeader{SeveralFrom: "refuse", EightBit: "tag", Other: "tag"},
	}
}

func (p *parser) admission(d docAdmission) Admission {
	return Admission{
		Stages:      d.Stages,
		UserStages:  d.UserStages,
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
