// Package rules holds the house to its own rules: who may import whom, how long a file and a function may be, what a citation of an RFC
// looks like. It has tests only, and docs/RFC.md is made by one of them.
package rules
