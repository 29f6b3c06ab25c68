package config

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

const shortest = `hostname = "mail.example.com"
data_dir = "/var/lib/posthouse"
postmaster = "you@example.com"
[[domain]]
name = "example.com"
`

func TestShortestFileHasEveryDefault(t *testing.T) {
	c, err := Parse("posthouse.toml", shortest)
	if err != nil {
		t.Fatal(err)
	}
	var ports []string
	for _, l := range c.Listeners {
		ports = append(ports, l.Protocol+" "+l.Address.String())
	}
	if got := strings.Join(ports, ", "); got != "smtp [::]:25, submission [::]:587, submissions [::]:465, imap [::]:143, imaps [::]:993" {
		t.Error(got)
	}
	if c.TLS.Mode != "acme" || c.Delivery.Port != 25 || c.Limits.MessageSize != 50<<20 || c.Limits.Recipients != 1000 {
		t.Errorf("%+v", c)
	}
	if d := c.Delivery; !slices.Equal(d.Retry[:2], []time.Duration{5 * time.Minute, 15 * time.Minute}) || d.GiveUpAfter != 120*time.Hour || d.WarnAfter != 4*time.Hour || d.SuppressFor != 14*24*time.Hour {
		t.Errorf("%+v", d)
	}
}

func TestEveryKey(t *testing.T) {
	c, err := Parse("posthouse.toml", shortest+`
[tls]
mode = "files"
cert_file = "/etc/cert.pem"
key_file = "/etc/key.pem"
[[listener]]
protocol = "smtp"
address = "0.0.0.0:25"
proxy_protocol_from = ["192.0.2.1"]
relay_from = ["127.0.0.0/8"]
xclient_from = ["192.0.2.2"]
etrn_domains = ["partner.example"]
etrn_from = ["198.51.100.0/24"]
allow_plaintext_auth = true
[[account]]
login = "you@example.com"
password_hash = "$argon2id$…"
[[route]]
match = "*.partner.example"
via = "smtp://relay.example:25"
without = ["SMTPUTF8"]
credentials_file = "/etc/secret"
[[route]]
sender = "*@example.com"
via = "lmtp+unix:///run/lmtp"
[dns]
servers = ["127.0.0.1:53", "[::1]:53"]
[delivery]
port = 2525
retry = ["1s", "2s"]
give_up_after = "1h"
warn_after = "1m"
suppress_for = "off"
[limits]
message_size = "100KB"
recipients = 100
`)
	if err != nil {
		t.Fatal(err)
	}
	l := c.Listeners[0]
	if l.ProxyProtocolFrom[0].String() != "192.0.2.1/32" || l.RelayFrom[0].String() != "127.0.0.0/8" || !l.AllowPlaintextAuth ||
		l.XClientFrom[0].String() != "192.0.2.2/32" || l.ETRNDomains[0] != "partner.example" || l.ETRNFrom[0].String() != "198.51.100.0/24" {
		t.Errorf("%+v", l)
	}
	if len(c.Routes) != 2 || c.Routes[0].Without[0] != "SMTPUTF8" || len(c.DNS.Servers) != 2 || c.Delivery.Port != 2525 || c.Limits.MessageSize != 100<<10 {
		t.Errorf("%+v", c)
	}
}

