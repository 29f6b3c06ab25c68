package imapd

import (
	"slices"

	"posthouse/mailbox"
)

// extension is a capability with all that it adds. The two revisions of IMAP are extensions like the others.
type extension struct {
	name     string // as in CAPABILITY
	rfc      string
	early    bool                    // it is about logging in
	needs    string                  // the name of an extension without which it is not there; empty: none
	offered  func(*session) bool     // nil: always
	words    func(*session) []string // what CAPABILITY says; nil: the name
	commands []command
	fetch    []fetchItem
	fetches  []fetchModifier
	search   []searchKey
	sorts    []sortKey
	threads  []threadAlgorithm
	returns  []searchOption
	status   []statusItem
	selects  []selectParam
	selected func([]byte, *view) []byte // appends what SELECT tells beside; nil: nothing
	stores   []storeModifier
	lists    []listOption
	creates  []createParam
	appends  []appendItem
	enable   func(*session) error // what ENABLE does; nil: it need not be enabled
}

// extensions are all there are, in the order of CAPABILITY. (It is a function, since a variable would be an initialization cycle.)
func extensions(l *Limits) []extension {
	return []extension{
		rev1(),
		rev2(),
		startTLS(),
		loginDisabled(),
		saslIR(),
		authentication(),
		literalPlus(),
		enable(),
		id(),
		idle(),
		namespace(),
		unselect(),
		uidPlus(),
		move(),
		children(),
		listExtended(),
		listStatus(),
		specialUse(),
		createSpecialUse(),
		statusSize(),
		esearch(),
		searchRes(),
		binary(),
		condStore(),
		qresync(),
		within(),
		saveDate(),
		objectID(),
		appendLimit(l.MessageSize),
		multiAppend(),
		catenate(),
		urlPartial(),
		urlAuth(),
		replace(),
		partialResults(),
		utf8Accept(),
		unauthenticate(),
		compress(),
		preview(),
		sorting(),
		sortDisplay(),
		eSort(),
		fuzzy(),
		contextSearch(),
		contextSort(),
		multiSearch(),
		inProgress(),
		messageLimit(l.CommandMessages),
		saveLimit(l),
		threading("REFERENCES", byReferences),
		threading("REFS", byRefs),
		threading("ORDEREDSUBJECT", byOrderedSubject),
		i18nLevel(),
		metadata(),
		listMetadata(),
		filters(),
		notify(),
		uidOnly(),
		acl(),
		listMyRights(),
		quota(),
		quotaSet(),
		quotaStorage(),
		quotaMessage(),
	}
}

// table is what the extensions add up to, by name.
type table struct {
	extensions []extension
	commands   map[string]*command
	fetch      map[string]fetchItem
	fetches    map[string]fetchModifier
	search     map[string]searchKey
	sorts      map[string]sortKey
	threads    map[string]threadAlgorithm
	returns    map[string]searchOption
	status     map[string]statusItem
	selects    map[string]selectParam
	stores     map[string]storeModifier
	lists      map[string]listOption
	creates    map[string]createParam
	appends    []appendItem
}

// without is a table for clients that have bugs with some extensions, whose names are given: these are not there, nor is what needs
// them. What both an extension and IMAP4rev2 have stays with IMAP4rev2.
func (t *table) without(names []string) *table {
	var left []extension
	for _, e := range t.extensions {
		if !slices.Contains(names, e.name) && (e.needs == "" || slices.ContainsFunc(left, func(l extension) bool { return l.name == e.needs })) {
			left = append(left, e)
		}
	}
	return newTable(left)
}

// Optional are the names of the extensions that an account may be without: all that its clients hear of after they have logged in.
func Optional() (names []string) {
	for _, e := range extensions(&Limits{}) {
		if !e.early && e.name != "IMAP4rev1" {
			names = append(names, e.name)
		}
	}
	return names
}

func newTable(all []extension) *table {
	t := &table{extensions: all, commands: make(map[string]*command)}
	for _, e := range all {
		for i := range e.commands {
			t.commands[e.commands[i].name] = &e.commands[i]
		}
		t.appends = append(t.appends, e.appends...)
	}
	t.fetch = collect(all, func(e extension) []fetchItem { return e.fetch })
	t.fetches = collect(all, func(e extension) []fetchModifier { return e.fetches })
	t.search = collect(all, func(e extension) []searchKey { return e.search })
	t.sorts = collect(all, func(e extension) []sortKey { return e.sorts })
	t.threads = collect(all, func(e extension) []threadAlgorithm { return e.threads })
	t.returns = collect(all, func(e extension) []searchOption { return e.returns })
	t.status = collect(all, func(e extension) []statusItem { return e.status })
	t.selects = collect(all, func(e extension) []selectParam { return e.selects })
	t.stores = collect(all, func(e extension) []storeModifier { return e.stores })
	t.lists = collect(all, func(e extension) []listOption { return e.lists })
	t.creates = collect(all, func(e extension) []createParam { return e.creates })
	return t
}

// named is a row of a slot.
type named interface{ label() string }

func collect[R named](all []extension, slot func(extension) []R) map[string]R {
	rows := make(map[string]R)
	for _, e := range all {
		for _, row := range slot(e) {
			rows[row.label()] = row
		}
	}
	return rows
}

// The slots whose rows are nothing but parsing and one effect; the others are in the files of their commands.
type (
	// selectParam is a parameter of SELECT and EXAMINE: RFC 4466 §2.2.
	selectParam struct {
		name  string
		parse func(*parser, *selectCommand) bool
	}
	// fetchModifier is a modifier of FETCH: RFC 4466 §2.4.
	fetchModifier struct {
		name  string
		parse func(*parser, *fetchCommand) bool
	}
	// storeModifier is a modifier of STORE: RFC 4466 §2.5.
	storeModifier struct {
		name  string
		parse func(*parser, *storeCommand) bool
	}
	// createParam is a parameter of CREATE: RFC 4466 §2.3.
	createParam struct {
		name  string
		parse func(*parser) (func(*mailbox.CreateBox) error, bool)
	}
)

func (p selectParam) label() string   { return p.name }
func (m storeModifier) label() string { return m.name }
func (m fetchModifier) label() string { return m.name }
func (p createParam) label() string   { return p.name }
