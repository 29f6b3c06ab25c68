package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"posthouse/directory"
	"posthouse/httpd/admin"
	"posthouse/internal/config"
)

func newAccount() *cobra.Command {
	return group("account", "Accounts: who has mailboxes", newAccountAdd(), newAccountPassword(), newAccountList(),
		newAccountVerb("account remove", "Remove an account and all its mail", http.MethodDelete, ""),
		newAccountVerb("account disable", "Lock an account; its mail stays", http.MethodPost, "/disable"),
		newAccountVerb("account enable", "Unlock an account", http.MethodPost, "/enable"),
		newAccountVerb("account keep-sent", "File what an account sends in its Sent box; a copy that its client files becomes the same message", http.MethodPost, "/keep-sent"),
		newAccountVerb("account leave-sent", "Leave filing what an account sends to its clients", http.MethodPost, "/leave-sent"),
		newAccountVerb("account promote", "Let an account administer: set the quotas of all accounts, over IMAP", http.MethodPost, "/promote"),
		newAccountVerb("account demote", "Let an account read and send its mail, and no more", http.MethodPost, "/demote"),
		newAppPassword(), newLimits(), newQuota(), newShare(), newUnshare(), newShares(), newWithout(), newAlias())
}

func accountPath(login string) string { return "/v1/accounts/" + url.PathEscape(login) }

func newAccountAdd() *cobra.Command {
	var stdin bool
	add := admin.NewAccount{}
	c := &cobra.Command{
		Use: "add ADDRESS", Short: "Add an account", Args: cobra.ExactArgs(1),
		Example: "  posthouse account add alice@example.com\n  posthouse account add team@example.com --shared",
	}
	c.Flags().BoolVar(&stdin, "password-stdin", false, "read the password from standard input")
	c.Flags().BoolVar(&add.Shared, "shared", false, "nobody logs in to it: its mailboxes are shared with others")
	return remote(c, func(c *cobra.Command, server *client, f *connection, args []string) error {
		add.Login = args[0]
		if !add.Shared {
			var err error
			if add.Password, err = readPassword(c, stdin); err != nil {
				return err
			}
		}
		var a directory.Account
		if err := server.call(c.Context(), http.MethodPost, "/v1/accounts", add, &a); err != nil {
			return err
		}
		if f.json {
			return printJSON(c.OutOrStdout(), a)
		}
		fmt.Fprintln(c.OutOrStdout(), "added", a.Login)
		return nil
	})
}

func newAccountPassword() *cobra.Command {
	var stdin bool
	c := &cobra.Command{Use: "password ADDRESS", Short: "Change an account's password", Args: cobra.ExactArgs(1), Example: "  posthouse account password alice@example.com"}
	c.Flags().BoolVar(&stdin, "password-stdin", false, "read the password from standard input")
	return remote(c, func(c *cobra.Command, server *client, _ *connection, args []string) error {
		secret, err := readPassword(c, stdin)
		if err != nil {
			return err
		}
		return server.call(c.Context(), http.MethodPut, accountPath(args[0])+"/password", admin.NewAccount{Password: secret}, nil)
	})
}

// readPassword asks at the terminal, twice, or reads one line of standard input. A password is never an argument: everybody on the
// machine can read those.
func readPassword(c *cobra.Command, stdin bool) (string, error) {
	if stdin {
		line, err := bufio.NewReader(c.InOrStdin()).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", err
		}
		return strings.TrimRight(line, "\r\n"), nil
	}
	fd := int(os.Stdin.Fd())
	if !term.IsTerminal(fd) {
		return "", fmt.Errorf("%w: standard input is no terminal; give the password with --password-stdin", errUsage)
	}
	var words [2]string
	for i, prompt := range []string{"Password: ", "Again: "} {
		fmt.Fprint(os.Stderr, prompt)
		b, err := term.ReadPassword(fd)
		fmt.Fprintln(os.Stderr)
		if err != nil {
			return "", err
		}
		words[i] = string(b)
	}
	if words[0] != words[1] {
		return "", errors.New("the two passwords differ")
	}
	return words[0], nil
}

func newAccountList() *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "List accounts", Args: cobra.NoArgs, Example: "  posthouse account list"}
	return remote(c, func(c *cobra.Command, server *client, f *connection, _ []string) error {
		t := newTable(c.OutOrStdout(), "ACCOUNT", "ID", "SINCE", "STATE")
		return printList(t, f, each[directory.Account](c.Context(), server, "/v1/accounts", nil), func(a directory.Account) {
			state := "active"
			if a.Shared {
				state = "shared"
			}
			if !a.Disabled.IsZero() {
				state = "disabled " + day(a.Disabled)
			}
			t.row(a.Login.String(), string(a.ID), day(a.Created), state)
		})
	})
}

// newAccountVerb is a command, "account remove", that only names an account.
func newAccountVerb(command, short, method, suffix string) *cobra.Command {
	_, verb, _ := strings.Cut(command, " ")
	c := &cobra.Command{Use: verb + " ADDRESS", Short: short, Args: cobra.ExactArgs(1), Example: "  posthouse " + command + " alice@example.com"}
	return remote(c, func(c *cobra.Command, server *client, _ *connection, args []string) error {
		return server.call(c.Context(), method, accountPath(args[0])+suffix, nil, nil)
	})
}

