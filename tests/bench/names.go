package main

// The targets' names. Direct is the fake upstream itself; passed and translated
// are the gateway, in the scenarios that compare two ways through it.
const (
	targetDirect     = "direct"
	targetProxy      = "reverseproxy"
	targetNginx      = "nginx"
	targetGateway    = "gateway"
	targetPassed     = "passed on"
	targetTranslated = "translated"
)

// textDeltas is the number of pieces of text of a stream in the scenarios (f)
// to (h).
const textDeltas = 200
