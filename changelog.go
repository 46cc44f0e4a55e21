// Package sluice is what the programs have of the repository's own texts. It holds nothing else.
package sluice

import _ "embed"

//go:embed CHANGELOG.md
var changelog string

// Changelog is CHANGELOG.md as it was when the program was built: markdown, the newest first.
func Changelog() string { return changelog }
