// Package link is what servers of line protocols have below their protocol: the connection of a session with its deadlines and its TLS
// (Link), what the session says (Writer), and the sessions of a server (Hub): how many there may be, of whom, and how they end.
//
// It knows no mail. The flow: Hub.Serve → Hub.Enter → a front's session, which calls Link.Await before each command and Link.Begin at its
// first octet → Hub.Leave. Hub.Disconnect and Hub.Shutdown end sessions between two commands, and not in the middle of one.
package link