func TestComplaintsNameLineAndFix(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"syntax":                {"hostname = ", "f:1: "},
		"unknown key":           {shortest + "colour = 1\n", "f:6: domain[0].colour: unknown key; remove it"},
		"misspelt key":          {"hostnam = \"x\"\n" + shortest, "f:1: hostnam: unknown key; did you mean hostname?"},
		"misspelt in a table":   {shortest + "[[listener]]\nprotocol=\"smtp\"\naddress=\"[::]:25\"\n[[listener]]\nprotocol=\"imap\"\nadress=\"[::]:143\"\n", "f:11: listener[1].adress: unknown key; did you mean address?"},
		"wrong type":            {strings.Replace(shortest, `"mail.example.com"`, "7", 1), "f:1: hostname: "},
		"no hostname":           {"data_dir = \"/x\"\n", "f:1: hostname: \"\" is not a host name"},
		"relative data_dir":     {strings.Replace(shortest, "/var/lib", "var/lib", 1), "f:2: data_dir: \"var/lib/posthouse\" is not an absolute path"},
		"mode":                  {shortest + "[tls]\nmode = \"magic\"\n", "f:7: tls.mode: \"magic\" is none of acme"},
		"files without files":   {shortest + "[tls]\nmode = \"files\"\n", "f:7: tls.mode: mode \"files\" needs"},
		"files without mode":    {shortest + "[tls]\ncert_file = \"/x\"\n", "f:6: tls.mode: cert_file and key_file are used"},
		"protocol":              {shortest + "[[listener]]\nprotocol=\"gopher\"\naddress=\"[::]:70\"\n", "f:7: listener[0].protocol: \"gopher\" is none of smtp"},
		"address":               {shortest + "[[listener]]\nprotocol=\"smtp\"\naddress=\"25\"\n", "f:8: listener[0].address: \"25\" is not address:port"},
		"address twice":         {shortest + "[[listener]]\nprotocol=\"smtp\"\naddress=\"[::]:25\"\n[[listener]]\nprotocol=\"imap\"\naddress=\"[::]:25\"\n", "f:11: listener[1].address: [::]:25 is also listener[0]'s"},
		"network":               {shortest + "[[listener]]\nprotocol=\"smtp\"\naddress=\"[::]:25\"\nrelay_from=[\"here\"]\n", "f:9: listener[0].relay_from: \"here\" is not a network"},
		"relay over imap":       {shortest + "[[listener]]\nprotocol=\"imap\"\naddress=\"[::]:25\"\nrelay_from=[\"::1\"]\n", "f:9: listener[0].relay_from: only a listener"},
		"proxy of imap":         {shortest + "[[listener]]\nprotocol=\"imap\"\naddress=\"[::]:143\"\nxclient_from=[\"::1\"]\n", "f:9: listener[0].xclient_from: it means nothing for imap"},
		"ETRN over imap":        {shortest + "[[listener]]\nprotocol=\"imap\"\naddress=\"[::]:143\"\netrn_domains=[\"a.b\"]\n", "f:9: listener[0].etrn_domains: it means nothing for imap"},
		"ETRN for nothing":      {shortest + "[[listener]]\nprotocol=\"smtp\"\naddress=\"[::]:25\"\netrn_from=[\"::1\"]\n", "f:9: listener[0].etrn_from: without etrn_domains"},
		"plaintext over lmtp":   {shortest + "[[listener]]\nprotocol=\"lmtp\"\naddress=\"[::]:24\"\nallow_plaintext_auth=true\n", "f:9: listener[0].allow_plaintext_auth: it means nothing"},
		"domain without name":   {shortest + "[[domain]]\n", "f:6: domain[1]: a domain needs name"},
		"account":               {shortest + "[[account]]\nlogin=\"x\"\n", "f:6: account[0]: an account needs"},
		"route without pattern": {shortest + "[[route]]\nvia=\"local\"\n", "f:6: route[0]: a route needs"},
		"via":                   {shortest + "[[route]]\nmatch=\"*\"\nvia=\"uucp://x\"\n", "f:8: route[0].via: \"uucp://x\" is none of"},
		"useless credentials":   {shortest + "[[route]]\nmatch=\"*\"\nvia=\"dead\"\ncredentials_file=\"/x\"\n", "f:9: route[0].credentials_file: via \"dead\" needs no"},
		"without nothing":       {shortest + "[[route]]\nmatch=\"*\"\nvia=\"local\"\nwithout=[\"DSN\"]\n", "f:9: route[0].without: via \"local\" has no"},
		"server":                {shortest + "[dns]\nservers=[\"localhost\"]\n", "f:7: dns.servers: server 1"},
		"port":                  {shortest + "[delivery]\nport=0\n", "f:7: delivery.port: 0 is not a port"},
		"retry":                 {shortest + "[delivery]\nretry=[]\n", "f:7: delivery.retry: it needs"},
		"duration":              {shortest + "[delivery]\nretry=[\"soon\"]\n", "f:7: delivery.retry: \"soon\" is not a duration"},
		"short duration":        {shortest + "[delivery]\nretry=[\"1ms\"]\n", "f:7: delivery.retry: 1ms is not between"},
		"suppress for":          {shortest + "[delivery]\nsuppress_for=\"never\"\n", "f:7: delivery.suppress_for: \"never\" is not a duration"},
		"clients shown to whom": {shortest + "[[listener]]\nprotocol=\"smtp\"\naddress=\"[::]:25\"\nshow_clients=true\n", "f:9: listener[0].show_clients: it means nothing for smtp"},
		"warn after give up":    {shortest + "[delivery]\nwarn_after=\"200h\"\n", "f:7: delivery.warn_after: 200h is later"},
		"size":                  {shortest + "[limits]\nmessage_size=\"big\"\n", "f:7: limits.message_size: \"big\" is not a size"},
		"command messages":      {shortest + "[limits]\ncommand_messages=999\n", "f:7: limits.command_messages: 999 is neither 0 nor at least 1000"},
		"clamav not there":      {shortest + "[admission]\nstages=[\"clamav\"]\n", "f:6: admission: the stage clamav needs [admission.clamav] with an address"},
		"milter not asked":      {shortest + "[admission]\nstages=[]\nuser_stages=[]\n[[admission.milter]]\naddress=\"tcp://[::1]:1\"\n", "f:9: admission.milter[0]: neither stages nor user_stages has \"milter\""},
		"milter's address":      {shortest + "[[admission.milter]]\naddress=\"localhost\"\n", "f:7: admission.milter[0].address: \"localhost\" is neither tcp://host:port nor unix:///path"},
		"milter without":        {shortest + "[[admission.milter]]\n", "f:6: admission.milter[0].address: \"\" is neither"},
		"milter's action":       {shortest + "[[admission.milter]]\naddress=\"tcp://[::1]:1\"\ndefault_action=\"hope\"\n", "f:8: admission.milter[0].default_action: \"hope\" is none of accept"},
		"milter's time":         {shortest + "[[admission.milter]]\naddress=\"tcp://[::1]:1\"\ntimeout=\"5m\"\n", "f:8: admission.milter[0].timeout: \"5m\" is not a duration between 0s and 4m0s"},
		"milters' names":        {shortest + "[[admission.milter]]\naddress=\"tcp://[::1]:1\"\n[[admission.milter]]\naddress=\"tcp://[::1]:2\"\n", "f:8: admission.milter[1].name: another milter is called \"\""},
		"clamav's address":      {shortest + "[admission.clamav]\naddress=\"unix:clamd\"\n", "f:7: admission.clamav.address: \"unix:clamd\" is neither"},
		"clamav's size":         {shortest + "[admission.clamav]\nmax_size=\"much\"\n", "f:7: admission.clamav.max_size: \"much\" is not a size"},
		"stage's key":           {shortest + "[admission.greet]\ndelai=\"1s\"\n", "f:7: admission.greet.delai: unknown key; did you mean delay?"},
		"greet delay":           {shortest + "[admission.greet]\ndelay=\"1h\"\n", "f:7: admission.greet.delay: \"1h\" is not a duration between 0s and 1m0s"},
		"tarpit delay":          {shortest + "[admission.tarpit]\ndelay=\"-1s\"\n", "f:7: admission.tarpit.delay: \"-1s\" is not"},
		"action":                {shortest + "[admission.helo]\naction=\"hate\"\n", "f:7: admission.helo.action: \"hate\" is none of accept, tag"},
		"negative bound":        {shortest + "[admission.connections]\nfaults=-1\n", "f:7: admission.connections.faults: -1 is not between 0"},
		"trusted":               {shortest + "[admission]\ntrusted=[\"me\"]\n", "f:7: admission.trusted: \"me\" is not a network"},
		"a day":                 {shortest + "[limits]\nmessages_per_day=-1\n", "f:7: limits.messages_per_day: -1 is not between 0, which is any number"},
		"issuer":                {shortest + "[auth.oauth]\nissuer=\"http://x.test\"\naudience=\"a\"\n", "f:7: auth.oauth.issuer: \"http://x.test\" is not an https URL"},
		"audience":              {shortest + "[auth.oauth]\nissuer=\"https://x.test\"\n", "f:6: auth.oauth.audience: without it tokens for any other service"},
		"no issuer":             {shortest + "[auth.oauth]\naudience=\"a\"\n", "f:6: auth.oauth.issuer: an audience needs"},
		"recipients":            {shortest + "[limits]\nrecipients=10\n", "f:7: limits.recipients: 10 is not between"},
	} {
		_, err := Parse("f", c.text)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
	}
}

