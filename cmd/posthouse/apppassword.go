package main

import (
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"posthouse/directory"
)

// newAppPassword are the commands for passwords of single programs.
func newAppPassword() *cobra.Command {
	list := &cobra.Command{Use: "list ADDRESS", Short: "List an account's app passwords", Args: cobra.ExactArgs(1), Example: "  posthouse account app-password list alice@example.com"}
	revoke := &cobra.Command{Use: "revoke ADDRESS ID", Short: "End one; the account's open sessions end too", Args: cobra.ExactArgs(2), Example: "  posthouse account app-password revoke alice@example.com k3f7q2m9xd"}
	return group("app-password", "Passwords for single programs",
		newAppPasswordAdd(),
		remote(list, func(c *cobra.Command, server *client, f *connection, args []string) error {
			t := newTable(c.OutOrStdout(), "ID", "LABEL", "SCOPE", "SINCE", "EXPIRES", "LAST USED")
			return printList(t, f, each[directory.AppPassword](c.Context(), server, appPasswordsPath(args[0]), nil), func(p directory.AppPassword) {
				t.row(p.ID, p.Label, p.Scope.String(), day(p.Created), dayOr(p.Expires, "never"), dayOr(p.Used, "never"))
			})
		}),
		remote(revoke, func(c *cobra.Command, server *client, _ *connection, args []string) error {
			return server.call(c.Context(), http.MethodDelete, appPasswordsPath(args[0])+"/"+url.PathEscape(args[1]), nil, nil)
		}))
}

func appPasswordsPath(login string) string { return accountPath(login) + "/app-passwords" }

func newAppPasswordAdd() *cobra.Command {
	var label, scope, expires string
	c := &cobra.Command{
		Use: "add ADDRESS", Short: "Make one, and show it once", Args: cobra.ExactArgs(1),
		Example: "  posthouse account app-password add alice@example.com --label telephone\n" +
			"  posthouse account app-password add scanner@example.com --scope smtp --expires 2027-12-31",
	}
	c.Flags().StringVar(&label, "label", "", "what it is for")
	c.Flags().StringVar(&scope, "scope", "both", "what it opens: smtp, imap, pop3, http, or both for smtp,imap")
	c.Flags().StringVar(&expires, "expires", "", "the day on which it ends, as 2027-12-31 (default: never)")
	return remote(c, func(c *cobra.Command, server *client, f *connection, args []string) error {
		p := directory.AppPassword{Label: label}
		var err error
		if p.Scope, err = directory.ParseScope(scope); err != nil {
			return fmt.Errorf("%w: --scope: %w", errUsage, err)
		}
		if p.Expires, err = parseDay(expires); err != nil {
			return fmt.Errorf("%w: --expires: %w", errUsage, err)
		}
		if err := server.call(c.Context(), http.MethodPost, appPasswordsPath(args[0]), p, &p); err != nil {
			return err
		}
		if f.json {
			return printJSON(c.OutOrStdout(), p)
		}
		fmt.Fprintln(c.OutOrStdout(), p.Password)
		return nil
	})
}

// parseDay is the beginning of a day here; empty: never.
func parseDay(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	return time.ParseInLocation(time.DateOnly, text, time.Local)
}

// dayOr is a day, or a word where there is none.
func dayOr(t time.Time, none string) string {
	if t.IsZero() {
		return none
	}
	return day(t)
}
