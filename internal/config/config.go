// Package config reads the configuration file: TOML, strict. What is wrong with it is said with file, line and the fix, all of it at
// once, before anything starts.
//
// It knows no mail: addresses and patterns are text here, and whoever gives them a meaning reports through File.Errorf.
//
// The flow: Read → decode (unknown keys) → each check of a section → Config, with every default filled in.
package config

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
)

// maxFile is the longest file read, in octets.
const maxFile = 4 << 20

// Config is a configuration that passed all checks.
type Config struct {
	Hostname   string
	DataDir    string
	Postmaster string // an address; empty: none
	TLS        TLS
	Listeners  []Listener
	Domains    []Domain
	Accounts   []Account
	Routes     []Route
	DNS        DNS
	Delivery   Delivery
	Limits     Limits
	Mailbox    Mailbox
	Submission Submission
	Admission  Admission
	Auth       Auth
	File       *File // where it came from, for further complaints
}

// TLS says where certificates come from.
type TLS struct {
	Mode              string // acme, files or self-signed
	CertFile, KeyFile string // of files
	Email             string // of acme: who is told about trouble
	Directory         string // of acme: its directory URL
	ClientCAFile      string // authorities whose certificates tell who a user is; empty: none
}

// Listener is one open port.
type Listener struct {
	Protocol           string // one of Protocols
	Address            netip.AddrPort
	ProxyProtocolFrom  []netip.Prefix // networks that may send a PROXY header
	RelayFrom          []netip.Prefix // smtp: networks that may relay without authentication
	XClientFrom        []netip.Prefix // networks of proxies and filters that may use XCLIENT and XFORWARD
	ETRNDomains        []string       // domains whose mail ETRN has tried at once
	ETRNFrom           []netip.Prefix // networks that may use ETRN without authentication
	AllowPlaintextAuth bool
	ShowClients        bool // submission: where users' clients are is in what they send
}

// Domain is one whose mail ends here.
type Domain struct {
	Name     string
	CatchAll string // an address; empty: none
}

// Account is one that the configuration declares.
type Account struct {
	Login        string // an address
	PasswordHash string // Argon2id, as a PHC string
}

// Route sends mail another way than MX.
type Route struct {
	Match           string // pattern of recipient domains
	Sender          string // pattern of sender addresses
	Via             string
	Without         []string // keywords of SMTP extensions that are not used there
	CredentialsFile string   // a file with one line "user:password"
}

// DNS says whom to ask.
type DNS struct {
	Servers []netip.AddrPort // empty: the system's
}

// Delivery says how mail leaves.
type Delivery struct {
	Port        uint16
	Retry       []time.Duration // the last repeats
	GiveUpAfter time.Duration
	WarnAfter   time.Duration
	SuppressFor time.Duration // below 0: nothing is suppressed
}

// Limits bound what clients may ask for.
type Limits struct {
	MessageSize int64 // octets
	Recipients  int
	// Messages of one IMAP command, and of one COPY or APPEND alone (RFC 9738); 0: any number.
	CommandMessages, SavedMessages int
	// What an account may send in a day; 0: any number.
	MessagesPerDay, RecipientsPerDay, NewRecipientsPerDay int
}

// Submission says what becomes of what our users send.
type Submission struct {
	UndoWindow time.Duration // how long it waits before it goes; 0: not at all
}

// Mailbox says how mailboxes are kept.
type Mailbox struct {
	KeepExpunged time.Duration // how long expunged mail can be restored; 0: not at all
	KeepAtMost   int64         // octets of an account's
}

// Protocols are what a listener can speak.
func Protocols() []string {
	return []string{"smtp", "submission", "submissions", "lmtp", "imap", "imaps", "pop3", "pop3s", "http", "https"}
}

// File is a file with the places of its keys.
type File struct {
	name  string
	lines map[string]int
}

// Errorf complains about a key ("listener[0].address"); the line is that of the key, or of its table if it is not there.
func (f *File) Errorf(key, format string, args ...any) error {
	at := key
	for f.lines[at] == 0 && at != "" {
		at = at[:max(strings.LastIndexAny(at, ".["), 0)]
	}
	return fmt.Errorf("%s:%d: %s: %s", f.name, max(f.lines[at], 1), key, fmt.Sprintf(format, args...))
}

// Read reads a file. Its error joins all complaints.
func Read(name string) (*Config, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s: longer than %d octets", name, maxFile)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return Parse(name, string(text))
}

// Parse is Read for text at hand; name is for complaints.
func Parse(name, text string) (*Config, error) {
	d := defaults()
	meta, err := toml.Decode(text, &d)
	if err != nil {
		return nil, fmt.Errorf("%s:%s", name, undecodable(err))
	}
	p := &parser{file: &File{name, locate(text)}, meta: meta}
	p.unknown()
	c := p.config(d)
	if len(p.errs) > 0 {
		return nil, errors.Join(p.errs...)
	}
	return c, nil
}

