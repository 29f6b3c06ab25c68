package mta

import (
	"fmt"
	"slices"
	"strings"

	"posthouse/mta/stage"
)

// Admission says which stages judge mail and in what order. Each has a name; NewServer refuses a name that is none, and an order in which
// a stage would come before one that it builds upon.
type Admission struct {
	// Strangers are the stages for mail from outside; nil: spf, dkim, dmarc. LMTP has none: the server beside us has asked already.
	Strangers []string
	// Users are the stages for mail of our users, and of the networks that we relay for; nil: originator, sign.
	Users []string

	Greet     stage.Greet
	HELO      stage.Action // on a name that is certainly false
	IPRev     stage.Action // on an address without a valid name
	Header    stage.Sanity
	Recipient int // messages an hour for one recipient; 0: any number
	ClamAV    stage.ClamAV
	Milters   []stage.MilterOptions // asked in this order by the stage "milter"

	milters []stage.Stage // made once for both lists, since a session may change from one to the other
}

// maker makes the stages of a name.
type maker struct {
	name  string
	needs []string // the stages whose findings it builds upon: they must be there, and before it
	after []string // those that must be before it if they are there, since it changes what they look at, or must see what they change
	make  func(o *Options) []stage.Stage
}

// makers is the table of all stages. A stage whose means the server was not given (no resolver, no keys) is not there.
func makers() []maker {
	return []maker{
		{name: "greet", make: func(o *Options) []stage.Stage { return []stage.Stage{o.Admission.Greet} }},
		{name: "helo", make: func(o *Options) []stage.Stage {
			return []stage.Stage{stage.HELO{Hostname: o.Hostname, Action: o.Admission.HELO}}
		}},
		{name: "iprev", make: asking(func(o *Options) stage.Stage {
			return stage.IPRev{Resolver: o.Resolver, Action: o.Admission.IPRev}
		})},
		{name: "recipient", make: func(o *Options) []stage.Stage {
			if o.Admission.Recipient == 0 {
				return nil
			}
			return []stage.Stage{stage.NewRecipient(o.Admission.Recipient)}
		}},
		{name: "loop", make: func(*Options) []stage.Stage { return []stage.Stage{stage.Loop{}} }},
		{name: "header", make: func(o *Options) []stage.Stage { return []stage.Stage{o.Admission.Header} }},
		{name: "spf", make: asking(func(o *Options) stage.Stage { return stage.SPF{Resolver: o.Resolver, Hostname: o.Hostname} })},
		{name: "dkim", make: asking(func(o *Options) stage.Stage { return stage.DKIM{Resolver: o.Resolver} })},
		{name: "dmarc", needs: []string{"spf", "dkim"}, make: asking(func(o *Options) stage.Stage {
			return stage.DMARC{Resolver: o.Resolver, Monitor: o.MonitorDMARC}
		})},
		{name: "originator", make: func(o *Options) []stage.Stage {
			if !kinds[o.Kind].submission {
				return nil
			}
			return []stage.Stage{stage.Originator{Owners: o.Directory}}
		}},
		{name: "clamav", make: func(o *Options) []stage.Stage { return []stage.Stage{o.Admission.ClamAV} }},
		{name: "milter", after: []string{"dkim", "originator"}, make: func(o *Options) []stage.Stage { return o.Admission.milters }},
		{name: "sign", after: []string{"originator", "milter"}, make: func(o *Options) []stage.Stage {
			if o.Signer == nil {
				return nil
			}
			return []stage.Stage{stage.Sign{Signer: o.Signer}}
		}},
	}
}

// asking makes a stage that asks the DNS.
func asking(one func(o *Options) stage.Stage) func(o *Options) []stage.Stage {
	return func(o *Options) []stage.Stage {
		if o.Resolver == nil {
			return nil
		}
		return []stage.Stage{one(o)}
	}
}

// CheckStages tells what is wrong with a list of stages.
func CheckStages(names []string) error {
	table := makers()
	for i, name := range names {
		m := slices.IndexFunc(table, func(m maker) bool { return m.name == name })
		if m < 0 {
			var known []string
			for _, m := range table {
				known = append(known, m.name)
			}
			return fmt.Errorf("%w: %q is none of the stages %s", ErrOptions, name, strings.Join(known, ", "))
		}
		if slices.Contains(names[:i], name) {
			return fmt.Errorf("%w: the stage %s is there twice", ErrOptions, name)
		}
		for _, first := range table[m].needs {
			if !slices.Contains(names[:i], first) {
				return fmt.Errorf("%w: the stage %s needs %s before it", ErrOptions, name, first)
			}
		}
		for _, first := range table[m].after {
			if slices.Contains(names[i:], first) {
				return fmt.Errorf("%w: the stage %s must come after %s", ErrOptions, name, first)
			}
		}
	}
	return nil
}

// CheckStrangers is CheckStages for mail from outside. It must not be signed: anybody can write a domain of ours into From.
func CheckStrangers(names []string) error {
	if slices.Contains(names, "sign") {
		return fmt.Errorf("%w: the stage sign is for mail of our users", ErrOptions)
	}
	return CheckStages(names)
}

// list are the stages of one kind of mail, by the phases that they take part in, each in order.
type list struct {
	all     []stage.Stage
	connect []stage.ConnectStage
	hello   []stage.HelloStage
	mail    []stage.MailStage
	rcpt    []stage.RcptStage
	start   []stage.Starter
	data    []stage.DataStage
	taken   []stage.TakenStage
}

// named are the stages of the names, which passed Check.
func named(o *Options, names []string) *list {
	var all []stage.Stage
	for _, name := range names {
		for _, m := range makers() {
			if m.name == name {
				all = append(all, m.make(o)...)
			}
		}
	}
	return newList(all)
}

func newList(all []stage.Stage) *list {
	return &list{
		all:     all,
		connect: having[stage.ConnectStage](all),
		hello:   having[stage.HelloStage](all),
		mail:    having[stage.MailStage](all),
		rcpt:    having[stage.RcptStage](all),
		start:   having[stage.Starter](all),
		data:    having[stage.DataStage](all),
		taken:   having[stage.TakenStage](all),
	}
}

// having are the stages that have a phase.
func having[T stage.Stage](all []stage.Stage) (some []T) {
	for _, st := range all {
		if st, ok := st.(T); ok {
			some = append(some, st)
		}
	}
	return some
}

// lists are the stages for mail from strangers, and for mail of our users and the networks we relay for.
func lists(o *Options) (strangers, users *list) {
	if kinds[o.Kind].lmtp {
		return &list{}, &list{}
	}
	a := &o.Admission
	a.milters = nil
	if a.Strangers == nil {
		a.Strangers = []string{"spf", "dkim", "dmarc"}
	}
	if a.Users == nil {
		a.Users = []string{"originator", "sign"}
	}
	for _, m := range a.Milters {
		m.Hostname = o.Hostname
		a.milters = append(a.milters, stage.NewMilter(m))
	}
	return named(o, a.Strangers), named(o, a.Users)
}

// stages are those for this session's mail.
func (s *session) stages() *list {
	if s.account.ID != "" || s.trusted || s.server.traits.submission {
		return s.server.users
	}
	return s.server.strangers
}
