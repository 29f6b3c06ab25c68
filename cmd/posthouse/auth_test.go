package main

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"posthouse/crypto/password"
	"posthouse/directory/oidc/oidctest"
	"posthouse/internal/testkit"
)

// gsasl has GNU SASL log in at a door, and tells whether it was let in.
func gsasl(t *testing.T, protocol, addr, mechanism string, more ...string) (ok bool, out string) {
	t.Helper()
	args := append([]string{
		"--" + protocol, "--starttls", "--x509-ca-file=", "--quiet", "--connect", addr, "--hostname", "mail.house.test",
		"-m", mechanism, "-a", "alice@house.test", "-z", "",
	}, more...)
	cmd := exec.CommandContext(t.Context(), testkit.Peer(t, "gsasl"), args...)
	text, err := cmd.CombinedOutput()
	welcome := map[string]string{"smtp": "235 2.7.0", "imap": "] Logged in"}[protocol]
	return err == nil && strings.Contains(string(text), welcome), string(text)
}

// Another implementation of every mechanism, with channel binding too, and with an app password of another scope.
func TestGsaslLogsIn(t *testing.T) {
	testkit.Peer(t, "gsasl")
	s := newServer(t, "[auth]\nscram_sha1 = true\n")
	s.start()
	s.addAccount("alice@house.test")
	app := strings.TrimSpace(s.run("account", "app-password", "add", "alice@house.test", "--scope", "imap"))
	for protocol, addr := range map[string]string{"smtp": s.submission, "imap": s.imap} {
		for _, mechanism := range []string{"PLAIN", "LOGIN", "SCRAM-SHA-1", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"} {
			secrets := map[string]bool{"secret": true}
			if mechanism == "PLAIN" || mechanism == "SCRAM-SHA-256-PLUS" {
				secrets = map[string]bool{"secret": true, "wrong": false, app: protocol == "imap"}
			}
			var more []string
			if strings.HasPrefix(mechanism, "SCRAM") && !strings.HasSuffix(mechanism, "-PLUS") {
				more = []string{"--no-cb"} // otherwise it insists on what it sees offered
			}
			t.Run(protocol+" "+mechanism, func(t *testing.T) {
				t.Parallel()
				for secret, want := range secrets {
					if ok, out := gsasl(t, protocol, addr, mechanism, append(more, "-p", secret)...); ok != want {
						t.Errorf("with %q: %v\n%s", secret, ok, out)
					}
				}
			})
		}
	}
}

