package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
)

// Bounds of values.
const (
	minMessageSize     = 64 << 10 // RFC 5321 §4.5.3.1.7
	maxMessageSize     = 1 << 30
	minRecipients      = 100 // RFC 5321 §4.5.3.1.8
	maxRecipients      = 100_000
	minCommandMessages = 1000 // RFC 9738 §3
	maxRetries         = 100
	minRetry           = time.Second
	maxDuration        = 60 * 24 * time.Hour
)

// parser turns a document into a Config and gathers complaints.
type parser struct {
	file *File
	meta toml.MetaData
	errs []error
}

func (p *parser) complain(key, format string, args ...any) {
	p.errs = append(p.errs, p.file.Errorf(key, format, args...))
}

// unknown complains about keys that mean nothing, once for each place.
func (p *parser) unknown() {
	for _, key := range p.meta.Undecoded() {
		parent, name := strings.Join(key[:len(key)-1], "."), key[len(key)-1]
		for _, at := range p.file.places(key) {
			if hint := nearest(name, known(parent)); hint != "" {
				p.complain(at, "unknown key; did you mean %s?", hint)
			} else {
				p.complain(at, "unknown key; remove it, or see the documentation for the keys there are")
			}
		}
	}
}

func (p *parser) config(d document) *Config {
	c := &Config{File: p.file, Hostname: strings.ToLower(d.Hostname), DataDir: d.DataDir, Postmaster: d.Postmaster, TLS: TLS(d.TLS)}
	if !strings.Contains(c.Hostname, ".") || strings.ContainsAny(c.Hostname, " @/:") {
		p.complain("hostname", "%q is not a host name; give the full name this server has in DNS, like \"mail.example.com\"", d.Hostname)
	}
	if !filepath.IsAbs(c.DataDir) {
		p.complain("data_dir", "%q is not an absolute path; give one like \"/var/lib/posthouse\"", d.DataDir)
	}
	p.tls(d.TLS)
	c.Listeners = p.listeners(d.Listener)
	c.Domains = p.domains(d.Domain)
	for i, a := range d.Account {
		if a.Login == "" || a.PasswordHash == "" {
			p.complain(at("account", i), "an account needs login and password_hash")
		}
		c.Accounts = append(c.Accounts, Account(a))
	}
	c.Routes = p.routes(d.Route)
	for i, s := range d.DNS.Servers {
		server, err := netip.ParseAddrPort(s)
		if err != nil {
			p.complain("dns.servers", "server %d, %q, is not address:port; give one like \"127.0.0.1:53\"", i+1, s)
		}
		c.DNS.Servers = append(c.DNS.Servers, server)
	}
	c.Delivery = p.delivery(d.Delivery)
	c.Limits = p.limits(d.Limits)
	c.Mailbox = p.mailbox(d.Mailbox)
	if d.Submission.UndoWindow != "off" {
		c.Submission.UndoWindow = p.duration("submission.undo_window", d.Submission.UndoWindow)
	}
	c.Auth = p.auth(d.Auth)
	c.Admission = p.admission(d.Admission)
	return c
}

func at(table string, i int) string { return fmt.Sprintf("%s[%d]", table, i) }

func (p *parser) tls(t docTLS) {
	files := t.CertFile != "" || t.KeyFile != ""
	switch t.Mode {
	case "files":
		if t.CertFile == "" || t.KeyFile == "" {
			p.complain("tls.mode", "mode \"files\" needs cert_file and key_file")
		}
	case "acme", "self-signed":
		if files {
			p.complain("tls.mode", "cert_file and key_file are used with mode = \"files\" only; set that, or remove them")
		}
	default:
		p.complain("tls.mode", "%q is none of acme, files, self-signed", t.Mode)
	}
}

