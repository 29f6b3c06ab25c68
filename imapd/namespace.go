package imapd

import (
	"context"
	"slices"
	"strings"

	"posthouse/mail"
	"posthouse/mailbox"
)

// The namespaces beside one's own: the accounts of other users, and those that nobody logs in to. Below them comes the owner's login name
// (RFC 2342 §5), and below that the mailbox.
const (
	otherUsers    = "Other Users"
	sharedFolders = "Shared Folders"
)

func namespace() extension {
	return extension{
		name: "NAMESPACE", rfc: "RFC 2342",
		commands: []command{{name: "NAMESPACE", rfc: "RFC 9051 §6.3.10", in: loggedIn, beside: true, parse: alone(runNamespace)}},
	}
}

// runNamespace tells of all three, whether there is anything in them or not.
func runNamespace(_ context.Context, s *session) (reply, error) {
	const separator = mailbox.Separator + `" "` + mailbox.Separator + `"))`
	return reply{}, s.out.WriteString(`* NAMESPACE (("" "` + mailbox.Separator + `")) (("` + otherUsers + separator + ` (("` + sharedFolders + separator + "\r\n")
}

// foreignName is the name of a mailbox in one of the other namespaces.
type foreignName struct {
	root  string       // the namespace
	owner mail.Address // zero: it ends before, or that is no login name
	box   string       // in the owner's account; empty: it ends before
}

// parseForeign tells whether a name is in one of the other namespaces, and takes it apart. The roots themselves are.
func parseForeign(name string) (f foreignName, foreign bool) {
	root, rest, _ := strings.Cut(name, mailbox.Separator)
	if root != otherUsers && root != sharedFolders {
		return f, false
	}
	login, box, _ := strings.Cut(rest, mailbox.Separator)
	f = foreignName{root: root, box: strings.TrimSuffix(box, mailbox.Separator)}
	if owner, err := mail.ParseAddress(login); err == nil {
		f.owner = owner.FoldLocal()
	}
	return f, true
}

// canonicalForeign is the one form of a name in the other namespaces: what is subscribed to is found again by it. Other names stay.
func canonicalForeign(name string) string {
	f, foreign := parseForeign(name)
	if !foreign || f.owner.IsNull() {
		return name
	}
	if box, err := mailbox.CanonicalName(f.box); err == nil {
		return foreignPrefix(f.root, f.owner) + box
	}
	return name
}

// foreignPrefix is what an owner's mailboxes are named below.
func foreignPrefix(root string, owner mail.Address) string {
	return root + mailbox.Separator + owner.String() + mailbox.Separator
}

// parent is the name of the level above; empty: there is none.
func parent(name string) string { return name[:max(strings.LastIndex(name, mailbox.Separator), 0)] }

// reaches tells whether a pattern may match names with the prefix.
func reaches(pattern, prefix string) bool {
	at := newMatching(pattern)
	for i := range len(prefix) {
		at.step(prefix[i])
	}
	return slices.Contains(at.states, true)
}
