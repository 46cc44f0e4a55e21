package main

// The targets' names. Direct is the fake upstream itself.
const (
	targetDirect  = "direct"
	targetProxy   = "reverseproxy"
	targetNginx   = "nginx"
	targetGateway = "gateway"
)