func (p *parser) listeners(list []docListener) (out []Listener) {
	if len(list) == 0 {
		list = defaultListeners()
	}
	taken := map[netip.AddrPort]int{}
	for i, d := range list {
		key := at("listener", i)
		l := Listener{Protocol: d.Protocol, AllowPlaintextAuth: d.AllowPlaintextAuth, ShowClients: d.ShowClients}
		if !slices.Contains(Protocols(), d.Protocol) {
			p.complain(key+".protocol", "%q is none of %s", d.Protocol, strings.Join(Protocols(), ", "))
		}
		var err error
		if l.Address, err = netip.ParseAddrPort(d.Address); err != nil {
			p.complain(key+".address", "%q is not address:port; give one like \"0.0.0.0:25\" or \"[::]:25\"", d.Address)
		} else if other, ok := taken[l.Address]; ok && l.Address.Port() != 0 {
			p.complain(key+".address", "%s is also listener[%d]'s; each needs its own", l.Address, other)
		}
		taken[l.Address] = i
		l.ProxyProtocolFrom = p.networks(key+".proxy_protocol_from", d.ProxyProtocolFrom)
		l.RelayFrom = p.networks(key+".relay_from", d.RelayFrom)
		if len(l.RelayFrom) > 0 && d.Protocol != "smtp" {
			p.complain(key+".relay_from", "only a listener with protocol = \"smtp\" relays by network; remove it")
		}
		l.XClientFrom = p.networks(key+".xclient_from", d.XClientFrom)
		if len(l.XClientFrom) > 0 && !takesMail(d.Protocol) {
			p.complain(key+".xclient_from", "it means nothing for %s; remove it", d.Protocol)
		}
		l.ETRNDomains, l.ETRNFrom = d.ETRNDomains, p.networks(key+".etrn_from", d.ETRNFrom)
		p.etrn(key, d)
		if d.AllowPlaintextAuth && !slices.Contains([]string{"smtp", "submission", "imap", "pop3"}, d.Protocol) {
			p.complain(key+".allow_plaintext_auth", "it means nothing for %s; remove it", d.Protocol)
		}
		if d.ShowClients && !strings.HasPrefix(d.Protocol, "submission") {
			p.complain(key+".show_clients", "it means nothing for %s; remove it", d.Protocol)
		}
		out = append(out, l)
	}
	return out
}

// takesMail tells the protocols by which mail comes in.
func takesMail(protocol string) bool {
	return slices.Contains([]string{"smtp", "submission", "submissions", "lmtp"}, protocol)
}

func (p *parser) etrn(key string, d docListener) {
	switch {
	case len(d.ETRNDomains) > 0 && !takesMail(d.Protocol):
		p.complain(key+".etrn_domains", "it means nothing for %s; remove it", d.Protocol)
	case len(d.ETRNFrom) > 0 && len(d.ETRNDomains) == 0:
		p.complain(key+".etrn_from", "without etrn_domains there is nothing to ask for; give those, or remove it")
	}
}

func (p *parser) networks(key string, list []string) (out []netip.Prefix) {
	for _, s := range list {
		network, err := netip.ParsePrefix(s)
		if err != nil {
			if a, err := netip.ParseAddr(s); err == nil {
				a = a.Unmap()
				out = append(out, netip.PrefixFrom(a, a.BitLen()))
				continue
			}
			p.complain(key, "%q is not a network; give one like \"192.0.2.0/24\"", s)
		}
		if a := network.Addr(); a.Is4In6() && network.Bits() >= 96 { // clients are called by their IPv4 addresses
			network = netip.PrefixFrom(a.Unmap(), network.Bits()-96)
		}
		out = append(out, network.Masked())
	}
	return out
}

func (p *parser) domains(list []docDomain) (out []Domain) {
	for i, d := range list {
		if d.Name == "" {
			p.complain(at("domain", i), "a domain needs name")
		}
		out = append(out, Domain(d))
	}
	return out
}

func (p *parser) routes(list []docRoute) (out []Route) {
	for i, r := range list {
		key := at("route", i)
		if (r.Match == "") == (r.Sender == "") {
			p.complain(key, "a route needs match (a pattern of recipient domains) or sender (one of sender addresses), not both")
		}
		u, err := url.Parse(r.Via)
		plain := r.Via == "local" || r.Via == "dead"
		if err != nil || !plain && !slices.Contains([]string{"smtp", "smtps", "lmtp", "lmtp+unix"}, u.Scheme) {
			p.complain(key+".via", "%q is none of smtp://host:port, smtps://host:port, lmtp://host:port, lmtp+unix:///path, local, dead", r.Via)
		} else if plain && len(r.Without) > 0 {
			p.complain(key+".without", "via %q has no extensions; remove it", r.Via)
		} else if plain && r.CredentialsFile != "" {
			p.complain(key+".credentials_file", "via %q needs no credentials; remove it", r.Via)
		}
		out = append(out, Route(r))
	}
	return out
}

