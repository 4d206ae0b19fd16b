// Package test holds the tests of the whole: the binary as a person or another program meets it. TestMain builds it
// once. What needs another program is skipped by its name where that is missing.
package test
