package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"posthouse/httpd/admin"
	"posthouse/spool"
)

// filter are the flags that choose messages.
type filter struct {
	admin.Filter
	all bool
}

func (f *filter) add(c *cobra.Command) {
	flags := c.Flags()
	flags.StringVar(&f.To, "to", "", "recipients that match, like '*@example.com'")
	flags.StringVar(&f.From, "from", "", "senders that match")
	flags.StringVar(&f.Destination, "destination", "", "this destination only")
	flags.StringVar(&f.Older, "older", "", "received at least so long ago, like 2h")
	flags.StringVar(&f.Error, "error", "", "last reply has these words")
}

func (f *filter) query() url.Values {
	q := url.Values{"state": f.States}
	for name, value := range map[string]string{"to": f.To, "from": f.From, "destination": f.Destination, "older": f.Older, "error": f.Error} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if f.Limit > 0 {
		q.Set("limit", strconv.Itoa(f.Limit))
	}
	return q
}

func newQueue() *cobra.Command {
	return group("queue", "Mail that waits to be delivered",
		newQueueList("queue", "List the queue: why each message waits, and until when"), newQueueShow("queue"), newQueueCat("queue"),
		newQueueChange("queue", "retry", "retry", "Try again now"),
		newQueueChange("queue", "hold", "hold", "Keep in the queue, and do not try"),
		newQueueChange("queue", "release", "release", "Try what is held"),
		newQueueChange("queue", "drop", "drop", "Remove without a notice to the sender"))
}

func newDead() *cobra.Command {
	return group("dead", "Dead letters: mail that could not be delivered", newQueueList("dead", "List the dead letters and why they died"), newQueueShow("dead"), newQueueCat("dead"),
		newQueueChange("dead", "replay", "retry", "Put back into the queue with a fresh schedule"),
		newQueueChange("dead", "drop", "drop", "Remove for good"))
}

// states are those a group of commands is about; none means those that wait.
func states(group string) []string {
	if group == "dead" {
		return []string{spool.Dead.String()}
	}
	return nil
}

func newQueueList(group, short string) *cobra.Command {
	f := filter{}
	f.States = states(group)
	c := &cobra.Command{Use: "list", Short: short, Args: cobra.NoArgs, Example: "  posthouse " + group + " list --to '*@example.com'"}
	f.add(c)
	c.Flags().IntVar(&f.Limit, "limit", 0, "at most so many messages; 0: all")
	return remote(c, func(c *cobra.Command, server *client, conn *connection, _ []string) error {
		now := time.Now()
		t := newTable(c.OutOrStdout(), "ID", "AGE", "SIZE", "FROM", "TO", "STATE", "NEXT", "TRIES", "WHY")
		return printList(t, conn, each[spool.Entry](c.Context(), server, "/v1/queue", f.query()), func(e spool.Entry) {
			for _, r := range e.Recipients {
				t.row(e.ID.String(), ago(now.Sub(e.Received)), octets(e.Size), "<"+e.From.String()+">", r.Address.String(), r.State.String(), next(r, now), strconv.Itoa(r.Attempts), r.LastReply)
			}
		})
	})
}

// next says when something happens to a recipient.
func next(r spool.Recipient, now time.Time) string {
	switch r.State {
	case spool.Ready:
		if !r.Due.After(now) {
			return "now"
		}
		return "in " + ago(r.Due.Sub(now))
	case spool.Leased:
		return "under way"
	case spool.Dead:
		return "kept " + ago(r.Due.Sub(now))
	}
	return "-"
}

func newQueueShow(group string) *cobra.Command {
	c := &cobra.Command{Use: "show ID", Short: "Show one message with all its recipients", Args: cobra.ExactArgs(1), Example: "  posthouse " + group + " show 06xk3v9d0g000"}
	return remote(c, func(c *cobra.Command, server *client, conn *connection, args []string) error {
		var e spool.Entry
		if err := server.call(c.Context(), http.MethodGet, "/v1/queue/"+url.PathEscape(args[0]), nil, &e); err != nil {
			return err
		}
		if conn.json {
			return printJSON(c.OutOrStdout(), e)
		}
		printEntry(c.OutOrStdout(), e)
		return nil
	})
}

