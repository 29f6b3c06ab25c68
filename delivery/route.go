package delivery

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"unicode/utf8"

	"posthouse/delivery/hop"
	"posthouse/mail"
	"posthouse/mail/smtp"
)

// Route sends mail another way than by MX, or into a mailbox. Exactly one of Match and Sender is given.
type Route struct {
	Match  string // shell pattern of recipient domains: "partner.example", "*.partner.example", "*"
	Sender string // shell pattern of sender addresses: "*@example.com"
	Via    string // smtp://host:port, smtps://host:port, lmtp://host:port, lmtp+unix:///path, local, dead
	// Without are keywords of extensions that the hosts do not have, or not so that they could be used: "SMTPUTF8".
	Without  []string
	Username string // with Password: authenticate, over TLS with a good certificate
	Password string
}

// route is a Route made ready.
type route struct {
	match, sender string // lower case
	hop           hop.Hop
}

// Check tells what is wrong with a route, for whoever reads a configuration.
func (r Route) Check() error {
	_, err := r.compile()
	return err
}

func (r Route) compile() (route, error) {
	if (r.Match == "") == (r.Sender == "") {
		return route{}, errors.New("a route needs a pattern of recipient domains or one of sender addresses, not both")
	}
	for _, pattern := range []string{r.Match, r.Sender} {
		if _, err := path.Match(pattern, ""); err != nil {
			return route{}, fmt.Errorf("a route's pattern %q: %w", pattern, err)
		}
	}
	h, err := hop.Parse(r.Via)
	if err != nil {
		return route{}, err
	}
	h.Username, h.Password = r.Username, r.Password
	for _, keyword := range r.Without {
		x := smtp.ExtensionNamed(keyword)
		if x == 0 {
			return route{}, fmt.Errorf("a route's without: %q is no extension that is known here", keyword)
		}
		h.Without |= x
	}
	match, err := canonicalPattern(r.Match)
	if err != nil {
		return route{}, err
	}
	at := strings.LastIndex(r.Sender, "@") + 1
	senders, err := canonicalPattern(r.Sender[at:])
	if err != nil {
		return route{}, err
	}
	return route{match, strings.ToLower(r.Sender[:at]) + senders, h}, nil
}

// canonicalPattern writes a pattern of domains as domains are written: in lower case, as A-labels.
func canonicalPattern(pattern string) (string, error) {
	labels := strings.Split(strings.ToLower(pattern), ".")
	for i, label := range labels {
		if strings.IndexFunc(label, func(r rune) bool { return r >= utf8.RuneSelf }) < 0 {
			continue
		}
		a, err := mail.ParseDomain(label)
		if err != nil {
			return "", fmt.Errorf("a route's pattern %q: %q is no label of a domain, and stars stand in labels of ASCII only", pattern, label)
		}
		labels[i] = a
	}
	return strings.Join(labels, "."), nil
}

func (r *route) matches(from, to mail.Address) bool {
	pattern, s := r.match, to.Domain()
	if r.sender != "" {
		pattern, s = r.sender, strings.ToLower(from.String())
	}
	// A "/" is no border here; neither side needs path.Match to see one.
	flat := strings.NewReplacer("/", "\x00")
	ok, err := path.Match(flat.Replace(pattern), flat.Replace(s))
	return ok && err == nil
}

// route says where a recipient's mail goes next. The sender's own copy takes no route.
func (m *Mover) route(ctx context.Context, from mail.Address, r mail.Recipient) (hop.Hop, error) {
	if r.Own {
		return hop.Hop{Kind: hop.Local}, nil
	}
	to := r.Address
	for i := range m.routes {
		if m.routes[i].matches(from, to) {
			return m.routes[i].hop, nil
		}
	}
	ours, err := m.opts.Directory.IsLocal(ctx, to.Domain())
	if ours {
		return hop.Hop{Kind: hop.Local}, nil
	}
	return hop.Hop{Kind: hop.MX, Host: to.Domain()}, err
}

// Destination names where a recipient's mail goes, for spool.Options: recipients of one destination share jobs, connections and limits.
// It is a hint: each attempt routes anew, and so takes up a changed configuration.
func (m *Mover) Destination(from mail.Address, to mail.Recipient) string {
	h, err := m.route(context.Background(), from, to)
	if err != nil {
		m.opts.Log.Warn("cannot tell whether a domain is ours", "domain", to.Address.Domain(), "err", err)
	}
	return h.String()
}

// Lacks tells whether the next hop of a recipient is known not to offer all of the extensions.
func (m *Mover) Lacks(ctx context.Context, from, to mail.Address, x smtp.Extensions) bool {
	h, err := m.route(ctx, from, mail.Recipient{Address: to})
	if err != nil {
		return false
	}
	_, via := m.transport(h)
	return via == viaRemote && m.hosts.Lacks(h, x)
}

// localDestination is the Destination of our own mailboxes.
var localDestination = hop.Hop{Kind: hop.Local}.String()

// parking is the transport of hop.Dead.
type parking struct{}

func (parking) Close() error { return nil }

func (parking) Deliver(_ context.Context, _ hop.Hop, t hop.Task) []hop.Result {
	results := make([]hop.Result, len(t.Recipients))
	for i := range results {
		results[i] = hop.Result{Status: hop.Permanent, Reply: smtp.Reply{Code: 550, Enhanced: smtp.Enhanced{5, 7, 1}, Text: "parked by a route"}}
	}
	return results
}
