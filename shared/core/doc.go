// Package core holds the domain's nouns: accounts, keys, nodes, limits, what a request used, and the errors that
// handlers turn into answers. It imports the standard library only and knows no transport and no store.
package core