func printEntry(w io.Writer, e spool.Entry) {
	now := time.Now()
	by := e.Origin.Protocol
	if e.Origin.Remote.IsValid() { // our own notices come from nowhere
		by += " from " + e.Origin.Remote.String() + " " + e.Origin.HELO
	}
	fmt.Fprintf(w, "message     %s\nfrom        <%s>\nsize        %s\nreceived    %s, %s ago, by %s\n", e.ID, printable(e.From.String()), octets(e.Size),
		e.Received.Local().Format(time.DateTime), ago(now.Sub(e.Received)), printable(by))
	if e.MessageID != "" {
		fmt.Fprintf(w, "message-id  <%s>\n", printable(e.MessageID))
	}
	for _, v := range e.Verdicts {
		result := v.Result
		if v.Action != "" {
			result += " (" + v.Action + ")"
		}
		fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf("judged      %s: %s %s", v.Stage, result, printable(v.Detail)), " "))
	}
	for _, r := range e.Recipients {
		fmt.Fprintf(w, "to          %s: %s, next %s, tried %d times", printable(r.Address.String()), r.State, next(r, now), r.Attempts)
		if r.LastReply != "" {
			fmt.Fprintf(w, ", last %s", printable(r.LastReply))
		}
		fmt.Fprintln(w)
	}
}

func newQueueCat(group string) *cobra.Command {
	c := &cobra.Command{Use: "cat ID", Short: "Print a message as it stands in the queue", Args: cobra.ExactArgs(1), Example: "  posthouse " + group + " cat 06xk3v9d0g000"}
	return remote(c, func(c *cobra.Command, server *client, _ *connection, args []string) error {
		resp, err := server.do(c.Context(), http.MethodGet, "/v1/queue/"+url.PathEscape(args[0])+"/content", nil)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		_, err = io.Copy(c.OutOrStdout(), resp.Body)
		return err
	})
}

// newQueueChange is a command that does something to messages: one by its ID, those of a filter, or all.
func newQueueChange(group, use, verb, short string) *cobra.Command {
	f := filter{}
	f.States = states(group)
	if group == "queue" && (verb == "retry" || verb == "drop") {
		f.States = []string{spool.Ready.String(), spool.Held.String()}
	}
	c := &cobra.Command{Use: use + " [ID]", Short: short, Args: cobra.MaximumNArgs(1), Example: "  posthouse " + group + " " + use + " --to '*@example.com'"}
	f.add(c)
	c.Flags().BoolVar(&f.all, "all", false, "all messages")
	return remote(c, func(c *cobra.Command, server *client, conn *connection, args []string) error {
		if len(args) == 1 {
			f.ID = args[0]
		}
		chosen := slices.ContainsFunc([]string{f.ID, f.To, f.From, f.Destination, f.Older, f.Error}, func(s string) bool { return s != "" })
		if chosen == f.all {
			return fmt.Errorf("%w: give an ID, a filter, or --all", errUsage)
		}
		var changed admin.Changed
		if err := server.call(c.Context(), http.MethodPost, "/v1/queue/change/"+verb, f.Filter, &changed); err != nil {
			return err
		}
		if conn.json {
			return printJSON(c.OutOrStdout(), changed)
		}
		fmt.Fprintf(c.OutOrStdout(), "%d recipients\n", changed.Recipients)
		return nil
	})
}

func newStatus() *cobra.Command {
	c := &cobra.Command{Use: "status", Short: "Show the queue's depth by state and destination", Args: cobra.NoArgs, Example: "  posthouse status"}
	return remote(c, func(c *cobra.Command, server *client, conn *connection, _ []string) error {
		var s spool.Stats
		if err := server.call(c.Context(), http.MethodGet, "/v1/queue/stats", nil, &s); err != nil {
			return err
		}
		if conn.json {
			return printJSON(c.OutOrStdout(), s)
		}
		for _, state := range []spool.State{spool.Ready, spool.Leased, spool.Held, spool.Dead} {
			fmt.Fprintf(c.OutOrStdout(), "%-7s %d\n", state, s.Recipients[state])
		}
		t := newTable(c.OutOrStdout(), "DESTINATION", "STATE", "RECIPIENTS", "OLDEST")
		for _, d := range s.Destinations {
			t.row(d.Destination, d.State.String(), strconv.FormatInt(d.Recipients, 10), ago(time.Since(d.Oldest)))
		}
		return t.flush()
	})
}

func newReload() *cobra.Command {
	c := &cobra.Command{Use: "reload", Short: "Read certificates anew, without dropping a connection", Args: cobra.NoArgs, Example: "  posthouse reload"}
	return remote(c, func(c *cobra.Command, server *client, _ *connection, _ []string) error {
		return server.call(c.Context(), http.MethodPost, "/v1/reload", nil, nil)
	})
}
