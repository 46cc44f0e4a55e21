// Package tokens shows on a real Redis server that the gateway's processes refresh a node's access token one at a time, and
// what is left of a process that is killed in the middle of it.
package tokens