func newQuota() *cobra.Command {
	c := &cobra.Command{
		Use: "quota ADDRESS [SIZE]", Short: "How much an account may hold; with a size, change it", Args: cobra.RangeArgs(1, 2),
		Example: "  posthouse account quota alice@example.com\n  posthouse account quota alice@example.com 10GB\n  posthouse account quota alice@example.com any",
	}
	messages := c.Flags().Int64("messages", 0, "how many messages; 0: any number")
	return remote(c, func(c *cobra.Command, server *client, f *connection, args []string) error {
		var a directory.Account
		if err := server.call(c.Context(), http.MethodGet, accountPath(args[0]), nil, &a); err != nil {
			return err
		}
		if c.Flags().Changed("messages") {
			a.Quota.Messages = *messages
		}
		if len(args) == 2 {
			var err error
			if a.Quota.Octets, err = quotaOctets(args[1]); err != nil {
				return err
			}
		}
		if len(args) == 2 || c.Flags().Changed("messages") {
			if err := server.call(c.Context(), http.MethodPut, accountPath(args[0])+"/quota", a.Quota, nil); err != nil {
				return err
			}
		}
		if f.json {
			return printJSON(c.OutOrStdout(), a.Quota)
		}
		t := newTable(c.OutOrStdout(), "MAY HOLD", "")
		t.row("size", held(a.Quota.Octets, octets))
		t.row("messages", held(a.Quota.Messages, func(n int64) string { return strconv.FormatInt(n, 10) }))
		return t.flush()
	})
}

func newWithout() *cobra.Command {
	c := &cobra.Command{
		Use: "without ADDRESS [EXTENSION...]", Short: "Extensions of IMAP that an account's clients are not offered, since they have bugs; with names, or none, change it",
		Args:    cobra.MinimumNArgs(1),
		Example: "  posthouse account without alice@example.com\n  posthouse account without alice@example.com QRESYNC NOTIFY\n  posthouse account without alice@example.com none",
	}
	return remote(c, func(c *cobra.Command, server *client, f *connection, args []string) error {
		names := args[1:]
		if len(names) == 1 && names[0] == "none" {
			names = []string{}
		}
		if len(args) > 1 {
			if err := server.call(c.Context(), http.MethodPut, accountPath(args[0])+"/without", admin.Without{Extensions: names}, nil); err != nil {
				return err
			}
		}
		var a directory.Account
		if err := server.call(c.Context(), http.MethodGet, accountPath(args[0]), nil, &a); err != nil {
			return err
		}
		if f.json {
			return printJSON(c.OutOrStdout(), admin.Without{Extensions: strings.Fields(a.Without)})
		}
		fmt.Fprintln(c.OutOrStdout(), cmp.Or(a.Without, "none"))
		return nil
	})
}

func held(n int64, format func(int64) string) string {
	if n == 0 {
		return "any"
	}
	return format(n)
}

// quotaOctets reads a size as the configuration has them, or "any".
func quotaOctets(s string) (int64, error) {
	if s == "any" {
		return 0, nil
	}
	n, err := config.Size(s)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%w: %q is not a size; give one like 10GB, or any", errUsage, s)
	}
	return n, nil
}

func newAlias() *cobra.Command {
	add := &cobra.Command{Use: "add ADDRESS TARGET", Short: "Send an address's mail to another", Args: cobra.ExactArgs(2), Example: "  posthouse account alias add info@example.com alice@example.com"}
	remove := &cobra.Command{Use: "remove ADDRESS TARGET", Short: "Stop sending it there", Args: cobra.ExactArgs(2), Example: "  posthouse account alias remove info@example.com alice@example.com"}
	list := &cobra.Command{Use: "list", Short: "List aliases", Args: cobra.NoArgs, Example: "  posthouse account alias list"}
	return group("alias", "Addresses that stand for others",
		remote(add, func(c *cobra.Command, server *client, _ *connection, args []string) error {
			body := map[string]string{"address": args[0], "target": args[1]}
			return server.call(c.Context(), http.MethodPost, "/v1/aliases", body, nil)
		}),
		remote(remove, func(c *cobra.Command, server *client, _ *connection, args []string) error {
			return server.call(c.Context(), http.MethodDelete, "/v1/aliases/"+url.PathEscape(args[0])+"/"+url.PathEscape(args[1]), nil, nil)
		}),
		remote(list, func(c *cobra.Command, server *client, f *connection, _ []string) error {
			t := newTable(c.OutOrStdout(), "ADDRESS", "GOES TO")
			return printList(t, f, each[directory.Alias](c.Context(), server, "/v1/aliases", nil), func(a directory.Alias) {
				t.row(a.Address.String(), a.Target.String())
			})
		}))
}

func newDomain() *cobra.Command {
	add := &cobra.Command{Use: "add NAME", Short: "Take mail for a domain", Args: cobra.ExactArgs(1), Example: "  posthouse domain add example.com"}
	catchAll := add.Flags().String("catch-all", "", "account that gets the mail of addresses nobody has")
	remove := &cobra.Command{Use: "remove NAME", Short: "Stop taking mail for a domain", Args: cobra.ExactArgs(1), Example: "  posthouse domain remove example.com"}
	list := &cobra.Command{Use: "list", Short: "List domains", Args: cobra.NoArgs, Example: "  posthouse domain list"}
	return group("domain", "Domains whose mail ends here",
		remote(add, func(c *cobra.Command, server *client, _ *connection, args []string) error {
			body := map[string]string{"name": args[0], "catch_all": *catchAll}
			return server.call(c.Context(), http.MethodPost, "/v1/domains", body, nil)
		}),
		remote(remove, func(c *cobra.Command, server *client, _ *connection, args []string) error {
			return server.call(c.Context(), http.MethodDelete, "/v1/domains/"+url.PathEscape(args[0]), nil, nil)
		}),
		remote(list, func(c *cobra.Command, server *client, f *connection, _ []string) error {
			t := newTable(c.OutOrStdout(), "DOMAIN", "CATCH-ALL")
			return printList(t, f, each[directory.Domain](c.Context(), server, "/v1/domains", nil), func(d directory.Domain) {
				t.row(d.Name, d.CatchAll.String())
			})
		}))
}