// The programs that are configured are asked, unless the lists of stages say otherwise.
func TestStages(t *testing.T) {
	programs := "[admission.clamav]\naddress=\"unix:///run/clamd\"\n[[admission.milter]]\naddress=\"tcp://127.0.0.1:11332\"\nname=\"rspamd\"\nreuse=true\n"
	for text, want := range map[string]string{
		"":       "greet helo iprev recipient spf dkim dmarc loop header | originator sign",
		programs: "greet helo iprev recipient spf dkim dmarc loop header clamav milter | originator clamav milter sign",
		"[admission]\nstages=[\"milter\",\"spf\"]\n" + programs: "milter spf | originator clamav milter sign",
	} {
		c, err := Parse("f", shortest+text)
		if err != nil {
			t.Error(err)
			continue
		}
		if got := strings.Join(c.Admission.Stages, " ") + " | " + strings.Join(c.Admission.UserStages, " "); got != want {
			t.Errorf("%s: %s", text, got)
		}
		if m := c.Admission.Milters; len(m) > 0 && m[0] != (Milter{"milter:rspamd", Dial{"tcp", "127.0.0.1:11332"}, "defer", 30 * time.Second, true}) {
			t.Errorf("%+v", m)
		}
	}
}

// A client that comes by an IPv4-mapped address is of its IPv4 network, however the configuration writes that.
func TestNetworksAreUnmapped(t *testing.T) {
	c, err := Parse("f", shortest+"[admission]\ntrusted=[\"::ffff:192.0.2.7\", \"::ffff:10.1.2.3/104\", \"::/0\", \"2001:db8::1/32\"]\n")
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(c.Admission.Trusted); got != "[192.0.2.7/32 10.0.0.0/8 ::/0 2001:db8::/32]" {
		t.Error(got)
	}
}

func TestAllComplaintsAtOnce(t *testing.T) {
	_, err := Parse("f", "hostname = \"x\"\ndata_dir = \"y\"\n[limits]\nrecipients = 1\n")
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(shortest)
	f.Add("[[listener]]\nprotocol=\"smtp\"\n[a.b]\nc=1\n")
	f.Fuzz(func(t *testing.T, text string) {
		if c, err := Parse("f", text); (c == nil) == (err == nil) {
			t.Error("neither or both of a configuration and an error")
		}
	})
}
