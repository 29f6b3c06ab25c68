// Package mta receives mail: the SMTP, submission and LMTP sessions that turn octets from a peer into a committed spool entry or a refusal.
//
// It must not know mailboxes, IMAP, how mail is delivered later, or the syntax of the configuration.
//
// The flow: Server.Serve → serveConn → session.serve, a loop of readLine → verb table → the verb's run → answer; an answer is a value,
// and session.flush is the only place that writes. A message goes mail → rcpt (directory.Resolve) → data or bdat → header filter →
// spool.Draft → admit (the stages, then the trace header, then Draft.Commit); only then the reply is 250.
//
// The stages are asked in every phase: judgeConnect before the greeting, judgeHello, judgeMail, judgeRcpt, judgeData in admit. What they
// find goes on with the message; an edit is made by session.edit before the next stage looks. Before all of them, in accept, Clients says
// who is not let in.
//
// Verbs and extensions are tables with a file each: an extension brings its EHLO line, its parameters, what they mean for a transaction,
// and its verbs. Replies wait until the input is drained (RFC 2920 §3.2) and leave in one write. Everything a peer makes us hold or do has
// a limit and a deadline: Limits. One goroutine owns a session; the server's mutex guards only the list of them.
package mta