func (p *parser) delivery(d docDelivery) (out Delivery) {
	if d.Port < 1 || d.Port > 65535 {
		p.complain("delivery.port", "%d is not a port", d.Port)
	}
	out.Port = uint16(d.Port)
	if len(d.Retry) == 0 || len(d.Retry) > maxRetries {
		p.complain("delivery.retry", "it needs 1 to %d delays", maxRetries)
	}
	for _, s := range d.Retry {
		out.Retry = append(out.Retry, p.duration("delivery.retry", s))
	}
	out.GiveUpAfter = p.duration("delivery.give_up_after", d.GiveUpAfter)
	out.WarnAfter = p.duration("delivery.warn_after", d.WarnAfter)
	if out.WarnAfter > out.GiveUpAfter {
		p.complain("delivery.warn_after", "%s is later than give_up_after, %s; make it earlier", d.WarnAfter, d.GiveUpAfter)
	}
	if out.SuppressFor = -1; d.SuppressFor != "off" {
		out.SuppressFor = p.duration("delivery.suppress_for", d.SuppressFor)
	}
	return out
}

func (p *parser) duration(key, s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		p.complain(key, "%q is not a duration; give one like \"30m\" or \"4h\"", s)
		return 0
	}
	if d < minRetry || d > maxDuration {
		p.complain(key, "%s is not between %s and %s", s, minRetry, maxDuration)
	}
	return d
}

func (p *parser) limits(d docLimits) Limits {
	size, err := Size(d.MessageSize)
	if err != nil || size < minMessageSize || size > maxMessageSize {
		p.complain("limits.message_size", "%q is not a size between 64KB and 1GB; give one like \"50MB\"", d.MessageSize)
	}
	if d.Recipients < minRecipients || d.Recipients > maxRecipients {
		p.complain("limits.recipients", "%d is not between %d (RFC 5321 §4.5.3.1.8) and %d", d.Recipients, minRecipients, maxRecipients)
	}
	return Limits{
		MessageSize: size, Recipients: d.Recipients,
		CommandMessages:     p.perCommand("limits.command_messages", d.CommandMessages),
		SavedMessages:       p.perCommand("limits.saved_messages", d.SavedMessages),
		MessagesPerDay:      p.perDay("limits.messages_per_day", d.MessagesPerDay),
		RecipientsPerDay:    p.perDay("limits.recipients_per_day", d.RecipientsPerDay),
		NewRecipientsPerDay: p.perDay("limits.new_recipients_per_day", d.NewRecipientsPerDay),
	}
}

// perCommand is a number of messages that is not less than RFC 9738 §3 advises; 0: any number.
func (p *parser) perCommand(key string, n int) int {
	if n != 0 && n < minCommandMessages {
		p.complain(key, "%d is neither 0 nor at least %d (RFC 9738 §3)", n, minCommandMessages)
	}
	return n
}

func (p *parser) mailbox(d docMailbox) (out Mailbox) {
	if d.KeepExpunged != "off" {
		out.KeepExpunged = p.duration("mailbox.keep_expunged", d.KeepExpunged)
	}
	var err error
	if out.KeepAtMost, err = Size(d.KeepAtMost); err != nil || out.KeepAtMost == 0 {
		p.complain("mailbox.keep_at_most", "%q is not a size; give one like \"1GB\"", d.KeepAtMost)
	}
	return out
}

// Size reads a number of octets: "50MB", "64KB", "1GB" (of 1,024) or a plain number.
func Size(s string) (int64, error) {
	unit := int64(1)
	for i, suffix := range []string{"KB", "MB", "GB"} {
		if number, ok := strings.CutSuffix(strings.ToUpper(s), suffix); ok {
			s, unit = number, 1<<(10*(i+1))
		}
	}
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 32)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%q is not a size", s)
	}
	return n * unit, nil
}
