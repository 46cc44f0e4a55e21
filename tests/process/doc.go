// Package process tests the program itself: it is built, run as a child, spoken to over HTTP, signalled and killed.
package process
