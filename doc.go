// Package samotop is a complete mail system: a server embeds the whole house in a Go program.
package samotop
