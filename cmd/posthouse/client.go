package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"posthouse/httpd/admin"
	"posthouse/internal/config"
)

const (
	defaultConfig = "/etc/posthouse/posthouse.toml"
	socketName    = "control.sock"
	socketEnv     = "POSTHOUSE_SOCKET"
	maxLine       = 16 << 20 // octets of one value in a list
)

var errNotRunning = errors.New("the server is not running")

// client talks to the running server.
type client struct {
	http   http.Client
	socket string
}

// connection are the flags that say which server.
type connection struct {
	socket, config string
	json           bool
}

func (f *connection) add(c *cobra.Command) {
	c.Flags().StringVar(&f.socket, "socket", "", "control socket of the server (default: $"+socketEnv+", or the configuration's data_dir)")
	c.Flags().StringVar(&f.config, "config", defaultConfig, "configuration file")
	c.Flags().BoolVar(&f.json, "json", false, "print JSON, one document a line")
}

// open finds the server: by flag, environment, or its configuration.
func (f *connection) open() (*client, error) {
	socket := f.socket
	if socket == "" {
		socket = os.Getenv(socketEnv)
	}
	if socket == "" {
		c, err := config.Read(f.config)
		if err != nil {
			return nil, fmt.Errorf("which server? give --socket or --config: %w", err)
		}
		socket = filepath.Join(c.DataDir, socketName)
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}
	return &client{http.Client{Transport: &http.Transport{DialContext: dial}}, socket}, nil
}

// do makes a request and checks its status; the caller closes the body.
func (c *client) do(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var in io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		in = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://posthouse"+path, in)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(r)
	if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("%w (nobody answers at %s)", errNotRunning, c.socket)
	}
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	var e admin.Error
	if json.NewDecoder(resp.Body).Decode(&e) != nil || e.Error == "" {
		e.Error = resp.Status
	}
	return nil, errors.New(e.Error)
}

// call makes a request whose answer is one document.
func (c *client) call(ctx context.Context, method, path string, body, answer any) error {
	resp, err := c.do(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if answer == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(answer)
}

// each makes a request whose answer is a list.
func each[T any](ctx context.Context, c *client, path string, query url.Values) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		resp, err := c.do(ctx, http.MethodGet, path+"?"+query.Encode(), nil)
		if err != nil {
			yield(zero, err)
			return
		}
		defer resp.Body.Close()
		lines := bufio.NewScanner(resp.Body)
		lines.Buffer(nil, maxLine)
		for lines.Scan() {
			var v T
			var broken admin.Error
			if json.Unmarshal(lines.Bytes(), &broken) == nil && broken.Error != "" {
				yield(zero, errors.New(broken.Error))
				return
			}
			if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
				yield(zero, err)
				return
			}
			if !yield(v, nil) {
				return
			}
		}
		if err := lines.Err(); err != nil {
			yield(zero, err)
		}
	}
}

func printJSON(w io.Writer, v any) error { return json.NewEncoder(w).Encode(v) }

// remote makes a command that talks to the server. run gets the connection's flags for their --json.
func remote(c *cobra.Command, run func(c *cobra.Command, server *client, f *connection, args []string) error) *cobra.Command {
	var f connection
	f.add(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		server, err := f.open()
		if err != nil {
			return err
		}
		return run(c, server, &f, args)
	}
	return c
}
