// Package mime finds the structure of a message: RFC 5322 header fields and RFC 2045–2049 parts, as offsets into its octets.
//
// It must not know where the octets are kept, nor any protocol session. The parser makes one pass, keeps offsets instead of copies,
// and never fails: every input, however broken, has a structure. Depth, parts, header octets and parameters are bounded; what lies
// beyond a bound is plain content of the part that holds it.
//
// Convert writes a message in the form that another host takes, part by part: in lines, in ASCII, with a header of ASCII.
//
// Structures are written in the parenthesized form of RFC 9051 §7.5.2 (AppendEnvelope, AppendBody, AppendBodyStructure), which is
// how mailboxes keep them and IMAP sends them.
package mime