// undecodable says "line: key: trouble" of what the TOML library could not read: a syntax error, or a value of the wrong type, of which
// it tells the line in the text alone.
func undecodable(err error) string {
	var syntax toml.ParseError
	if errors.As(err, &syntax) {
		return fmt.Sprintf("%d: %s", syntax.Position.Line, syntax.Message)
	}
	text := strings.TrimPrefix(err.Error(), "toml: line ")
	text = strings.Replace(text, " (last key \"", ": ", 1)
	return strings.Replace(text, "\"): ", ": ", 1)
}

// document is the file as it stands.
type document struct {
	Hostname   string        `toml:"hostname"`
	DataDir    string        `toml:"data_dir"`
	Postmaster string        `toml:"postmaster"`
	TLS        docTLS        `toml:"tls"`
	Listener   []docListener `toml:"listener"`
	Domain     []docDomain   `toml:"domain"`
	Account    []docAccount  `toml:"account"`
	Route      []docRoute    `toml:"route"`
	DNS        docDNS        `toml:"dns"`
	Delivery   docDelivery   `toml:"delivery"`
	Limits     docLimits     `toml:"limits"`
	Mailbox    docMailbox    `toml:"mailbox"`
	Submission docSubmission `toml:"submission"`
	Admission  docAdmission  `toml:"admission"`
	Auth       docAuth       `toml:"auth"`
}

type docTLS struct {
	Mode         string `toml:"mode"`
	CertFile     string `toml:"cert_file"`
	KeyFile      string `toml:"key_file"`
	Email        string `toml:"email"`
	Directory    string `toml:"directory"`
	ClientCAFile string `toml:"client_ca_file"`
}

type docListener struct {
	Protocol           string   `toml:"protocol"`
	Address            string   `toml:"address"`
	ProxyProtocolFrom  []string `toml:"proxy_protocol_from"`
	RelayFrom          []string `toml:"relay_from"`
	XClientFrom        []string `toml:"xclient_from"`
	ETRNDomains        []string `toml:"etrn_domains"`
	ETRNFrom           []string `toml:"etrn_from"`
	AllowPlaintextAuth bool     `toml:"allow_plaintext_auth"`
	ShowClients        bool     `toml:"show_clients"`
}

type docDomain struct {
	Name     string `toml:"name"`
	CatchAll string `toml:"catch_all"`
}

type docAccount struct {
	Login        string `toml:"login"`
	PasswordHash string `toml:"password_hash"`
}

type docRoute struct {
	Match           string   `toml:"match"`
	Sender          string   `toml:"sender"`
	Via             string   `toml:"via"`
	Without         []string `toml:"without"`
	CredentialsFile string   `toml:"credentials_file"`
}

type docDNS struct {
	Servers []string `toml:"servers"`
}

type docDelivery struct {
	Port        int      `toml:"port"`
	Retry       []string `toml:"retry"`
	GiveUpAfter string   `toml:"give_up_after"`
	WarnAfter   string   `toml:"warn_after"`
	SuppressFor string   `toml:"suppress_for"`
}

type docLimits struct {
	MessageSize         string `toml:"message_size"`
	Recipients          int    `toml:"recipients"`
	CommandMessages     int    `toml:"command_messages"`
	SavedMessages       int    `toml:"saved_messages"`
	MessagesPerDay      int    `toml:"messages_per_day"`
	RecipientsPerDay    int    `toml:"recipients_per_day"`
	NewRecipientsPerDay int    `toml:"new_recipients_per_day"`
}

type docSubmission struct {
	UndoWindow string `toml:"undo_window"`
}

type docMailbox struct {
	KeepExpunged string `toml:"keep_expunged"`
	KeepAtMost   string `toml:"keep_at_most"`
}

// defaults are right for most; the listeners are those of a mail server on all addresses.
func defaults() document {
	return document{
		DataDir:    "/var/lib/posthouse",
		TLS:        docTLS{Mode: "acme"},
		Delivery:   docDelivery{Port: 25, Retry: []string{"5m", "15m", "30m", "1h", "2h", "4h", "8h"}, GiveUpAfter: "120h", WarnAfter: "4h", SuppressFor: "336h"},
		Limits:     docLimits{MessageSize: "50MB", Recipients: 1000, MessagesPerDay: 2000, RecipientsPerDay: 10_000, NewRecipientsPerDay: 2000},
		Submission: docSubmission{UndoWindow: "off"},
		Mailbox:    docMailbox{KeepExpunged: "168h", KeepAtMost: "1GB"},
		Admission:  defaultAdmission(),
	}
}

func defaultListeners() []docListener {
	return []docListener{
		{Protocol: "smtp", Address: "[::]:25"},
		{Protocol: "submission", Address: "[::]:587"},
		{Protocol: "submissions", Address: "[::]:465"},
		{Protocol: "imap", Address: "[::]:143"},
		{Protocol: "imaps", Address: "[::]:993"},
	}
}
