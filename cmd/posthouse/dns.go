package main

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"posthouse/internal/config"
)

// zone is what to publish so that others deliver to us and believe our mail, as a zone file: MX (RFC 5321 §5.1), SPF for domains and for
// our host's name in EHLO (RFC 7208 §2.3), DKIM keys, DMARC, and SRV by which clients find where to read and send. Addresses of the host are
// for whoever has them to add.
func (h *house) zone() (string, error) {
	domains, err := h.directory.Domains(context.Background())
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s. TXT \"v=spf1 a -all\"\n", h.hostname)
	for _, d := range domains {
		fmt.Fprintf(&b, "%[1]s. MX 10 %[2]s.\n%[1]s. TXT \"v=spf1 mx -all\"\n_dmarc.%[1]s. TXT \"v=DMARC1; p=reject\"\n", d.Name, h.hostname)
		records, err := h.keys.records(d.Name)
		if err != nil {
			return "", err
		}
		for _, name := range slices.Sorted(maps.Keys(records)) {
			fmt.Fprintf(&b, "%s. TXT %s\n", name, quoteTXT(records[name]))
		}
		b.WriteString(services(d.Name, h.hostname, h.listeners))
	}
	return b.String(), nil
}

// clientServices are the protocols of clients, those that they should prefer first: RFC 6186 §3, RFC 8314 §5.1.
var clientServices = []string{"submissions", "submission", "imaps", "imap", "pop3s", "pop3"}

// services are the SRV records of a domain: one for each protocol that others than this machine can reach, at its first listener.
func services(domain, host string, listeners []config.Listener) string {
	var b strings.Builder
	for priority, protocol := range clientServices {
		i := slices.IndexFunc(listeners, func(l config.Listener) bool { return l.Protocol == protocol && !l.Address.Addr().IsLoopback() })
		if i >= 0 {
			fmt.Fprintf(&b, "_%s._tcp.%s. SRV %d 1 %d %s.\n", protocol, domain, priority, listeners[i].Address.Port(), host)
		}
	}
	return b.String()
}

// quoteTXT writes a TXT record's value as strings of at most 255 octets: RFC 1035 §3.3.
func quoteTXT(value string) string {
	const most = 255
	var parts []string
	for ; len(value) > most; value = value[most:] {
		parts = append(parts, `"`+value[:most]+`"`)
	}
	return strings.Join(append(parts, `"`+value+`"`), " ")
}

func newDNS() *cobra.Command {
	c := &cobra.Command{Use: "dns", Short: "Print the DNS records to publish, as a zone file", Args: cobra.NoArgs, Example: "  posthouse dns > records.zone"}
	return remote(c, func(c *cobra.Command, server *client, f *connection, _ []string) error {
		var answer map[string]string
		if err := server.call(c.Context(), http.MethodGet, "/v1/dns", nil, &answer); err != nil {
			return err
		}
		if f.json {
			return printJSON(c.OutOrStdout(), answer)
		}
		fmt.Fprint(c.OutOrStdout(), answer["zone"])
		return nil
	})
}
