package main

import (
	"iter"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"posthouse/httpd/admin"
)

// bans are those of the house, for the admin API.
func (h *house) bans() iter.Seq[admin.Ban] {
	return func(yield func(admin.Ban) bool) {
		for b := range h.clients.Bans() {
			if !yield(admin.Ban(b)) {
				return
			}
		}
	}
}

func newBans() *cobra.Command {
	return group("bans", "Clients that are not let in for a time", newBansList(), newBansRemove())
}

func newBansList() *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "List the networks that are banned, why, and for how long", Args: cobra.NoArgs, Example: "  posthouse bans list"}
	return remote(c, func(c *cobra.Command, server *client, conn *connection, _ []string) error {
		t := newTable(c.OutOrStdout(), "NETWORK", "WHY", "SINCE", "ENDS IN")
		return printList(t, conn, each[admin.Ban](c.Context(), server, "/v1/bans", nil), func(b admin.Ban) {
			t.row(b.Network.String(), b.Why, b.Since.Local().Format(time.DateTime), ago(time.Until(b.Until)))
		})
	})
}

func newBansRemove() *cobra.Command {
	c := &cobra.Command{Use: "remove NETWORK", Short: "Let a network in again", Args: cobra.ExactArgs(1), Example: "  posthouse bans remove 192.0.2.1"}
	return remote(c, func(c *cobra.Command, server *client, _ *connection, args []string) error {
		return server.call(c.Context(), http.MethodDelete, "/v1/bans?network="+url.QueryEscape(args[0]), nil, nil)
	})
}
