package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"posthouse/directory"
)

// newLimits shows and sets what an account may send in a day.
func newLimits() *cobra.Command {
	c := &cobra.Command{
		Use: "limits ADDRESS", Short: "What an account may send in a day, and has sent today; with flags, change it", Args: cobra.ExactArgs(1),
		Example: "  posthouse account limits alice@example.com\n  posthouse account limits news@example.com --messages 100000 --recipients -1",
	}
	const means = " a day: 0 is the default of the configuration, -1 any number"
	var set directory.Allowance
	flags := map[string]*int{"messages": &set.Messages, "recipients": &set.Recipients, "new-recipients": &set.NewRecipients}
	c.Flags().IntVar(&set.Messages, "messages", 0, "messages"+means)
	c.Flags().IntVar(&set.Recipients, "recipients", 0, "recipients"+means)
	c.Flags().IntVar(&set.NewRecipients, "new-recipients", 0, "recipients not written to in a year"+means)
	return remote(c, func(c *cobra.Command, server *client, f *connection, args []string) error {
		path := accountPath(args[0]) + "/limits"
		var spent directory.Spent
		if err := server.call(c.Context(), http.MethodGet, path, nil, &spent); err != nil {
			return err
		}
		now := spent.Own
		changed := false
		for name, own := range map[string]*int{"messages": &now.Messages, "recipients": &now.Recipients, "new-recipients": &now.NewRecipients} {
			if c.Flags().Changed(name) {
				*own, changed = *flags[name], true
			}
		}
		if changed {
			put := server.call(c.Context(), http.MethodPut, path, now, nil)
			if err := errors.Join(put, server.call(c.Context(), http.MethodGet, path, nil, &spent)); err != nil {
				return err
			}
		}
		if f.json {
			return printJSON(c.OutOrStdout(), spent)
		}
		t := newTable(c.OutOrStdout(), "A DAY", "ALLOWED", "TODAY")
		t.row("messages", allowed(spent.Allowed.Messages), strconv.Itoa(spent.Today.Messages))
		t.row("recipients", allowed(spent.Allowed.Recipients), strconv.Itoa(spent.Today.Recipients))
		t.row("new recipients", allowed(spent.Allowed.NewRecipients), strconv.Itoa(spent.Today.NewRecipients))
		return t.flush()
	})
}

func allowed(n int) string {
	if n <= 0 {
		return "any"
	}
	return strconv.Itoa(n)
}

// newSuppression are the commands for addresses that nothing is sent to.
func newSuppression() *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "List them", Args: cobra.NoArgs, Example: "  posthouse suppression list"}
	remove := &cobra.Command{Use: "remove ADDRESS", Short: "Send to an address again", Args: cobra.ExactArgs(1), Example: "  posthouse suppression remove bob@example.net"}
	return group("suppression", "Addresses that nothing is sent to, since their mail came back for good",
		remote(list, func(c *cobra.Command, server *client, f *connection, _ []string) error {
			t := newTable(c.OutOrStdout(), "ADDRESS", "SINCE", "EXPIRES", "REASON")
			return printList(t, f, each[directory.Suppression](c.Context(), server, "/v1/suppressions", nil), func(s directory.Suppression) {
				t.row(s.Address.String(), day(s.Since), dayOr(s.Expires, "never"), s.Reason)
			})
		}),
		newSuppressionAdd(),
		remote(remove, func(c *cobra.Command, server *client, _ *connection, args []string) error {
			return server.call(c.Context(), http.MethodDelete, "/v1/suppressions/"+url.PathEscape(args[0]), nil, nil)
		}))
}

func newSuppressionAdd() *cobra.Command {
	var reason, expires string
	c := &cobra.Command{
		Use: "add ADDRESS", Short: "Send nothing to an address", Args: cobra.ExactArgs(1),
		Example: "  posthouse suppression add bob@example.net --reason \"asked for it\" --expires 2027-12-31",
	}
	c.Flags().StringVar(&reason, "reason", "by hand", "why")
	c.Flags().StringVar(&expires, "expires", "", "the day on which it ends, as 2027-12-31 (default: never)")
	return remote(c, func(c *cobra.Command, server *client, _ *connection, args []string) error {
		until, err := parseDay(expires)
		if err != nil {
			return fmt.Errorf("%w: --expires: %w", errUsage, err)
		}
		body := map[string]any{"address": args[0], "reason": reason}
		if !until.IsZero() {
			body["expires"] = until
		}
		return server.call(c.Context(), http.MethodPost, "/v1/suppressions", body, nil)
	})
}
