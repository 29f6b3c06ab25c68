// Package wire reads and writes the octets of IMAP: the grammar of RFC 9051 §9, which is that of RFC 3501 §9 but for details.
//
// It owns framing: where a command ends, how its literals are asked for, read or refused, and the limits on all of them. It must not
// know any command, session or mailbox.
//
// The flow: Decoder.Next reads a command's first line → Tag and the grammar's elements (Atom, AString, Set, List, …), each true if it
// was there, chained by && as the grammar is written → Err says what was missing → Finish reads away what is left. A literal in
// memory is an element like others; Literal streams.
//
// After Finish the next octet is a command's first, whatever became of the one before: RFC 7888 §3 has the receiver look for a literal
// at the end of every line, so lines that are refused are looked at too.
package wire