// userCertificate makes one for an address, signed by itself, and writes it and its key.
func userCertificate(t *testing.T, dir, address string) (cert, key string) {
	t.Helper()
	c := testkit.Certificate(x509.Certificate{EmailAddresses: []string{address}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	text, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, address+".pem"), filepath.Join(dir, address+".key")
	for name, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: c.Leaf.Raw}, key: {Type: "PRIVATE KEY", Bytes: text}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func TestCertificateLogsIn(t *testing.T) {
	testkit.Peer(t, "gsasl")
	s := newServer(t, "")
	alice, key := userCertificate(t, s.dir, "alice@house.test")
	mallory, malloryKey := userCertificate(t, s.dir, "mallory@house.test")
	text, err := os.ReadFile(s.config())
	if err != nil {
		t.Fatal(err)
	}
	conf := strings.Replace(string(text), `mode = "self-signed"`, "mode = \"self-signed\"\nclient_ca_file = \""+alice+"\"", 1)
	if err := os.WriteFile(s.config(), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.addAccount("alice@house.test")
	s.addAccount("mallory@house.test")
	for protocol, addr := range map[string]string{"smtp": s.submission, "imap": s.imap} {
		if ok, out := gsasl(t, protocol, addr, "EXTERNAL", "--x509-cert-file", alice, "--x509-key-file", key); !ok {
			t.Errorf("%s: the certificate of an account is refused\n%s", protocol, out)
		}
		if ok, out := gsasl(t, protocol, addr, "EXTERNAL", "--x509-cert-file", mallory, "--x509-key-file", malloryKey); ok {
			t.Errorf("%s: a certificate that nobody vouches for was taken\n%s", protocol, out)
		}
		if ok, out := gsasl(t, protocol, addr, "PLAIN", "-p", "secret"); !ok {
			t.Errorf("%s: without a certificate a password is refused\n%s", protocol, out)
		}
	}
}

func TestCurlBringsTokens(t *testing.T) {
	curl := testkit.Peer(t, "curl")
	issuer := oidctest.NewPlain(t)
	s := newServer(t, "[auth.oauth]\nissuer = \""+issuer.URL+"\"\naudience = \"mail\"\n")
	s.start()
	s.addAccount("alice@house.test")
	message := filepath.Join(s.dir, "message")
	if err := os.WriteFile(message, []byte("From: alice@house.test\r\nSubject: by token\r\n\r\nHello.\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	token := func(email string) string {
		return issuer.Sign(t, oidctest.Claims{"iss": issuer.URL, "aud": "mail", "exp": time.Now().Add(time.Hour).Unix(), "email": email})
	}
	for _, mechanism := range []string{"XOAUTH2", "OAUTHBEARER"} {
		for email, want := range map[string]bool{"alice@house.test": true, "bob@house.test": false} {
			as := []string{"--silent", "--show-error", "--ssl-reqd", "--insecure", "--user", "alice@house.test:", "--oauth2-bearer", token(email), "--login-options", "AUTH=" + mechanism}
			send := exec.Command(curl, append(as, "smtp://"+s.submission, "--mail-from", "alice@house.test", "--mail-rcpt", "alice@house.test", "--upload-file", message)...)
			if out, err := send.CombinedOutput(); (err == nil) != want {
				t.Errorf("%s as %s, sending: %v\n%s", mechanism, email, err, out)
			}
			read := exec.Command(curl, append(as, "imap://"+s.imap+"/")...)
			if out, err := read.CombinedOutput(); (err == nil) != want {
				t.Errorf("%s as %s, reading: %v\n%s", mechanism, email, err, out)
			}
		}
	}
	testkit.Until(t, "the letters", func() bool { return len(fetchAll(t, s, "alice@house.test")) == 2 })
}

func TestSwaksLogsIn(t *testing.T) {
	swaks := testkit.Peer(t, "swaks")
	s := newServer(t, "")
	s.start()
	s.addAccount("alice@house.test")
	for _, mechanism := range []string{"PLAIN", "LOGIN"} {
		for secret, want := range map[string]bool{"secret": true, "wrong": false} {
			out, err := exec.Command(swaks, "--server", s.submission, "-tls", "--auth", mechanism, "--auth-user", "alice@house.test",
				"--auth-password", secret, "--from", "alice@house.test", "--to", "alice@house.test", "--quit-after", "AUTH").CombinedOutput()
			if (err == nil) != want {
				t.Errorf("%s with %q: %v\n%s", mechanism, secret, err, out)
			}
		}
	}
}

// Cyrus SASL, which mbsync uses, takes the best it sees.
func TestMbsyncBySCRAM(t *testing.T) {
	s := withLetters(t, 1)
	mbsync := testkit.Peer(t, "mbsync")
	host, port, _ := strings.Cut(s.imap, ":")
	rc := filepath.Join(s.dir, "mbsyncrc")
	conf := "IMAPAccount house\nHost " + host + "\nPort " + port + "\nUser alice@house.test\nPass secret\nSSLType None\nAuthMechs SCRAM-SHA-256\n\n" +
		"IMAPStore far\nAccount house\n\nMaildirStore near\nPath " + s.dir + "/mail/\nInbox " + s.dir + "/mail/INBOX\n\n" +
		"Channel all\nFar :far:\nNear :near:\nPatterns INBOX\nCreate Near\nSyncState *\n"
	if err := errors.Join(os.WriteFile(rc, []byte(conf), 0o600), os.Mkdir(filepath.Join(s.dir, "mail"), 0o700)); err != nil {
		t.Fatal(err)
	}
	run(t, exec.Command(mbsync, "-c", rc, "-a"))
	if files, err := filepath.Glob(filepath.Join(s.dir, "mail", "INBOX", "*", "*")); err != nil || len(files) != 1 {
		t.Errorf("%v, %v", files, err)
	}
}

func hashOfSecret(t *testing.T) string {
	t.Helper()
	hash, err := password.NewHasher(password.Cost{Memory: 64, Time: 1}).Hash(t.Context(), "secret")
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

// A declared account has no keys for SCRAM until it has sent its password once.
func TestDeclaredAccountGetsItsKeys(t *testing.T) {
	testkit.Peer(t, "gsasl")
	s := newServer(t, "[[account]]\nlogin = \"alice@house.test\"\npassword_hash = \""+hashOfSecret(t)+"\"\n")
	s.start()
	for i, want := range []bool{false, true, true} {
		mechanism := []string{"SCRAM-SHA-256-PLUS", "PLAIN", "SCRAM-SHA-256-PLUS"}[i]
		if ok, out := gsasl(t, "smtp", s.submission, mechanism, "-p", "secret"); ok != want {
			t.Errorf("%s: %v\n%s", mechanism, ok, out)
		}
	}
}
